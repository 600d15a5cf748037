from __future__ import annotations

import random
from collections.abc import Callable, Collection

import pytest

from lora_forge.evaluate.plan import GridPlan
from lora_forge.evaluate.scores import BASELINE, Cell, CellScore, PictureScore
from lora_forge.evaluate.smart import DRAWN_WHOLE, coarse_cells, most_cells, next_cells
from tests.evaluate.planted import drawn, plan_of, plant, surface

NOTHING = CellScore.of([PictureScore(0.0)])


def play(
    plan: GridPlan,
    score: Callable[[Cell], CellScore],
    known: dict[Cell, CellScore] | None = None,
    gone: Collection[Cell] = (),
) -> list[list[Cell]]:
    """Draw what is asked for until nothing is; the batches. ``known`` grows along."""
    known, batches = {} if known is None else known, []
    while batch := next_cells(plan, known, gone):
        assert len(set(batch)) == len(batch)
        assert not set(batch) & {*known, *gone}
        assert set(batch) <= set(plan.cells())
        batches.append(list(batch))
        known |= {cell: score(cell) for cell in batch}
        assert len(batches) < 50
    return batches


def planted(seed: int, family: str = "ridge", pictures: int = 2) -> dict[Cell, CellScore]:
    return {BASELINE: NOTHING, **surface(drawn(plant(seed, family), pictures, seed))}


def test_a_hundred_cells_are_told_by_thirty_five_of_them_step_by_step() -> None:
    full, plan = planted(1), plan_of()
    known: dict[Cell, CellScore] = {}
    batches = play(plan, full.__getitem__, known)
    assert len(known) == most_cells(plan) == 35
    assert batches[0][0] == BASELINE
    assert set(batches[0]) == set(coarse_cells(plan))
    assert len(batches[0]) == 17
    assert {epoch for epoch, _ in batches[0]} == {0, 1, 4, 7, 10}
    assert max(strength for _, strength in batches[0]) == 1.0
    assert all(len(batch) <= 6 for batch in batches[1:])


def test_what_was_drawn_before_decides_so_that_a_stopped_search_goes_on_as_if_it_had_not_been() -> None:
    full, plan = planted(2), plan_of()
    at_once: dict[Cell, CellScore] = {}
    play(plan, full.__getitem__, at_once)
    stopped: dict[Cell, CellScore] = {}
    while batch := next_cells(plan, stopped):
        for cell in batch[: 1 + len(batch) // 2]:  # stopped in the middle; the rest is asked for again if still wanted
            stopped[cell] = full[cell]
    assert len(stopped) == 35
    assert set(coarse_cells(plan)) <= set(stopped)
    half = dict(list(at_once.items())[:22])
    assert next_cells(plan, half) == next_cells(plan, dict(reversed(half.items())))


def test_cells_that_a_person_drew_before_count() -> None:
    full, plan = planted(3), plan_of()
    known = {cell: full[cell] for cell in [(epoch, 1.0) for epoch in range(1, 11)]}
    play(plan, full.__getitem__, known)
    assert len(known) == 35
    assert next_cells(plan, full) == ()


@pytest.mark.parametrize("epochs", [4, 1])
def test_an_epoch_whose_file_is_gone_is_never_asked_for(epochs: int) -> None:
    full, plan = planted(4), plan_of()
    gone = {cell for cell in plan.cells() if cell[0] == epochs}
    known: dict[Cell, CellScore] = {}
    play(plan, full.__getitem__, known, gone)
    assert len(known) == 35


def test_when_the_whole_net_is_gone_what_is_left_is_searched() -> None:
    full, plan = planted(4), plan_of()
    known: dict[Cell, CellScore] = {}
    play(plan, full.__getitem__, known, set(coarse_cells(plan)))
    assert len(known) == 35


def test_cells_of_which_nothing_could_be_told_are_not_asked_for_again() -> None:
    plan = plan_of()
    untold = CellScore.of([PictureScore(None)])
    known: dict[Cell, CellScore] = {}
    play(plan, lambda cell: untold, known)
    assert len(known) == 35


def test_where_the_pictures_are_broken_little_is_drawn() -> None:
    """All epochs from 4 on are noise at strengths above 0.3: beyond the net, the search stays out of there."""
    plan = plan_of()

    def score(cell: Cell) -> CellScore:
        epoch, strength = cell
        is_broken = epoch >= 4 and strength > 0.3
        identity = 0.1 if is_broken else 0.2 + 0.7 * min(1.0, epoch * strength / 3)
        return CellScore.of([PictureScore(identity, health=0.0 if is_broken else 1.0, obedience=0.9)] * 2)

    batches = play(plan, score)
    later = [cell for batch in batches[1:] for cell in batch]
    assert sum(epoch >= 5 and strength > 0.4 for epoch, strength in later) <= len(later) // 4


@pytest.mark.parametrize(("epochs", "strengths"), [(1, 1), (3, 4), (2, 6), (12, 1)])
def test_tiny_grids_are_drawn_whole(epochs: int, strengths: int) -> None:
    plan = plan_of(epochs, strengths)
    assert len(plan.cells()) - 1 <= DRAWN_WHOLE
    known: dict[Cell, CellScore] = {}
    assert len(play(plan, lambda cell: NOTHING, known)) == 1
    assert set(known) == set(plan.cells())


@pytest.mark.parametrize(
    ("epochs", "strengths", "most"),
    [(13, 1, 12), (5, 5, 12), (6, 6, 12), (1, 30, 12), (8, 10, 28), (20, 10, 70), (10, 20, 70), (20, 3, 21)],
)
def test_other_sizes_in_proportion(epochs: int, strengths: int, most: int) -> None:
    plan, rng = plan_of(epochs, strengths), random.Random(1)
    assert most_cells(plan) == most
    known: dict[Cell, CellScore] = {}
    batches = play(plan, lambda cell: CellScore.of([PictureScore(rng.random())]), known)
    assert len(known) == most
    assert len(batches[0]) <= most // 2 + 1
    assert max(epoch for epoch, _ in batches[0]) == epochs


def test_a_batch_goes_file_by_file() -> None:
    full, plan = planted(5), plan_of()
    for batch in play(plan, full.__getitem__):
        assert batch == sorted(batch)


def test_a_plan_without_a_baseline_is_searched_too() -> None:
    plan = GridPlan("x <lora:x-NUM:STRENGTH>")
    full = planted(6)
    known: dict[Cell, CellScore] = {}
    play(plan, full.__getitem__, known)
    assert BASELINE not in known
    assert len(known) == 35


def test_among_equals_the_search_goes_where_least_is_known() -> None:
    """All that was drawn is alike; the middle of the grid was drawn closely, its edges were not."""
    plan = plan_of()
    known = {cell: CellScore.of([PictureScore(0.6)] * 4) for cell in coarse_cells(plan)}
    known |= {(epoch, s): CellScore.of([PictureScore(0.6)] * 4) for epoch in (5, 6) for s in (0.3, 0.4, 0.6, 0.8)}
    asked = next_cells(plan, known)
    assert len(asked) == 5
    assert all(epoch in (1, 10) or strength in (0.1, 1.0) for epoch, strength in asked), asked
