"""What a picture is worth, as numbers with a stated meaning, and their means over a cell.

Who gives the numbers is a :class:`Judge`; this module knows none. See :mod:`lora_forge.evaluate.judges`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from PIL.Image import Image

from lora_forge.events import Emit, Progress, StageDone, StageStarted
from lora_forge.i18n import Said, word

if TYPE_CHECKING:  # a plan knows what is Asked
    from lora_forge.evaluate.grid import Grid
    from lora_forge.evaluate.plan import GridPlan

Cell = tuple[int, float]
BASELINE: Cell = (0, 0.0)
"""The cell without any LoRA."""

ScoreName = Literal["identity", "obedience", "copying", "health"]

BASE_SHOWS = 0.5
"""A swap that the base itself shows in less than this share of its pictures says nothing about a LoRA."""


@dataclass(frozen=True)
class ScoreFacts:
    """What a score means. ``unit`` and ``range`` belong to the number as it is shown."""

    title: str
    unit: str
    range: tuple[float, float]
    sentence: Said
    is_better_high: bool


SCORES: Mapping[ScoreName, ScoreFacts] = MappingProxyType(
    {
        "identity": ScoreFacts(
            word("Likeness"),
            "%",
            (0.0, 100.0),
            Said(
                word(
                    "How alike the pictures and the photos are, in percent of how alike the photos are to each other: "
                    "100 % is as alike as one more photo would be."
                )
            ),
            True,
        ),
        "obedience": ScoreFacts(
            word("Obedience"),
            "%",
            (0.0, 100.0),
            Said(
                word(
                    "How much of what the prompt changes (hair, clothes, place) happened, in percent of what the "
                    "checkpoint does without the LoRA. What it can't draw itself is left out."
                )
            ),
            True,
        ),
        "copying": ScoreFacts(
            word("Copying"),
            "%",
            (0.0, 100.0),
            Said(
                word(
                    "How much nearer a picture is to one of the photos than the photos are to each other: 0 % is no "
                    "nearer, 100 % is that very photo."
                )
            ),
            False,
        ),
        "health": ScoreFacts(
            word("Health"),
            "%",
            (0.0, 100.0),
            Said(
                word(
                    "Whether the pictures are clean: not black, noise, burnt or garish beside the photos, and with a "
                    "face where one is due."
                )
            ),
            True,
        ),
    }
)
"""Every score, by its name; all are kept as 0 to 1 and shown in percent. The source is what a :class:`Judge` says."""


@dataclass(frozen=True)
class Asked:
    """What a picture was asked to show. ``prompt``: without LoRA tags. ``swaps``: tags of what no photo shows, to be
    told in the picture. ``expects_face``: False where the subject may well be drawn without a face to be seen."""

    prompt: str
    swaps: tuple[str, ...] = ()
    expects_face: bool = True


@dataclass(frozen=True)
class PictureScore:
    """One picture, seen by a judge. Every number is 0 to 1; None means "can't be told".

    ``identity``: likeness to the set, over the set's own leave-one-out likeness, at most 1.
    ``health``: is it a clean picture, or noise, burnt or broken.
    ``obedience``: the share of what was asked for that it shows; where ``shown`` is given instead,
    :func:`surface_of` works it out beside the baseline.
    ``own_traits``: for a prompt without the subject, the share of the asked-for that is untouched by the LoRA.
    ``copying``: how much nearer to its nearest photo than photos are to each other; bad when high.
    ``shown``: the chance of each swap that was asked for and can be told.
    """

    identity: float | None
    health: float = 1.0
    obedience: float | None = None
    own_traits: float | None = None
    copying: float | None = None
    shown: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(replace(self, shown={})), "shown": dict(self.shown)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> PictureScore:
        """What :meth:`to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        shown = {str(tag): float(chance) for tag, chance in plain["shown"].items()}
        told = {name: _maybe_float(plain[name]) for name in ("identity", "obedience", "own_traits", "copying")}
        return cls(health=float(plain["health"]), shown=shown, **told)  # type: ignore[arg-type]


class Judge(Protocol):
    """Gives one score a picture."""

    def score(self, images: Sequence[Image], asked: Asked) -> Sequence[PictureScore]:
        """In the order of ``images``, all of which were asked for the same.

        Raises:
            LoraForgeError: a model behind it fails.
        """
        ...


@dataclass(frozen=True)
class Measure:
    """A mean over ``count`` pictures, 0 to 1, with its standard error."""

    mean: float
    standard_error: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Measure:
        """Mean and standard error of scores in 0..1.

        The spread is taken with one more, half zero and half one, picture (as Agresti and Coull, 1998, do for shares):
        eight pictures that all score 1 are not certain knowledge. The mean itself is left alone.

        Raises:
            ValueError: no values.
        """
        if not values:
            raise ValueError("a mean of no pictures")
        count = len(values)
        mean = sum(values) / count
        middle = (sum(values) + 0.5) / (count + 1)
        squares = sum((value - middle) ** 2 for value in values) + 0.5 * middle**2 + 0.5 * (1 - middle) ** 2
        return cls(mean, math.sqrt(squares / (count + 1) / count), count)


@dataclass(frozen=True)
class CellScore:
    """The means of one cell's pictures; see :class:`PictureScore` for what each is. None: could not be told."""

    identity: Measure | None
    health: Measure
    obedience: Measure | None = None
    own_traits: Measure | None = None
    copying: Measure | None = None

    @classmethod
    def of(cls, pictures: Sequence[PictureScore]) -> CellScore:
        """Means over the pictures that could be told.

        Raises:
            ValueError: no pictures.
        """
        return cls(
            identity=_maybe([picture.identity for picture in pictures]),
            health=Measure.of([picture.health for picture in pictures]),
            obedience=_maybe([picture.obedience for picture in pictures]),
            own_traits=_maybe([picture.own_traits for picture in pictures]),
            copying=_maybe([picture.copying for picture in pictures]),
        )

    def measure(self, name: ScoreName) -> Measure | None:
        """The score called ``name`` in :data:`SCORES`."""
        found: Measure | None = getattr(self, name)
        return found

    def measures(self) -> Mapping[ScoreName, Measure]:
        """Those of :data:`SCORES` that could be told, in its order."""
        found = {name: self.measure(name) for name in SCORES}
        return {name: measure for name, measure in found.items() if measure is not None}


Surface = Mapping[Cell, CellScore]
"""(epoch, strength) to its score; the baseline is (0, 0.0)."""

SCORE_NAMES: tuple[ScoreName, ...] = get_args(ScoreName)


def judge_cell(judge: Judge, images: Sequence[Image], asked: Sequence[Asked]) -> list[PictureScore]:
    """One score a picture; ``asked`` says for each what it was asked for, in the same order.

    Raises:
        ValueError: there are more pictures than was asked for, or fewer.
    """
    scores: list[PictureScore] = []
    pairs = zip(images, asked, strict=True)
    for one, together in itertools.groupby(pairs, key=lambda pair: pair[1]):
        scores += judge.score([image for image, _ in together], one)
    return scores


def surface_of(plan: GridPlan, scores_by_cell: Mapping[Cell, Sequence[PictureScore]]) -> Surface:
    """The scores of cells, with the swaps they show beside those that the baseline of the ``plan`` shows.

    Cells without pictures are left out. A grid without a baseline (a host's own that was drawn so) has none to compare
    with: the chances count as they are then, as if the base showed every swap.
    """
    base = base_chances(scores_by_cell.get(BASELINE, ()))
    return {
        cell: CellScore.of([_beside(score, base) for score in scores])
        for cell, scores in scores_by_cell.items()
        if scores
    }


def base_chances(scores: Sequence[PictureScore]) -> Mapping[str, float] | None:
    """The mean chance of each swap in the pictures of the baseline; None where there are none."""
    if not scores:
        return None
    found: dict[str, list[float]] = {}
    for score in scores:
        for tag, chance in score.shown.items():
            found.setdefault(tag, []).append(chance)
    return {tag: sum(chances) / len(chances) for tag, chances in found.items()}


def score_grid(grid: Grid, judge: Judge, emit: Emit, should_stop: Callable[[], bool] = lambda: False) -> Surface:
    """Score every drawn cell; all its pictures count, not the shown one alone."""
    asked = grid.plan.asked()
    found: dict[Cell, list[PictureScore]] = {}
    emit(StageStarted("score", len(grid.cells), "cells"))
    for cell, pictures in grid.cells.items():
        if should_stop():
            break
        found[cell] = judge_cell(judge, pictures, asked)
        emit(Progress("score", len(found), len(grid.cells)))
    emit(StageDone("score", "{done} of {total} cells scored", {"done": len(found), "total": len(grid.cells)}))
    return surface_of(grid.plan, found)


def _beside(score: PictureScore, base: Mapping[str, float] | None) -> PictureScore:
    """With its obedience told from ``shown``, where the judge has not told it itself."""
    if score.obedience is not None or not score.shown:
        return score
    known = dict.fromkeys(score.shown, 1.0) if base is None else base
    shares = [min(1.0, chance / known[tag]) for tag, chance in score.shown.items() if known.get(tag, 0.0) >= BASE_SHOWS]
    return replace(score, obedience=sum(shares) / len(shares) if shares else None)


def _maybe(values: Sequence[float | None]) -> Measure | None:
    told = [value for value in values if value is not None]
    return Measure.of(told) if told else None


def _maybe_float(value: Any) -> float | None:
    return None if value is None else float(value)
