"""How a run went over its epochs, as one test saw it: what the next round's advice is reckoned from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lora_forge.evaluate.recommend import LEAST_HEALTH, quality
from lora_forge.evaluate.scores import CellScore, Measure, Surface

FALL = 0.05
"""The last epoch counts as worse than the best one where its best quality is this much lower."""


HALF_ALIKE = 0.4
"""A likeness from which on something was learned."""


@dataclass(frozen=True)
class Point:
    """``epoch`` with a mean of 0 to 1 and its standard error; ``dose``: what was learned by then, see :func:`dose`."""

    epoch: int
    dose: float
    mean: float
    error: float


@dataclass(frozen=True)
class Course:
    """``likeness``, ``obedience``: epoch by epoch at one ``strength``, where they could be told. ``quality``: the best
    of each epoch over its healthy strengths.

    ``base``: the likeness without the LoRA. ``is_broken_at``: the first epoch without any healthy strength, else 0.
    """

    strength: float
    likeness: tuple[Point, ...]
    quality: tuple[Point, ...]
    obedience: tuple[Point, ...] = ()
    base: float = 0.0
    is_broken_at: int = 0

    @property
    def first(self) -> int:
        """The earliest epoch that was looked at."""
        return min(point.epoch for point in self.quality)

    @property
    def last(self) -> int:
        """The latest one."""
        return max(point.epoch for point in self.quality)

    @property
    def slope(self) -> float:
        """How much the likeness rose a unit of dose over the run's later half; 0 where that is within the error."""
        late = self._late
        if len(late) < 2:
            return 0.0
        rise, span = _fitted(late), late[-1].dose - late[0].dose
        noise = max(point.error for point in late)
        return rise if span > 0 and rise * span > max(noise, 0.02) else 0.0

    @property
    def _late(self) -> tuple[Point, ...]:
        return self.likeness[len(self.likeness) // 2 - (len(self.likeness) < 4) :]

    @property
    def pace(self) -> float:
        """The share of what lacks to a likeness of 1 that goes with each unit of dose, as the later half shows it; 0
        where it does not rise. The nearer, the slower it gets: a straight line would promise too much."""
        if not self.slope:
            return 0.0
        middle = sum(point.mean for point in self._late) / len(self._late)
        return self.slope / max(1.0 - middle, 0.05)

    def after(self, more: float) -> float:
        """The likeness after ``more`` dose than at the end; 0 where it does not rise."""
        return 1.0 - (1.0 - self.likeness[-1].mean) * math.exp(-self.pace * more) if self.pace else 0.0

    def until(self, target: float) -> float:
        """How much more dose reaches ``target`` (below 1); 0 where it is reached or does not rise."""
        lacks = 1.0 - self.likeness[-1].mean if self.pace else 0.0
        return math.log(lacks / (1.0 - target)) / self.pace if lacks > 1.0 - target else 0.0

    @property
    def disobeys(self) -> bool:
        """Whether obedience is what lacks at the end, more than likeness."""
        return bool(self.obedience) and self.obedience[-1].mean < self.likeness[-1].mean - 2 * FALL

    def is_past(self, epoch: int) -> bool:
        """Whether the last epoch is clearly worse than ``epoch``, and not by the luck of the draw while nothing was
        learned: likeness was half-way there by then, or obedience has been lost."""
        by_epoch = {point.epoch: point for point in self.quality}
        if epoch not in by_epoch or epoch >= self.last:
            return False
        best, last = by_epoch[epoch], by_epoch[self.last]
        fall = max(FALL, math.hypot(best.error, last.error))
        return last.mean < best.mean - fall and (self._is_half_alike or self._has_lost_obedience)

    @property
    def _is_half_alike(self) -> bool:
        return any(point.mean - point.error >= max(HALF_ALIKE, self.base + FALL) for point in self.likeness)

    @property
    def _has_lost_obedience(self) -> bool:
        if not self.obedience:
            return False
        last = self.obedience[-1]
        return any(
            one.mean - last.mean > max(3 * FALL, 2 * math.hypot(one.error, last.error)) for one in self.obedience
        )


def dose(epoch: int, rates: Sequence[float]) -> float:
    """What ``epoch`` epochs taught: the sum of their mean shares of the learning rate; without ``rates`` their number.

    The steps of an epoch at half of the rate move the weights half as far.
    """
    return float(epoch) if not rates else sum(rates[:epoch]) + max(0, epoch - len(rates)) * rates[-1]


def course_of(surface: Surface, rates: Sequence[float] = ()) -> Course:
    """Read ``surface`` epoch by epoch.

    The likeness is read at the strength of at most 1 that most epochs were drawn at, the highest of those: a smart
    grid leaves cells out.
    """
    cells = {cell: score for cell, score in surface.items() if cell[1] > 0}
    base = next((score.identity.mean for cell, score in surface.items() if cell[1] == 0 and score.identity), 0.0)
    strength = _usual_strength([cell for cell, score in cells.items() if score.identity is not None])
    at_it = {epoch: score for (epoch, at), score in sorted(cells.items()) if at == strength}
    best = {epoch: _best([score for (one, _), score in cells.items() if one == epoch]) for epoch, _ in sorted(cells)}
    qualities = [Point(epoch, dose(epoch, rates), mean, error) for epoch, (mean, error) in best.items()]
    broken = [epoch for epoch in best if all(not _is_healthy(s) for (one, _), s in cells.items() if one == epoch)]
    return Course(
        strength,
        likeness=_points({epoch: score.identity for epoch, score in at_it.items()}, rates),
        quality=tuple(qualities),
        obedience=_points({epoch: score.obedience for epoch, score in at_it.items()}, rates),
        base=base,
        is_broken_at=min(broken, default=0),
    )


def _points(measures: Mapping[int, Measure | None], rates: Sequence[float]) -> tuple[Point, ...]:
    told = {epoch: measure for epoch, measure in measures.items() if measure is not None}
    return tuple(Point(epoch, dose(epoch, rates), one.mean, one.standard_error) for epoch, one in told.items())


def _usual_strength(cells: Sequence[tuple[int, float]]) -> float:
    counts = Counter(strength for _, strength in cells)
    usual = {strength: count for strength, count in counts.items() if strength <= 1.0} or counts
    return max(usual, key=lambda strength: (usual[strength], strength), default=1.0)


def _best(scores: Sequence[CellScore]) -> tuple[float, float]:
    """(quality, error) of the best healthy strength; (0, 0) where none is."""
    found = [quality(score) for score in scores if _is_healthy(score) and score.identity is not None]
    best = max((measure for measure in found if measure is not None), key=lambda one: one.mean, default=None)
    return (0.0, 0.0) if best is None else (best.mean, best.standard_error)


def _is_healthy(score: CellScore) -> bool:
    return score.health.mean >= LEAST_HEALTH


def _fitted(points: Sequence[Point]) -> float:
    """Slope of the straight line through ``points`` by least squares."""
    middle = sum(point.dose for point in points) / len(points)
    spread = sum((point.dose - middle) ** 2 for point in points)
    level = sum(point.mean for point in points) / len(points)
    return sum((p.dose - middle) * (p.mean - level) for p in points) / spread if spread else 0.0
