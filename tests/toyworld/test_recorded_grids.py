"""What is said of recorded grids of the toy world, held against the truth: ten seeded runs of each kind.

Recorded by ``benchmarks/toyworld_scores.py`` and ``toyworld_diagnosis.py``; what the figures are stands in
benchmarks/README.md.
"""

from __future__ import annotations

from functools import cache

import pytest

from lora_forge.evaluate.diagnose import diagnose
from lora_forge.evaluate.recommend import recommend
from lora_forge.evaluate.scores import BASELINE, Cell, CellScore
from lora_forge.evaluate.smart import next_cells
from tests.evaluate.recorded import Recorded, recorded

RUNS = 10
POINTS = 0.05


@cache
def runs(kind: str) -> tuple[Recorded, ...]:
    return tuple(one for one in recorded() if one.kind == kind)


def smart_surface(run: Recorded) -> dict[Cell, CellScore]:
    """What a smart grid draws of it, cell by cell as it asks for them."""
    surface: dict[Cell, CellScore] = {}
    while wanted := next_cells(run.plan, surface):
        surface |= {cell: run.surface[cell] for cell in wanted}
    return surface


def places(run: Recorded, surface: dict[Cell, CellScore]) -> tuple[int, int]:
    """Column and row of the recommended cell."""
    found = recommend(surface)
    return run.plan.epochs.index(found.epoch), run.plan.strengths.index(found.strength)


@pytest.mark.parametrize("kind", ["good", "under", "hot", "copy"])
def test_there_are_ten_seeded_runs_of_each_kind(kind: str) -> None:
    assert sorted(run.seed for run in runs(kind)) == list(range(RUNS))


def test_the_good_runs_are_whole_grids() -> None:
    for run in runs("good"):
        assert (len(run.plan.epochs), len(run.plan.strengths)) == (10, 11)
        assert set(run.scores) == set(run.plan.cells())


def test_the_recommended_cell_is_truly_within_five_points_of_the_best() -> None:
    """A cell whose own pictures hardly show her has no truth, and would be a miss."""
    gaps = []
    for run in runs("good"):
        found = recommend(run.surface)
        cell = found.epoch, found.strength
        gaps.append(run.best - run.worth(cell) if cell in run.truth else 1.0)
    assert sum(gap <= POINTS for gap in gaps) >= 9, gaps


def test_the_truth_is_not_so_flat_that_any_cell_would_do() -> None:
    for run in runs("good"):
        near = sum(run.best - run.worth(cell) <= POINTS for cell in run.truth if cell != BASELINE)
        assert near <= len(run.scores) / 3, (run.name, near)


def test_a_smart_grid_finds_the_same_cell_or_its_neighbour_with_a_third_of_the_pictures() -> None:
    found = []
    for run in runs("good"):
        surface = smart_surface(run)
        assert len(surface) <= 35
        (column, row), (other_column, other_row) = places(run, surface), places(run, run.surface)
        found.append(max(abs(column - other_column), abs(row - other_row)))
    assert sum(distance <= 1 for distance in found) >= 9, found


@pytest.mark.parametrize("kind", ["good", "under", "hot", "copy"])
def test_runs_are_told_apart(kind: str) -> None:
    told = [(diagnose(run.surface, recommend(run.surface), run.photos).kind, run.expects) for run in runs(kind)]
    assert sum(said == expected for said, expected in told) >= 9, told
