"""What is known of one photo, measured once and kept by its content."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from lora_forge.dataset.checkup.colours import border_colours, region_colours, torso_box
from lora_forge.dataset.checkup.letters import letters_in_lines
from lora_forge.dataset.checkup.signals import colourfulness, face_sharpness, hashes, tile_sharpness, work_size
from lora_forge.dataset.faces.face import FaceBox

VERSION = 1
"""Rises when anything is measured differently; what an older one kept is then measured again."""


@dataclass(frozen=True)
class Measures:
    """``width``, ``height`` in px. ``hash``, ``mirrored``: 64 bits. ``letters`` None: can't be told here.

    ``tiles``: sharpness of the whole. ``thumb``: 8 x 8 colours, hex. ``border``: colours around the subject, hex.
    """

    width: int
    height: int
    hash: int
    mirrored: int
    tiles: float
    colours: float
    letters: int | None
    thumb: str
    border: str

    @property
    def aspect(self) -> float:
        """Longer over shorter side."""
        return max(self.width, self.height) / max(1, min(self.width, self.height))

    @property
    def side_px(self) -> float:
        """Side of the square of equal area."""
        return float(np.sqrt(self.width * self.height))


@dataclass(frozen=True)
class FaceMeasures:
    """Of the face the photo is about: ``sharpness`` within it (None: too small), ``torso`` colours below it, hex."""

    sharpness: float | None
    torso: str | None


def measure(image: Image.Image) -> Measures:
    """Measure an upright RGB picture."""
    small, _ = work_size(image)
    first, second = hashes(small)
    return Measures(
        image.width,
        image.height,
        first,
        second,
        round(tile_sharpness(np.asarray(small.convert("L"), dtype=np.float64)), 3),
        round(colourfulness(small), 3),
        letters_in_lines(image),
        region_colours(small, (0, 0, *small.size)),
        border_colours(small),
    )


def measure_face(image: Image.Image, box: FaceBox) -> FaceMeasures:
    """Measure around the face at ``box`` (px) of an upright RGB picture."""
    small, factor = work_size(image)
    x, y, width, height = (number * factor for number in box)
    place = (x, y, width, height)
    sharpness = face_sharpness(np.asarray(small.convert("L"), dtype=np.float64), place)
    torso = torso_box(place, small.size)
    return FaceMeasures(
        None if sharpness is None else round(sharpness, 5), None if torso is None else region_colours(small, torso)
    )


def to_json(measures: Measures | FaceMeasures) -> dict[str, Any]:
    """Plain values; hashes as text, since JavaScript has no 64-bit integers."""
    plain = dataclasses.asdict(measures)
    return {name: f"{value:016x}" if name in ("hash", "mirrored") else value for name, value in plain.items()}


def measures_from(plain: dict[str, Any]) -> Measures:
    """What :func:`to_json` gave.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    return Measures(**{**plain, "hash": int(plain["hash"], 16), "mirrored": int(plain["mirrored"], 16)})
