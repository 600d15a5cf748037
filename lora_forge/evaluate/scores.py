"""What a picture is worth, as numbers with a stated meaning, and their means over a cell.

Who gives the numbers is a :class:`Judge`; this package knows none. The toy world's judge is put in by the demo and the
command line, a face judge by the tab.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL.Image import Image

from lora_forge.evaluate.grid import Grid
from lora_forge.evaluate.lora_tags import split_prompt
from lora_forge.events import Emit, Progress, StageDone, StageStarted


@dataclass(frozen=True)
class PictureScore:
    """One picture, seen by a judge. Every number is 0 to 1, more is better; None means "can't be told".

    ``identity``: does it show the subject (mean over the subject's marks, or likeness of the face).
    ``obedience``: the share of what the prompt asked for, beyond the subject, that the picture shows.
    ``own_traits``: for a prompt without the subject, the share of the asked-for that is untouched by the LoRA.
    ``health``: is it a clean picture of the kind the base draws, or noise, burnt or broken.
    """

    identity: float
    obedience: float | None = None
    own_traits: float | None = None
    health: float = 1.0


class Judge(Protocol):
    """Gives one score a picture."""

    def score(self, images: Sequence[Image], prompt: str) -> Sequence[PictureScore]:
        """``prompt`` is what was asked for, without LoRA tags."""
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
    """The means of one cell's pictures; see :class:`PictureScore` for what each is."""

    identity: Measure
    health: Measure
    obedience: Measure | None = None
    own_traits: Measure | None = None

    @classmethod
    def of(cls, pictures: Sequence[PictureScore]) -> CellScore:
        """Means over the pictures that could be told.

        Raises:
            ValueError: no pictures.
        """
        return cls(
            identity=Measure.of([picture.identity for picture in pictures]),
            health=Measure.of([picture.health for picture in pictures]),
            obedience=_maybe([picture.obedience for picture in pictures]),
            own_traits=_maybe([picture.own_traits for picture in pictures]),
        )


Surface = Mapping[tuple[int, float], CellScore]
"""(epoch, strength) to its score; the baseline is (0, 0.0)."""


def score_grid(grid: Grid, judge: Judge, emit: Emit, should_stop: Callable[[], bool] = lambda: False) -> Surface:
    """Score every drawn cell; all its pictures count, not the shown one alone."""
    prompt, _ = split_prompt(grid.plan.prompt_of(0, 0.0))
    surface: dict[tuple[int, float], CellScore] = {}
    emit(StageStarted("score", len(grid.cells), "cells"))
    for cell, pictures in grid.cells.items():
        if should_stop():
            break
        surface[cell] = CellScore.of(judge.score(pictures, prompt))
        emit(Progress("score", len(surface), len(grid.cells)))
    emit(StageDone("score", "{done} of {total} cells scored", {"done": len(surface), "total": len(grid.cells)}))
    return surface


def _maybe(values: Sequence[float | None]) -> Measure | None:
    told = [value for value in values if value is not None]
    return Measure.of(told) if told else None
