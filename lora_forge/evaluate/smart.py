"""Which cells of a grid to draw next, so that few of them tell what the whole grid would.

First a coarse net over the grid; then, a few at a time, the cells where a better one may still be: the highest of what
the scores so far make likely, plus what is not known (GP-UCB: Srinivas, Krause, Kakade and Seeger, 2010; in batches as
by Desautels, Krause and Burdick, 2014).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

import numpy as np

from lora_forge.evaluate.plan import NO_EPOCH, GridPlan
from lora_forge.evaluate.quality import read
from lora_forge.evaluate.scores import BASELINE, Cell, Surface

SHARE = 0.35
"""Of the cells with a strength, at most so many are drawn, the baseline counted in."""

DRAWN_WHOLE = 12
"""Grids of up to so many cells are drawn whole: there is nothing to save."""

_COARSE = 16
"""So many cells are the net, or half of what may be drawn if that is less."""
_BATCHES = 6
_CURIOSITY = 1.0
"""How many standard errors a cell may hope for."""
_NOISE = 1e-4
"""Variance of a cell that will have been drawn."""

_Value = TypeVar("_Value", int, float)


def most_cells(plan: GridPlan) -> int:
    """How many cells a smart grid of ``plan`` draws at most, the baseline among them where the plan has one."""
    count = len(_strong(plan))
    return len(plan.cells()) if count <= DRAWN_WHOLE else max(DRAWN_WHOLE, int(SHARE * count))


def next_cells(plan: GridPlan, surface: Surface, undrawable: Collection[Cell] = ()) -> tuple[Cell, ...]:
    """The cells to draw and score next, file by file; () when enough is known.

    Nothing is remembered: what ``surface`` holds decides, so that a stopped test goes on, and cells that a person asked
    for are made use of. A scored cell is never asked for again, nor one that is ``undrawable`` (its file is gone, say).
    """
    known = {*surface, *undrawable}
    every = [cell for cell in plan.cells() if cell not in known]
    drawn = sum(cell in surface for cell in plan.cells())
    room = most_cells(plan) - drawn
    if room <= 0 or not every:
        return ()
    if len(_strong(plan)) <= DRAWN_WHOLE:
        return tuple(every)
    first = [cell for cell in coarse_cells(plan) if cell not in known]
    if first:
        return tuple(first[:room])
    count = min(room, max(2, most_cells(plan) // _BATCHES))
    strong = [cell for cell in every if cell != BASELINE]
    if not any(cell[1] > 0 for cell in surface):  # the whole net can't be drawn
        return tuple(strong[:count])
    return tuple(sorted(_promising(plan, surface, strong, count)))


def coarse_cells(plan: GridPlan) -> tuple[Cell, ...]:
    """The net that is drawn first: the baseline, and cells from the first epoch to the last, and up to full strength.

    It leaves the lowest strengths out: little is to be seen there, and what is comes out when the search goes there.
    """
    strengths = [strength for strength in plan.strengths if strength]
    count = min(_COARSE, most_cells(plan) // 2)
    across = min(round(count**0.5), len(plan.epochs))
    down = min(round(count / across), len(strengths))
    across = min(count // down, len(plan.epochs))
    rows = _spread(strengths, down, 0.15 if down > 1 else 1.0)
    baseline = [cell for cell in plan.cells() if cell == BASELINE]
    return (*baseline, *((epoch, strength) for epoch in _spread(plan.epochs, across, 0.0) for strength in rows))


def _spread(values: Sequence[_Value], count: int, start: float) -> list[_Value]:
    """``count`` of ``values``, even, from the share ``start`` of them to the last."""
    last = len(values) - 1
    places = {round(last * (start + (1.0 - start) * step / max(1, count - 1))) for step in range(count)}
    return [values[place] for place in sorted(places)]


def _promising(plan: GridPlan, surface: Surface, cells: Sequence[Cell], count: int) -> list[Cell]:
    """Up to ``count`` of ``cells``, each chosen as if those before it were drawn and came out as foreseen."""
    reading = read(surface, _strong(plan))
    hopes, covariance = reading.means, reading.covariance.copy()
    open_cells = {reading.cells.index(cell) for cell in cells}
    chosen: list[Cell] = []
    while open_cells and len(chosen) < count:
        hope = hopes + _CURIOSITY * np.sqrt(np.maximum(np.diag(covariance), 0.0))
        best = max(open_cells, key=lambda place: float(hope[place]))
        open_cells.remove(best)
        chosen.append(reading.cells[best])
        column = covariance[:, best].copy()
        covariance -= np.outer(column, column) / (column[best] + _NOISE)
    return chosen


def _strong(plan: GridPlan) -> tuple[Cell, ...]:
    return tuple(cell for cell in plan.cells() if cell[0] != NO_EPOCH and cell[1])
