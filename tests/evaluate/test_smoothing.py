from __future__ import annotations

import random

import numpy as np
import pytest

from lora_forge.evaluate.scores import Cell, Measure
from lora_forge.evaluate.smoothing import smooth

CELLS = [(epoch, tenth / 10) for epoch in range(1, 11) for tenth in range(1, 11)]


def truth(cell: Cell) -> float:
    """Rises with the dose and saturates."""
    return float(1 / (1 + np.exp(-8 * (cell[0] * cell[1] / 10 - 0.4))))


def noisy(noise: float, cells: list[Cell], seed: int = 0, count: int = 1) -> dict[Cell, Measure]:
    rng = random.Random(seed)
    return {
        cell: Measure.of([min(1.0, max(0.0, truth(cell) + rng.gauss(0, noise))) for _ in range(count)])
        for cell in cells
    }


def wrong(mean: np.ndarray, cells: list[Cell]) -> float:
    return float(np.sqrt(np.mean((mean - [truth(cell) for cell in cells]) ** 2)))


def test_many_pictures_leave_the_means_as_they_were_measured() -> None:
    found = smooth({cell: Measure(truth(cell), 0.001, 1000) for cell in CELLS}, CELLS)
    assert found.mean == pytest.approx([truth(cell) for cell in CELLS], abs=0.003)


@pytest.mark.parametrize("seed", range(5))
def test_single_pictures_read_together_are_nearer_to_the_truth(seed: int) -> None:
    measured = noisy(0.1, CELLS, seed)
    raw = wrong(np.array([measured[cell].mean for cell in CELLS]), CELLS)
    found = smooth(measured, CELLS)
    assert wrong(found.mean, CELLS) < 0.65 * raw
    claimed = float(np.sqrt(np.mean(np.diag(found.covariance))))
    assert 0.4 * claimed < wrong(found.mean, CELLS) < 2.5 * claimed


def test_holes_are_filled_and_known_less() -> None:
    holes = [(5, 0.5), (9, 0.9)]
    measured = noisy(0.03, [cell for cell in CELLS if cell not in holes])
    found = smooth(measured, [*holes, (2, 0.2)])
    assert found.mean[:2] == pytest.approx([truth(cell) for cell in holes], abs=0.06)
    alone = smooth(noisy(0.03, CELLS), holes)
    assert np.all(np.diag(found.covariance)[:2] > np.diag(alone.covariance))


def test_an_edge_is_not_washed_away() -> None:
    """From epoch 6 on nothing is left, in every cell: that is no noise."""
    measured = {cell: Measure.of([0.9] * 4 if cell[0] < 6 else [0.05] * 4) for cell in CELLS}
    found = dict(zip(CELLS, smooth(measured, CELLS).mean, strict=True))
    assert found[5, 0.8] > 0.8
    assert found[6, 0.8] < 0.15


def test_a_handful_of_cells_is_taken_as_it_is() -> None:
    measured = {(1, 1.0): Measure(0.3, 0.1, 4), (2, 1.0): Measure(0.7, 0.05, 4)}
    found = smooth(measured, [(1, 1.0), (2, 1.0), (3, 1.0)])
    assert list(found.mean) == pytest.approx([0.3, 0.7, 0.5])
    assert list(np.diag(found.covariance)) == pytest.approx([0.01, 0.0025, 0.04 + 0.00625])


def test_one_row_one_column_and_equal_scores_are_read_too() -> None:
    row = [(epoch, 1.0) for epoch in range(1, 9)]
    assert smooth({cell: Measure.of([0.5]) for cell in row}, row).mean == pytest.approx([0.5] * 8, abs=1e-6)
    column = [(3, tenth / 10) for tenth in range(1, 11)]
    found = smooth({cell: Measure.of([cell[1]] * 4) for cell in column}, column)
    assert found.mean == pytest.approx([cell[1] for cell in column], abs=0.03)
    assert np.all(np.isfinite(found.covariance))
