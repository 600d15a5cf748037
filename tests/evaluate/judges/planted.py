"""Pictures whose scores are known: photos rebuilt in the ways a copy comes about, and pictures that are broken."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter


def _recompressed(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=50)
    return Image.open(file).convert("RGB")


def _blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(max(image.size) / 80))


def _recoloured(image: Image.Image) -> Image.Image:
    tinted = np.asarray(image, np.float32) * np.array([1.08, 0.97, 0.9]) + 6
    return Image.fromarray(tinted.clip(0, 255).astype(np.uint8))


def _contrasted(image: Image.Image) -> Image.Image:
    return ImageEnhance.Color(ImageEnhance.Contrast(image).enhance(1.25)).enhance(1.3)


def _mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _grainy(image: Image.Image) -> Image.Image:
    grain = np.random.default_rng(0).normal(0, 12, (image.height, image.width, 3))
    return Image.fromarray((np.asarray(image, np.float32) + grain).clip(0, 255).astype(np.uint8))


COPIES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "recompressed": _recompressed,
    "blurred": _blurred,
    "recoloured": _recoloured,
    "contrasted": _contrasted,
    "mirrored": _mirrored,
    "grainy": _grainy,
    "larger": lambda image: image.resize((image.width * 2, image.height * 2), Image.Resampling.BICUBIC),
}


def noise(side: int, cells: int = 0, seed: int = 0) -> Image.Image:
    """Every pixel at random; or ``cells`` a side, run into each other."""
    values = np.random.default_rng(seed).integers(0, 256, (cells or side, cells or side, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((side, side), Image.Resampling.BICUBIC)


def burnt(image: Image.Image) -> Image.Image:
    """Contrast and colour driven to their ends."""
    return ImageEnhance.Color(ImageEnhance.Contrast(image).enhance(3)).enhance(4)
