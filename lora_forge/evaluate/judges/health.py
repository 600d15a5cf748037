"""Is it a clean picture: not black, blank, noise, mush, burnt or garish. By statistics alone, beside the photos' own.

Ten numbers a picture, each with a range in which clean ones lie: that of the photos, widened to what ordinary clean
photographs and drawings show (:data:`ORDINARY`; measured on two dozen), and a tolerance beyond (:data:`TOLERANCE`).
How far a picture leaves the ranges, in tolerances, is its damage. On the toy world's grids 99 % of the clean pictures
have a damage below 1.4, and nearly all of those that a person would call ruined 1.8 or more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL.Image import Image, Resampling

from lora_forge.evaluate.scores import Asked, PictureScore

Numbers = npt.NDArray[np.float64]

NAMES = (
    "brightness",
    "contrast",
    "edges",
    "sparseness",
    "evenness",
    "smoothness",
    "extent",
    "colour",
    "burnt",
    "vivid",
)
"""Mean and standard deviation of the brightness; the 95th percentile of its steps from pixel to pixel, and that over
their mean; share of pixels without a step; correlation of neighbours (Fisher's z) and of pixels 4 apart; mean
difference of the strongest and the weakest channel, share of coloured pixels at a channel's end, 95th percentile of the
difference. All of 0..1 but sparseness and smoothness."""

TOLERANCE = np.array([0.10, 0.06, 0.05, 0.60, 0.08, 0.30, 0.15, 0.12, 0.12, 0.25])
ORDINARY = (
    np.array([0.08, 0.06, 0.08, 2.6, 0.08, 1.5, 0.5, 0.0, 0.0, 0.0]),
    np.array([0.90, 0.32, 0.50, 7.0, 0.95, 2.8, 0.93, 0.40, 0.06, 0.70]),
)
_MATTERS_LOW = np.array([1, 1, 1, 1, 1, 1, 1, 0, 0, 0])  # a grey picture is no broken one
_MATTERS_HIGH = np.array([1, 1, 0, 0, 0, 1, 1, 1, 1, 1])
_CLEAN, _RUINED = 1.0, 2.2
_LEAST_CONTRAST = 0.02
_SIDES = (256, 128, 64)
_DRAWN_PX = 64
"""Pictures of this size are the toy world's, where the photos alone say what is clean."""


class HealthJudge:
    """``photos``: of the set, upright RGB; small ones will do."""

    def __init__(self, photos: Sequence[Image]) -> None:
        self._photos = tuple(photos)
        self._ranges: dict[int, tuple[Numbers, Numbers]] = {}

    def score(self, images: Sequence[Image], asked: Asked) -> list[PictureScore]:
        """Health alone."""
        return [PictureScore(None, self.health(image)) for image in images]

    def health(self, image: Image) -> float:
        """1 for a clean picture, 0 for a ruined one."""
        return float(np.clip((_RUINED - self.damage(image)) / (_RUINED - _CLEAN), 0.0, 1.0))

    def damage(self, image: Image) -> float:
        """How far it lies outside, in tolerances over all :data:`NAMES`; infinite for a blank one."""
        side = next((side for side in _SIDES if max(image.size) >= side), _SIDES[-1])
        found = statistics(image, side)
        if found[1] < _LEAST_CONTRAST:
            return float("inf")
        return float(np.linalg.norm(_beyond(found, *self._range(side))))

    def _range(self, side: int) -> tuple[Numbers, Numbers]:
        if side not in self._ranges:
            own = np.array([statistics(photo, side) for photo in self._photos])
            if len(own) and side == _DRAWN_PX:
                self._ranges[side] = own.min(axis=0), own.max(axis=0)
            else:
                ends = np.array([*ORDINARY, *own])
                self._ranges[side] = ends.min(axis=0), ends.max(axis=0)
        return self._ranges[side]


def statistics(image: Image, side: int) -> Numbers:
    """(10,) of :data:`NAMES`, of the picture brought to ``side`` px, the longer one."""
    rgb = np.asarray(_fitted(image, side), dtype=np.float64) / 255
    grey = rgb @ np.array([0.299, 0.587, 0.114])
    steps = np.hypot(np.diff(grey, axis=1)[:-1], np.diff(grey, axis=0)[:, :-1])
    colour = rgb.max(axis=2) - rgb.min(axis=2)
    at_end = ((rgb > 0.985) | (rgb < 0.015)).any(axis=2)
    edges = float(np.quantile(steps, 0.95))
    return np.array(
        [
            grey.mean(),
            grey.std(),
            edges,
            edges / (steps.mean() + 0.004),
            (steps < 0.02).mean(),
            np.arctanh(min(_correlation(grey, 1), 0.999)),
            _correlation(grey, 4),
            colour.mean(),
            (at_end & (colour > 0.25)).mean(),
            np.quantile(colour, 0.95),
        ]
    )


def _beyond(found: Numbers, low: Numbers, high: Numbers) -> Numbers:
    below = np.maximum(0, low - TOLERANCE - found) * _MATTERS_LOW
    above = np.maximum(0, found - high - TOLERANCE) * _MATTERS_HIGH
    return np.asarray(np.maximum(below, above) / TOLERANCE)


def _fitted(image: Image, side: int) -> Image:
    scale = side / max(image.size)
    size = (max(8, round(image.width * scale)), max(8, round(image.height * scale)))
    how = Resampling.BOX if scale < 1 else Resampling.BICUBIC
    return image.convert("RGB") if size == image.size else image.convert("RGB").resize(size, how)


def _correlation(grey: Numbers, apart: int) -> float:
    """Of pixels so far apart, across and down."""
    flat = grey - grey.mean()
    across = (flat[:, apart:] * flat[:, :-apart]).mean()
    down = (flat[apart:] * flat[:-apart]).mean()
    return float((across + down) / 2 / ((flat * flat).mean() + 1e-5))
