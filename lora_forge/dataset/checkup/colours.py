"""Colour distributions of a region, to see whether two photos share an outfit or a background."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from lora_forge.dataset.faces.face import FaceBox

SIDE = 8
"""A region is kept as 8 x 8 colours, hex: small enough for a cache, enough for a distribution."""
_L_STEP, _AB_STEP = 25.0, 18.0  # widths of the bins; each colour is shared among its 8 nearest
_L_BINS, _AB_BINS = 5, 13


def torso_box(face: FaceBox, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Where the clothes are below a face, as (left, top, right, bottom) px; None when too little of it is seen.

    Shoulders begin 0.3 of a face below the chin; the region is 1.6 faces wide and 1.3 high.
    """
    x, y, width, height = face
    left, right = x - 0.3 * width, x + 1.3 * width
    top, bottom = y + 1.3 * height, y + 2.6 * height
    inside = (max(0, round(left)), max(0, round(top)), min(size[0], round(right)), min(size[1], round(bottom)))
    seen = max(0, inside[2] - inside[0]) * max(0, inside[3] - inside[1])
    return inside if seen >= 0.35 * (right - left) * (bottom - top) else None


def region_colours(image: Image.Image, box: tuple[int, int, int, int]) -> str:
    """The region as 8 x 8 sRGB colours, hex."""
    return image.resize((SIDE, SIDE), Image.Resampling.BOX, box=box).tobytes().hex()


def border_colours(image: Image.Image) -> str:
    """The upper two thirds of the left and right sixth, and the upper sixth between: where a background shows."""
    width, height = image.size
    sixth, tall = max(1, width // 6), max(1, 2 * height // 3)
    left = image.resize((4, SIDE), Image.Resampling.BOX, box=(0, 0, sixth, tall))
    right = image.resize((4, SIDE), Image.Resampling.BOX, box=(width - sixth, 0, width, tall))
    return left.tobytes().hex() + right.tobytes().hex()


def likeness(regions: list[str]) -> npt.NDArray[np.float64]:
    """(N, N) Bhattacharyya coefficients of the regions' colour distributions: 1 alike, 0 no colour in common."""
    spread = np.stack([np.sqrt(_distribution(region)) for region in regions])
    return np.asarray(spread @ spread.T)


def largest_alike(regions: list[str], least: float) -> list[int]:
    """Numbers of the regions in the largest neighbourhood: one and all that are like it; no chain of neighbours."""
    near = likeness(regions) >= least
    middle = int(near.sum(axis=1).argmax())
    return [int(number) for number in np.flatnonzero(near[middle])]


def _distribution(region: str) -> npt.NDArray[np.float64]:
    lab = to_lab(np.frombuffer(bytes.fromhex(region), dtype=np.uint8).reshape(-1, 3))
    places = np.stack([lab[:, 0] / _L_STEP, lab[:, 1] / _AB_STEP + 6.0, lab[:, 2] / _AB_STEP + 6.0], axis=1)
    shape = np.array([_L_BINS, _AB_BINS, _AB_BINS])
    low = np.floor(places).astype(int)
    part = places - low
    bins = np.zeros(tuple(shape))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(np.array(corner) == 1, part, 1 - part), axis=1)
        index = np.clip(low + np.array(corner), 0, shape - 1)
        np.add.at(bins, tuple(index.T), weight)
    return np.asarray(bins.ravel() / bins.sum())


def to_lab(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """CIE L*a*b* (D65) of sRGB bytes, (N, 3) to (N, 3)."""
    plain = rgb.astype(np.float64) / 255
    linear = np.where(plain <= 0.04045, plain / 12.92, ((plain + 0.055) / 1.055) ** 2.4)
    matrix = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    )
    xyz = linear @ matrix.T / np.array([0.95047, 1.0, 1.08883])
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * root[:, 1] - 16, 500 * (root[:, 0] - root[:, 1]), 200 * (root[:, 1] - root[:, 2])], axis=1)
