"""What is measured on the pixels of one photo, with NumPy alone."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from lora_forge.dataset.checkup.thresholds import BLUR_WORK_PX
from lora_forge.dataset.faces.face import FaceBox

Plane = npt.NDArray[np.float64]
_TILES, _SHARPEST = 4, 4
_HASH_PX, _HASH_SIDE = 32, 8
_LEAST_FACE_PX = 16  # a smaller crop says nothing about blur


def work_size(image: Image.Image) -> tuple[Image.Image, float]:
    """``image`` brought down to the area of 512 x 512, and the factor; as it is when smaller."""
    factor = min(1.0, BLUR_WORK_PX / math.sqrt(image.width * image.height))
    if factor == 1.0:
        return image, 1.0
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS), factor


def face_sharpness(gray: Plane, box: FaceBox) -> float | None:
    """Variance of the Laplacian over that of the grey values within ``box``; None when the crop is too small."""
    x, y, width, height = (round(number) for number in box)
    crop = gray[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
    if min(crop.shape) < _LEAST_FACE_PX:
        return None
    return float(_laplacian(crop).var() / (crop.var() + 1.0))


def tile_sharpness(gray: Plane) -> float:
    """Variance of the Laplacian in the 4th sharpest of 4 x 4 tiles, scaled to a contrast of 50 grey levels."""
    rows = [part for part in np.array_split(gray, _TILES, axis=0) if part.shape[0] > 2]
    tiles = [tile for row in rows for tile in np.array_split(row, _TILES, axis=1) if tile.shape[1] > 2]
    values = sorted((float(_laplacian(tile).var()) for tile in tiles), reverse=True)
    if not values:
        return 0.0
    contrast = min(4.0, 50.0**2 / (float(gray.var()) + 1.0))
    return values[min(_SHARPEST, len(values)) - 1] * max(1.0, contrast)


def _laplacian(gray: Plane) -> Plane:
    inner = gray[1:-1, :-2] + gray[1:-1, 2:] + gray[:-2, 1:-1] + gray[2:, 1:-1]
    return np.asarray(inner - 4.0 * gray[1:-1, 1:-1])


def hashes(image: Image.Image) -> tuple[int, int]:
    """64-bit perceptual hashes of the picture and of its mirror image: signs of its 8 x 8 lowest frequencies.

    DCT-II of 32 x 32 grey values, each coefficient against their median (Zauner 2010, as ImageHash has it).
    """
    small = image.convert("L").resize((_HASH_PX, _HASH_PX), Image.Resampling.LANCZOS)
    gray = np.asarray(small, dtype=np.float64)
    return _hash(gray), _hash(gray[:, ::-1])


def _hash(gray: Plane) -> int:
    count = np.arange(_HASH_PX)
    basis = np.cos(np.pi * (2 * count[None, :] + 1) * count[:_HASH_SIDE, None] / (2 * _HASH_PX))
    low = basis @ gray @ basis.T
    bits = (low > np.median(low)).ravel()
    return int(sum(1 << number for number, bit in enumerate(bits) if bit))


def colourfulness(image: Image.Image) -> float:
    """How far the colours leave one tint, in grey levels: 0 for grey, sepia and any other single colour.

    The chroma (R - G, B - G) of a tinted picture follows its brightness; what a parabola in brightness leaves of it
    is colour. The fiftieth of the picture with most of it does not count (a coloured date stamp); a face does.
    """
    small = np.asarray(image.resize((64, 64), Image.Resampling.BOX), dtype=np.float64).reshape(-1, 3)
    bright = small.mean(axis=1) / 255
    terms = np.stack([np.ones_like(bright), bright, bright**2], axis=1)
    chroma = np.stack([small[:, 0] - small[:, 1], small[:, 2] - small[:, 1]], axis=1)
    solution, *_ = np.linalg.lstsq(terms, chroma, rcond=None)
    left = np.sort(np.hypot(*(chroma - terms @ solution).T))
    return float(left[len(left) * 49 // 50])
