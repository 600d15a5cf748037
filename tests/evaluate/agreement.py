"""How near a choice comes to the best cell, and a smart grid to the full one. Also for ``benchmarks/smart_grid.py``."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from lora_forge.evaluate.plan import GridPlan
from lora_forge.evaluate.quality import quality
from lora_forge.evaluate.recommend import NEAR_TIE, Recommendation, recommend
from lora_forge.evaluate.scores import BASELINE, Cell, CellScore, Measure
from lora_forge.evaluate.smart import next_cells
from tests.evaluate.planted import Planted, Truth, drawn, plant, surface

TIE = 0.02
"""Truths less than two points apart are the same to anyone who looks at pictures."""


@dataclass(frozen=True)
class Hit:
    """``is_near``: within one cell of the best, or of one whose truth is less than ``TIE`` behind it. ``is_exact``:
    within one cell of the very best. ``behind``: how much worse the chosen cell truly is."""

    is_near: bool
    is_exact: bool
    behind: float


def worth(truth: Truth, without: tuple[str, ...] = ()) -> float:
    """What a cell is truly worth, by what can be told at all."""

    def measure(name: str) -> Measure | None:
        return None if name in without else Measure(getattr(truth, name), 0.0, 1)

    identity, health = Measure(truth.identity, 0.0, 1), Measure(truth.health, 0.0, 1)
    found = quality(CellScore(identity, health, measure("obedience"), copying=measure("copying")))
    assert found is not None
    return found.mean


def steps(plan: GridPlan, one: Cell, other: Cell) -> int:
    """How many cells apart, along the axis where it is more."""
    strengths = [strength for strength in plan.strengths if strength]
    across = abs(plan.epochs.index(one[0]) - plan.epochs.index(other[0]))
    return max(across, abs(strengths.index(one[1]) - strengths.index(other[1])))


def hit(plan: GridPlan, worths: Mapping[Cell, float], chosen: Recommendation) -> Hit:
    """``worths``: the truth of every cell that could have been chosen."""
    cell, best = (chosen.epoch, chosen.strength), max(worths, key=lambda one: worths[one])
    near = [one for one, value in worths.items() if value > worths[best] - TIE]
    is_near = any(steps(plan, cell, one) <= 1 for one in near)
    return Hit(is_near, steps(plan, cell, best) <= 1, worths[best] - worths[cell])


def shoot(planted: Planted, pictures: int, seed: int, without: tuple[str, ...] = (), share: float = 1.0) -> Hit:
    """Recommend from ``pictures`` a cell, of a ``share`` of the cells."""
    rng = random.Random(f"holes {seed}")
    full = surface(drawn(planted, pictures, seed, without))
    seen = {cell: score for cell, score in full.items() if share >= 1.0 or rng.random() < share}
    return hit(planted.plan, {cell: worth(planted.truth[cell], without) for cell in seen}, recommend(seen))


def searched(plan: GridPlan, full: Mapping[Cell, CellScore]) -> dict[Cell, CellScore]:
    """What a smart grid would have drawn of a full one."""
    known: dict[Cell, CellScore] = {}
    while batch := next_cells(plan, known, set(plan.cells()) - set(full)):
        known |= {cell: full[cell] for cell in batch}
    return known


@dataclass(frozen=True)
class Agreement:
    """``is_near``: the smart grid's cell is the full one's or beside it. ``is_tie``: or the full one can't tell them
    apart. ``cells``: how many were drawn."""

    is_near: bool
    is_tie: bool
    cells: int
    full: Cell
    smart: Cell


def agreement(plan: GridPlan, full: Mapping[Cell, CellScore]) -> Agreement:
    """Recommend from the full grid and from a smart one."""
    from lora_forge.evaluate.quality import read

    part = searched(plan, full)
    one, other = recommend(full), recommend(part)
    whole, smart = (one.epoch, one.strength), (other.epoch, other.strength)
    reading, is_near = read(full), steps(plan, whole, smart) <= 1
    gap = reading.at(whole) - reading.at(smart)
    return Agreement(is_near, is_near or gap <= NEAR_TIE * reading.at(whole), len(part), whole, smart)


def with_baseline(planted: Planted, pictures: int, seed: int) -> dict[Cell, CellScore]:
    """A full grid of the test page: the baseline is in it."""
    base = CellScore(Measure(0.1, 0.1, pictures), Measure(1.0, 0.1, pictures), Measure(1.0, 0.1, pictures))
    return {BASELINE: base, **surface(drawn(planted, pictures, seed))}


def plants(family: str, count: int, first: int = 0) -> list[Planted]:
    """Runs of a family."""
    return [plant(seed, family) for seed in range(first, first + count)]
