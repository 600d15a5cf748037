"""How alike the photos of a set are to each other, and a picture beside that."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]

LEAST_PHOTOS = 3
"""Of fewer nobody can say how alike they are."""
LEAST_USUAL = 0.1
"""Photos less alike than this are of nothing in common: nothing can be measured by them."""


class Reference:
    """Vectors of the photos of a set, (N, D), any length above 0; ``strangers``: numbers of those that do not count.

    ``own``: (N,) cosine of each with the mean of the others. ``usual``: its mean over those that count, None where
    there are fewer than :data:`LEAST_PHOTOS` of them or they have nothing in common.
    """

    def __init__(self, vectors: Rows, strangers: Sequence[int] = ()) -> None:
        counts = np.ones(len(vectors), dtype=bool)
        counts[list(strangers)] = False
        unit = _unit(vectors)
        total = unit[counts].sum(axis=0)
        means = _unit(total - unit * counts[:, None])  # of the others, for each
        self.own: Rows = np.einsum("nd,nd->n", unit, means) if len(unit) else np.zeros(0, np.float32)
        self._means = means[counts]
        told = self.own[counts]
        usual = float(told.mean()) if len(told) >= LEAST_PHOTOS else 0.0
        self.usual = usual if usual >= LEAST_USUAL else None

    def likeness(self, vector: Rows) -> float | None:
        """0 to 1; 1.0: as alike to the photos as they are to each other. None where that can't be told.

        A picture is put in each photo's place in turn, so that it is measured by exactly what the photos are.
        """
        if self.usual is None:
            return None
        found = float((self._means @ _unit(vector[None])[0]).mean())
        return min(1.0, max(0.0, found / self.usual))


def apart(own: Sequence[float], least_share: float = 0.6) -> list[int]:
    """Numbers of those that are less than ``least_share`` as alike to the rest as the middle one is."""
    if len(own) < LEAST_PHOTOS + 1:
        return []
    middle = float(np.median(own))
    return [number for number, value in enumerate(own) if value < least_share * middle]


def _unit(rows: Rows) -> Rows:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-9), dtype=np.float32)
