"""How good a cell is to keep, as one number of its scores, and that number over a whole grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lora_forge.errors import ConfigError
from lora_forge.evaluate.scores import BASELINE, Cell, CellScore, Measure, ScoreName, Surface
from lora_forge.evaluate.smoothing import Smoothed, smooth

Array = npt.NDArray[np.float64]

FREE_COPYING = 0.2
"""Copying up to here costs nothing: a good likeness may be somewhat nearer to a photo than photos are to each other."""

COUNTING: tuple[ScoreName, ...] = ("identity", "obedience", "health", "copying")


def quality(score: CellScore) -> Measure | None:
    """What a cell is worth, 0 to 1, with its standard error; None when its identity could not be told.

    The harmonic mean of identity and obedience (identity alone where obedience can't be told), times health, times what
    is not copied beyond ``FREE_COPYING``. The harmonic mean is low when either is: a perfect likeness that ignores the
    prompt is as useless as the reverse. Error by the delta method, taking the scores as independent.
    """
    if score.identity is None:
        return None
    told = {name: measure for name in COUNTING if (measure := score.measure(name)) is not None}
    means = {name: np.array([measure.mean]) for name, measure in told.items()}
    value, slopes = _combine(means)
    errors = [float(slopes[name][0]) * measure.standard_error for name, measure in told.items() if name in slopes]
    if "obedience" in told and score.identity.mean + told["obedience"].mean == 0:
        errors = [max(score.identity.standard_error, told["obedience"].standard_error)]
    count = min(measure.count for measure in told.values())
    return Measure(float(value[0]), math.hypot(*errors), count)


@dataclass(frozen=True)
class Reading:
    """A grid read as a whole: each cell's quality with what its neighbours say of it.

    ``means`` (n,) in 0..1 and ``covariance`` (n, n), in the order of ``cells``; ``scores``: the
    means (n,) of those it is made of. Without ``identity`` the quality says nothing of the likeness.
    """

    cells: tuple[Cell, ...]
    means: Array
    covariance: Array
    scores: Mapping[ScoreName, Array]

    @property
    def told(self) -> tuple[ScoreName, ...]:
        """The scores that could be told in some cell."""
        return tuple(self.scores)

    def score(self, name: ScoreName, cell: Cell) -> float:
        """A score of one cell."""
        return float(self.scores[name][self.cells.index(cell)])

    def at(self, cell: Cell) -> float:
        """The quality of one cell."""
        return float(self.means[self.cells.index(cell)])

    def gap_error(self, one: Cell, other: Cell) -> float:
        """The standard error of the difference of two cells: neighbours are known better against each other."""
        a, b = self.cells.index(one), self.cells.index(other)
        difference = self.covariance[a, a] + self.covariance[b, b] - 2 * self.covariance[a, b]
        return math.sqrt(max(float(difference), 0.0))


def read(surface: Surface, cells: Sequence[Cell] | None = None) -> Reading:
    """The quality at ``cells`` (all that are scored, but for the baseline), scored or not.

    Raises:
        ConfigError: no cell beside the baseline is scored.
    """
    scored = {cell: score for cell, score in surface.items() if cell != BASELINE and cell[1] > 0}
    if not scored:
        raise ConfigError("There is no scored cell to choose from.", "Draw a grid with strengths above 0 first.")
    wanted = tuple(sorted(scored) if cells is None else cells)
    found: dict[ScoreName, Smoothed] = {}
    for name in COUNTING:
        measures = {cell: told for cell, score in scored.items() if (told := score.measure(name)) is not None}
        if measures:
            found[name] = smooth(measures, wanted)
    scores = {name: smoothed.mean for name, smoothed in found.items()}
    means, slopes = _combine(scores)
    covariance = sum(
        (np.outer(slope, slope) * found[name].covariance for name, slope in slopes.items()),
        np.zeros((len(wanted), len(wanted))),
    )
    return Reading(wanted, means, covariance, scores)


def _combine(means: dict[ScoreName, Array]) -> tuple[Array, dict[ScoreName, Array]]:
    """The quality, and its slope by each score: for h = 2io/(i+o), dh/di = 2(o/(i+o))^2 and back."""
    identity, obedience = means.get("identity"), means.get("obedience")
    health = means["health"]
    likeness: Array = np.ones_like(health)
    slopes: dict[ScoreName, Array] = {}
    if identity is not None and obedience is not None:
        total = np.maximum(identity + obedience, 1e-12)
        likeness = 2 * identity * obedience / total
        slopes = {"identity": 2 * (obedience / total) ** 2, "obedience": 2 * (identity / total) ** 2}
    elif identity is not None:
        likeness, slopes = identity, {"identity": np.ones_like(health)}
    elif obedience is not None:
        likeness, slopes = obedience, {"obedience": np.ones_like(health)}
    copying = means.get("copying", np.zeros_like(health))
    own = 1.0 - np.maximum(copying - FREE_COPYING, 0.0) / (1.0 - FREE_COPYING)
    slopes = {name: slope * health * own for name, slope in slopes.items()}
    slopes["health"] = likeness * own
    if "copying" in means:
        slopes["copying"] = -likeness * health * (copying > FREE_COPYING) / (1.0 - FREE_COPYING)
    return likeness * health * own, slopes
