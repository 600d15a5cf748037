"""Is it one of the photos again. By the structure of the picture alone: no model is needed.

A picture becomes its brightness at 32 x 32 px less its blurred self: edges and shapes remain, so that compression,
blur, noise, another tint or contrast change little. Its distance from a photo is 1 less the best correlation over
shifts by up to one such pixel, in halves (by whole ones alone, a copy moved by half of one looked like none), and
mirroring; a photo counts whole and cut to the picture's shape, as training cuts it. The unit is how far a photo is from
its nearest neighbour in the set (:data:`NEAR` of them are nearer): as far is no copy (0), no distance is the photo
itself (1). Photos that are in the set twice count once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL.Image import Image, Resampling

from lora_forge.evaluate.scores import Asked, PictureScore

SIDE_PX = 32
NEAR = 0.2
SAME = 0.02
"""Photos nearer than this are one photo twice."""
UNIT_LEAST, UNIT_MOST = 0.05, 0.5
UNIT_OF_ONE = 0.3
"""Where there is no second photo to measure by."""
_BLUR_PX = 4.0
_STEP = 0.05
_MEASURED = 100  # photos by which the unit is measured; more would tell the same, and take minutes

Rows = npt.NDArray[np.float32]


class CopyingJudge:
    """``photos``: what was learned from, upright RGB as training sees them; small ones will do."""

    def __init__(self, photos: Sequence[Image]) -> None:
        self._photos = tuple(photos)
        self._rows: tuple[float, Rows] | None = None  # of the shape that was asked for last
        self._unit: float | None = None

    def score(self, images: Sequence[Image], asked: Asked) -> list[PictureScore]:
        """Copying alone; nothing where there are no photos."""
        return [PictureScore(None, copying=self.nearest(image)[1] if self._photos else None) for image in images]

    def nearest(self, image: Image) -> tuple[int, float]:
        """Which photo it is most like, and how much of a copy it is, 0 to 1.

        Raises:
            ValueError: there are no photos.
        """
        distances = self._distances(image)
        number = int(distances.argmin())
        return number, float(np.clip(1 - distances[number] / self.unit, 0.0, 1.0))

    @property
    def unit(self) -> float:
        """The distance that is no copy."""
        if self._unit is None:
            step = max(1, len(self._photos) // _MEASURED)
            taken = sorted(range(0, len(self._photos), step), key=lambda number: _shape(self._photos[number]))
            self._unit = unit_of({number: self._distances(self._photos[number]) for number in taken})
        return self._unit

    def _distances(self, image: Image) -> Rows:
        """(N,) to each photo."""
        shape = _shape(image)
        if self._rows is None or self._rows[0] != shape:
            views = [row for photo in self._photos for row in _views(photo, shape)]
            self._rows = shape, np.stack(views)
        found = _turned(_fine(image)) @ self._rows[1].T  # (50, N * views)
        nearest = found.max(axis=0).reshape(len(self._photos), -1).max(axis=1)
        return np.asarray(1 - nearest, dtype=np.float32)


def unit_of(distances: Mapping[int, Rows]) -> float:
    """From each photo's (N,) distances to all, by its number."""
    nearest = []
    for number, found in distances.items():
        others = np.delete(found, number)
        nearest += others[others >= SAME].min(initial=np.inf, keepdims=True).tolist()
    told = [one for one in nearest if np.isfinite(one)]
    return float(np.clip(np.quantile(told, NEAR), UNIT_LEAST, UNIT_MOST)) if told else UNIT_OF_ONE


def _shape(image: Image) -> float:
    """Width over height, in steps of 5 %."""
    return math.exp(round(math.log(image.width / image.height) / _STEP) * _STEP)


def _views(photo: Image, shape: float) -> list[Rows]:
    """The photo whole, and cut to ``shape`` (width over height) in the middle and at the top or the left."""
    width, height = photo.size
    if width / height > shape:
        cut = max(1, round(height * shape))
        boxes = [((width - cut) // 2, 0, (width + cut) // 2, height), (0, 0, cut, height)]
    else:
        cut = max(1, round(width / shape))
        boxes = [(0, (height - cut) // 2, width, (height + cut) // 2), (0, 0, width, cut)]
    return [_row(_shapes(_fine(one))) for one in (photo, *(photo.crop(box) for box in boxes))]


def _fine(image: Image) -> Rows:
    """Brightness at 64 x 64."""
    how = Resampling.BOX if min(image.size) >= 2 * SIDE_PX else Resampling.BICUBIC
    return np.asarray(image.convert("L").resize((2 * SIDE_PX, 2 * SIDE_PX), how), dtype=np.float32) / np.float32(255)


def _shapes(fine: Rows) -> Rows:
    """(64, 64) at 32 x 32 without its slow part."""
    small = fine.reshape(SIDE_PX, 2, SIDE_PX, 2).mean(axis=(1, 3))
    return np.asarray(small - _BLUR @ small @ _BLUR.T, dtype=np.float32)


def _blur() -> Rows:
    """(32, 32): a Gaussian along one axis, the border repeated."""
    reach = np.arange(SIDE_PX)
    padded = np.arange(-SIDE_PX, 2 * SIDE_PX)
    weights = np.exp(-((padded[None] - reach[:, None]) ** 2) / (2 * _BLUR_PX**2))
    weights /= weights.sum(axis=1, keepdims=True)
    kept = np.zeros((SIDE_PX, SIDE_PX))
    for column, place in enumerate(np.clip(padded, 0, SIDE_PX - 1)):
        kept[:, place] += weights[:, column]
    return kept.astype(np.float32)


_BLUR = _blur()


def _turned(fine: Rows) -> Rows:
    """(50, 1024): as it is and mirrored, each at 25 places half a pixel apart."""
    rows, side = [], 2 * SIDE_PX
    for one in (fine, fine[:, ::-1]):
        padded = np.pad(one, 2, mode="edge")
        rows += [_row(_shapes(padded[y : y + side, x : x + side])) for y in range(5) for x in range(5)]
    return np.stack(rows)


def _row(grey: Rows) -> Rows:
    flat = grey.ravel() - grey.mean()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-6), dtype=np.float32)
