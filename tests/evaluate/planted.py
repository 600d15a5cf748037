"""Surfaces whose best cell is known: what a run does as it goes on, and the noise of a few pictures a cell."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from lora_forge.evaluate.plan import GridPlan
from lora_forge.evaluate.scores import CellScore, PictureScore

Cell = tuple[int, float]


@dataclass(frozen=True)
class Truth:
    """A cell as infinitely many pictures would score it."""

    identity: float
    obedience: float
    copying: float
    health: float


@dataclass(frozen=True)
class Planted:
    """``truth`` by cell, and the shapes it came from. ``noise``: standard deviation of one picture's score."""

    plan: GridPlan
    truth: Mapping[Cell, Truth]
    noise: float
    name: str = ""


def plan_of(epochs: int = 10, strengths: int = 10) -> GridPlan:
    """The tutorial's grid, or a smaller one."""
    steps = tuple(round((number + 1) / strengths, 3) for number in range(strengths))
    return GridPlan("ohwx <lora:x-NUM:STRENGTH>", epochs=tuple(range(1, epochs + 1)), strengths=(0.0, *steps))


FAMILIES = ("ridge", "plateau", "hot", "rising")
"""What the recommendation is held against."""


def plant(seed: int, family: str = "ridge", epochs: int = 10, strengths: int = 10) -> Planted:
    """A run drawn at random.

    What the LoRA does to a picture is its dose: strength times what the epochs have taught, so that late epochs at low
    strength resemble early ones at full strength (a ridge across the grid). Identity rises with the dose and saturates;
    obedience falls beyond a dose, and faster in epochs that are trained too far; copying comes with those epochs;
    health goes last. Where each begins is drawn. ``family``: "ridge" has it all, in "plateau" nothing is overfitted and
    many cells are as good as the best, "hot" is past its best after a few epochs and breaks, "rising" ends before it is
    there. And for the diagnosis: "under" is hardly begun, "copy" is alike by copying alone, in "mixed" obedience goes
    before likeness comes.
    """
    rng = random.Random(f"planted {family} {seed}")
    plan = plan_of(epochs, strengths)
    shape = _shape(rng, family)
    truth = {(epoch, strength): shape.at(epoch / epochs, strength) for epoch, strength in plan.cells() if strength}
    return Planted(plan, truth, noise=rng.uniform(0.04, 0.12), name=f"{family} {seed}")


@dataclass(frozen=True)
class _Shape:
    """``pace``: how the dose grows with the epochs, slower at first (above 1) or at last. ``turn``: the share of the
    run from which it overfits. The others: doses at which a score turns, and how fast."""

    pace: float
    full: float
    middle: float
    rise: float
    limit: float
    fall: float
    turn: float
    copied: float = 0.0

    def at(self, age: float, strength: float) -> Truth:
        dose, over = strength * age**self.pace, max(0.0, age - self.turn)
        return Truth(
            identity=self.full * _rise(dose, self.middle, self.rise),
            obedience=1.0 - _rise(dose + over, self.limit, self.fall),
            copying=min(1.0, 1.5 * over * strength + self.copied * _rise(dose, self.middle, self.rise)),
            health=1.0 - 0.9 * _rise(dose + over, self.limit + 0.35, 15.0),
        )


def _shape(rng: random.Random, family: str) -> _Shape:
    pace, full, fall = rng.uniform(0.5, 1.5), rng.uniform(0.8, 1.0), rng.uniform(5.0, 15.0)
    if family == "plateau":
        return _Shape(pace, full, rng.uniform(0.1, 0.3), rng.uniform(8.0, 15.0), 2.0, fall, 2.0)
    if family == "hot":
        middle = rng.uniform(0.05, 0.2)
        return _Shape(pace, full, middle, rng.uniform(15.0, 30.0), middle + rng.uniform(0.1, 0.3), 15.0, 0.3)
    if family == "rising":
        return _Shape(pace, full, rng.uniform(0.8, 1.3), rng.uniform(4.0, 8.0), 2.0, fall, 2.0)
    if family == "under":
        return _Shape(pace, full, rng.uniform(1.3, 2.0), rng.uniform(4.0, 8.0), 2.0, fall, 2.0)
    middle = rng.uniform(0.2, 0.7)
    if family == "copy":
        return _Shape(pace, full, middle, 12.0, middle + rng.uniform(0.0, 0.2), fall, 2.0, rng.uniform(0.8, 1.0))
    if family == "mixed":
        return _Shape(pace, full, middle, 12.0, middle - rng.uniform(0.1, 0.2), 15.0, 2.0)
    return _Shape(
        pace, full, middle, rng.uniform(5.0, 12.0), rng.uniform(middle + 0.1, 1.1), fall, rng.uniform(0.4, 1.2)
    )


def _rise(x: float, middle: float, steepness: float) -> float:
    return 1.0 / (1.0 + math.exp(-steepness * (x - middle)))


def drawn(planted: Planted, pictures: int, seed: int, without: tuple[str, ...] = ()) -> dict[Cell, list[PictureScore]]:
    """What a judge would say of ``pictures`` a cell; scores named in ``without`` can't be told."""
    rng = random.Random(f"pictures {seed}")
    found: dict[Cell, list[PictureScore]] = {}
    for cell, truth in planted.truth.items():
        shown = []
        for _ in range(pictures):
            told: dict[str, float | None] = {
                name: None if name in without else _noisy(rng, getattr(truth, name), planted.noise)
                for name in ("identity", "obedience", "copying")
            }
            shown.append(PictureScore(health=float(rng.random() < truth.health), **told))
        found[cell] = shown
    return found


def _noisy(rng: random.Random, value: float, noise: float) -> float:
    return min(1.0, max(0.0, value + rng.gauss(0.0, noise)))


def surface(scores: Mapping[Cell, list[PictureScore]]) -> dict[Cell, CellScore]:
    """The means of each cell."""
    return {cell: CellScore.of(shown) for cell, shown in scores.items()}
