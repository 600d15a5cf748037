"""What a detector gives: a face with its box, and what else it could tell."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from lora_forge.i18n import Said

Point = tuple[float, float]
FaceBox = tuple[float, float, float, float]

# How far the nose tip stands before the line through the pupils, in distances between the pupils: 135 to 330 in the
# generic head that pose estimation by solvePnP uses (nose 0,0,0; outer eye corners +-225, 170, -135).
NOSE_DEPTH = 135 / 330


@dataclass(frozen=True)
class Face:
    """``box``: (x, y, width, height) in px of the upright picture; it may reach beyond the border where the face does.

    ``score`` 0 to 1 (None-like detectors give 1). ``landmarks``: eye, eye, nose tip, mouth corner, mouth corner, left
    to right in the picture. ``embedding``: float32 (D,), unit length; who it is. ``yaw``: degrees, 0 looks at the
    camera, positive turns to the right of the picture; None where the detector can't tell.
    """

    box: FaceBox
    score: float = 1.0
    landmarks: tuple[Point, ...] | None = None
    embedding: npt.NDArray[np.float32] | None = None
    yaw: float | None = None

    @property
    def area(self) -> float:
        """In px."""
        return self.box[2] * self.box[3]

    def to_json(self) -> dict[str, Any]:
        """Plain values; the embedding as base64 of little-endian float32."""
        packed = None if self.embedding is None else base64.b64encode(self.embedding.astype("<f4").tobytes()).decode()
        return {
            "box": [round(number, 2) for number in self.box],
            "score": round(self.score, 4),
            "landmarks": None if self.landmarks is None else [[round(x, 2), round(y, 2)] for x, y in self.landmarks],
            "embedding": packed,
            "yaw": None if self.yaw is None else round(self.yaw, 2),
        }

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Face:
        """What :meth:`to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        x, y, width, height = (float(number) for number in plain["box"])
        points, packed, yaw = plain["landmarks"], plain["embedding"], plain["yaw"]
        return cls(
            (x, y, width, height),
            float(plain["score"]),
            None if points is None else tuple((float(px), float(py)) for px, py in points),
            None if packed is None else np.frombuffer(base64.b64decode(packed), "<f4").astype(np.float32),
            None if yaw is None else float(yaw),
        )


class Detector(Protocol):
    """Finds faces. Everything is plain data but :meth:`detect`, which one thread at a time may call."""

    @property
    def id(self) -> str:
        """Which results may be kept together: another release or model has another."""
        ...

    @property
    def name(self) -> str:
        """For a person: ``insightface buffalo_l``."""
        ...

    @property
    def kind(self) -> str:
        """``insightface``, ``haar``, ``lbp``, ``anime`` or ``none``."""
        ...

    @property
    def sentence(self) -> Said:
        """Which one is at work, and what it can't do."""
        ...

    @property
    def finds(self) -> bool:
        """False: it never finds anything, faces are marked by hand."""
        ...

    @property
    def identifies(self) -> bool:
        """Whether its faces have an embedding: who it is."""
        ...

    @property
    def knows_angles(self) -> bool:
        """Whether its faces have a yaw: front, three-quarter, profile."""
        ...

    def detect(self, image: Image.Image) -> list[Face]:
        """The faces in an upright RGB picture, the largest first.

        Raises:
            MissingPartError: the library behind it fails.
        """
        ...


def yaw_of(landmarks: tuple[Point, ...]) -> float:
    """Degrees the head is turned, from eyes, nose tip and mouth corners; independent of roll and size.

    The nose tip moves sideways by depth * sin(yaw) while the eyes close up by cos(yaw). The head's own upright axis,
    eyes to mouth, stays where it is.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    eyes, mouth = points[:2].mean(axis=0), points[3:5].mean(axis=0)
    down = mouth - eyes
    length = math.hypot(*down)
    if length < 1e-6:
        return 0.0
    across = np.array([down[1], -down[0]]) / length
    offset = float((points[2] - eyes) @ across)
    apart = max(float((points[1] - points[0]) @ across), 0.0)
    return math.degrees(math.atan2(offset, NOSE_DEPTH * apart)) if offset or apart else 0.0


def largest_first(faces: list[Face]) -> list[Face]:
    """By area."""
    return sorted(faces, key=lambda face: -face.area)


def overlap(one: FaceBox, other: FaceBox) -> float:
    """Common area over the smaller box's: 1 when one lies in the other."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    smaller = min(one[2] * one[3], other[2] * other[3])
    return max(width, 0.0) * max(height, 0.0) / smaller if smaller > 0 else 0.0


def without_doubles(faces: list[Face], most: float = 0.4) -> list[Face]:
    """Of faces that lie on each other only the first; give them best first."""
    kept: list[Face] = []
    for face in faces:
        if all(overlap(face.box, other.box) <= most for other in kept):
            kept.append(face)
    return kept
