"""Which epoch and strength to keep, said in one sentence with the numbers it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lora_forge.evaluate import recommend_words as words
from lora_forge.evaluate.quality import COUNTING, Reading, quality, read
from lora_forge.evaluate.scores import Cell, ScoreName, Surface
from lora_forge.i18n import Said, Text

__all__ = ["LEAST_HEALTH", "LEAST_QUALITY", "Recommendation", "quality", "recommend"]

LEAST_HEALTH = 0.5
"""Below this mean health a cell's pictures count as broken and can't be recommended."""

LEAST_QUALITY = 0.5
"""A cell whose quality or likeness is below this is not fit for use, even if it is the best."""

NEAR_TIE = 0.04
"""Cells less than this share of the best quality behind it may be as good as the best, where it is also within
``_ERRORS`` standard errors of the difference."""
_ERRORS = 1.5


@dataclass(frozen=True)
class Recommendation:
    """The cell to keep.

    ``quality``: see :mod:`lora_forge.evaluate.quality`, read together with the cells around, 0 to 1. ``runner_up``: the
    best cell of another epoch, or of the same one where there is no other. ``is_too_close``: the runner-up can't be
    told apart from the kept one by these pictures. ``rivals``: of how many cells that is true. ``is_usable``: False
    when even the best cell is broken, or its quality or likeness is below ``LEAST_QUALITY``, or its likeness could
    not be told. ``missing``: scores that could not be told in any cell.
    """

    epoch: int
    strength: float
    quality: float
    sentence: Said
    runner_up: Cell | None = None
    is_too_close: bool = False
    rivals: int = 0
    is_usable: bool = True
    missing: tuple[ScoreName, ...] = ()


def recommend(
    surface: Surface, missing: Mapping[ScoreName, Text] | None = None, least_health: float = LEAST_HEALTH
) -> Recommendation:
    """Choose the cell with the highest quality among the healthy ones, or the middle of those as good as that.

    Each cell is read together with those around it, so that one lucky picture decides nothing. Where many cells are
    as good as the best, the middle of them is taken: a little more or less strength does no harm there. Where the
    likeness could not be told, the furthest cell is named that still holds up otherwise, and that it is only that.

    Args:
        missing: why a score could not be told, as a whole sentence, by its name; the recommendation says it.

    Raises:
        ConfigError: there is no scored cell with a strength above 0.
    """
    reading = read(surface)
    untold = tuple(name for name in COUNTING if name not in reading.told)
    is_told = "identity" in reading.told
    told = [cell for cell in reading.cells if not is_told or surface[cell].identity is not None]
    healthy = [cell for cell in told if surface[cell].health.mean >= least_health]
    choice = healthy or told
    kept = middle_of_best(reading, choice) if is_told else _furthest(reading, choice)
    close = [cell for cell in choice if cell != kept and _is_close(reading, kept, cell)]
    runner_up = _runner_up(reading, kept, choice)
    is_usable = is_told and bool(healthy) and min(reading.at(kept), reading.score("identity", kept)) >= LEAST_QUALITY
    found = words.Found(kept, surface[kept], reading, runner_up, close, is_told, bool(healthy), is_usable)
    return Recommendation(
        *kept,
        quality=reading.at(kept),
        sentence=words.sentence(found, untold, missing or {}),
        runner_up=runner_up,
        is_too_close=runner_up in close,
        rivals=len(close),
        is_usable=is_usable,
        missing=untold,
    )


def middle_of_best(reading: Reading, cells: Sequence[Cell]) -> Cell:
    """Of ``cells``, one that is as good as the best and lies in the middle of those that are."""
    places = [reading.cells.index(cell) for cell in cells]
    means = reading.means[places]
    best = max(places, key=lambda place: float(reading.means[place]))
    behind = reading.means[best] - means
    errors = np.array([reading.gap_error(reading.cells[best], cell) for cell in cells])
    reach = np.maximum(np.minimum(NEAR_TIE * reading.means[best], _ERRORS * errors), 1e-9)
    at = _ranks(reading.cells)[places]
    middle = np.average(at, axis=0, weights=np.exp(-1.5 * behind / reach))
    near = [(float(np.sum((at[i] - middle) ** 2)), cell) for i, cell in enumerate(cells) if behind[i] <= reach[i]]
    return min(near)[1]


def _ranks(cells: Sequence[Cell]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(n, 2): which epoch and which strength of the grid, counted."""
    axes = [sorted({cell[axis] for cell in cells}) for axis in (0, 1)]
    return np.array([[axes[0].index(epoch), axes[1].index(strength)] for epoch, strength in cells], dtype=np.float64)


def _furthest(reading: Reading, cells: Sequence[Cell]) -> Cell:
    """Without a likeness: the cell that had the most of the LoRA among those that hold up as well as any."""
    best = max(reading.at(cell) for cell in cells)
    near = [cell for cell in cells if reading.at(cell) >= best - max(0.1, NEAR_TIE * best)]
    return max(near, key=lambda cell: (cell[0] * cell[1], cell))


def _is_close(reading: Reading, kept: Cell, other: Cell) -> bool:
    return reading.at(other) >= reading.at(kept) - reading.gap_error(kept, other)


def _runner_up(reading: Reading, kept: Cell, cells: Sequence[Cell]) -> Cell | None:
    """The decision is which file to keep: of the cells of other epochs the best, if there are any."""
    others = [cell for cell in cells if cell[0] != kept[0]] or [cell for cell in cells if cell != kept]
    return max(others, key=lambda cell: (reading.at(cell), -cell[0], -cell[1]), default=None)
