"""Which cells of a grid to draw next, so that few of them tell what the whole grid would."""

from __future__ import annotations

from collections.abc import Collection

from lora_forge.evaluate.plan import NO_EPOCH, GridPlan
from lora_forge.evaluate.scores import BASELINE, Cell, Surface

SHARE = 0.35
"""Of the cells with a strength, at most so many are drawn."""

DRAWN_WHOLE = 12
"""Grids up to so many cells are drawn whole: there is nothing to save."""


def most_cells(plan: GridPlan) -> int:
    """How many cells a smart grid of ``plan`` draws at most, the baseline among them."""
    count = len(_strong(plan))
    return count + 1 if count <= DRAWN_WHOLE else max(DRAWN_WHOLE, int(SHARE * count))


def next_cells(plan: GridPlan, surface: Surface, undrawable: Collection[Cell] = ()) -> tuple[Cell, ...]:
    """The cells to draw and score next, () when enough is known.

    Nothing is remembered: what ``surface`` holds decides, so that a stopped test goes on. A scored cell is never asked
    for again, nor one that is ``undrawable`` (its file is gone, say).
    """
    known = {*surface, *undrawable}
    wanted = [cell for cell in (BASELINE, *_strong(plan)) if cell not in known]
    room = most_cells(plan) - len(surface)
    return tuple(wanted[: max(0, min(room, 8))])


def _strong(plan: GridPlan) -> tuple[Cell, ...]:
    return tuple(cell for cell in plan.cells() if cell[0] != NO_EPOCH and cell[1])
