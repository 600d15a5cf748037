from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL.Image import Image, new

from lora_forge.evaluate.grid import Grid, GridPlan
from lora_forge.evaluate.scores import (
    SCORE_NAMES,
    SCORES,
    Asked,
    CellScore,
    Measure,
    PictureScore,
    base_chances,
    judge_cell,
    score_grid,
    surface_of,
)
from lora_forge.events import Event, Progress


def test_measure_by_hand() -> None:
    """Values 1, 1, 0 and half a picture each of 0 and 1: their middle is 2.5/4."""
    squares = 2 * 0.375**2 + 0.625**2 + 0.5 * 0.625**2 + 0.5 * 0.375**2
    measure = Measure.of([1.0, 1.0, 0.0])
    assert measure.mean == pytest.approx(2 / 3)
    assert measure.standard_error == pytest.approx(math.sqrt(squares / 4 / 3))
    assert measure.count == 3


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.floats(0, 1), min_size=1, max_size=64))
def test_the_error_is_never_nothing_and_never_wild(values: list[float]) -> None:
    measure = Measure.of(values)
    assert min(values) - 1e-9 <= measure.mean <= max(values) + 1e-9
    assert 0 < measure.standard_error <= 0.5 / math.sqrt(len(values)) + 1e-9


def test_the_error_is_that_of_repeated_samples() -> None:
    rng = random.Random(0)
    samples = [Measure.of([float(rng.random() < 0.7) for _ in range(32)]) for _ in range(800)]
    centre = sum(sample.mean for sample in samples) / len(samples)
    spread = math.sqrt(sum((sample.mean - centre) ** 2 for sample in samples) / len(samples))
    told = sum(sample.standard_error for sample in samples) / len(samples)
    assert told == pytest.approx(spread, rel=0.1)


def test_means_leave_out_what_can_not_be_told() -> None:
    cell = CellScore.of([PictureScore(1.0, obedience=0.5), PictureScore(0.0, health=0.5)])
    assert cell.identity is not None
    assert cell.identity.mean == 0.5
    assert cell.health.mean == 0.75
    assert cell.obedience is not None
    assert (cell.obedience.mean, cell.obedience.count) == (0.5, 1)
    assert cell.own_traits is None
    with pytest.raises(ValueError, match="no pictures"):
        CellScore.of([])


class RedJudge:
    """Identity is how red a picture is; keeps the prompts it is given."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def score(self, images: Sequence[Image], asked: Asked) -> list[PictureScore]:
        self.prompts.append(asked.prompt)
        return [PictureScore(image.getpixel((0, 0))[0] / 255) for image in images]  # type: ignore[index]


def test_every_picture_of_every_cell_is_scored_on_the_words_alone() -> None:
    plan = GridPlan(
        "ohwx, snow <lora:toy-NUM:STRENGTH>", epochs=(1,), strengths=(0.0, 1.0), seeds=(0, 1), width=64, height=64
    )
    black, red = new("RGB", (64, 64)), new("RGB", (64, 64), (255, 0, 0))
    judge, events = RedJudge(), list[Event]()
    surface = score_grid(Grid(plan, {(0, 0.0): [black, black], (1, 1.0): [black, red]}), judge, events.append)
    assert {cell: score.identity.mean for cell, score in surface.items() if score.identity} == {
        (0, 0.0): 0.0,
        (1, 1.0): 0.5,
    }
    assert judge.prompts == ["ohwx, snow"] * 2
    assert [e.done for e in events if isinstance(e, Progress)] == [1, 2]


SWAP_PLAN = GridPlan("x <lora:a-NUM:STRENGTH>", epochs=(1,), strengths=(0.0, 1.0), width=64, height=64)


def obedience(baseline: list[dict[str, float]], cell: list[dict[str, float]]) -> float | None:
    scores = {(0, 0.0): [PictureScore(None, shown=one) for one in baseline]} if baseline else {}
    surface = surface_of(SWAP_PLAN, {**scores, (1, 1.0): [PictureScore(None, shown=one) for one in cell]})
    told = surface[1, 1.0].obedience
    return None if told is None else told.mean


def test_swaps_count_beside_what_the_base_shows_of_them() -> None:
    base = [{"snow": 0.9, "red dress": 0.7}, {"snow": 0.7, "red dress": 0.9}]  # both 0.8 in the mean
    assert obedience(base, base) == pytest.approx((1 + 0.875 + 0.875 + 1) / 4)
    assert obedience(base, [{"snow": 0.4, "red dress": 1.0}]) == pytest.approx((0.5 + 1.0) / 2)
    assert obedience(base, [{"snow": 0.0, "red dress": 0.0}]) == 0.0
    assert obedience(base, [{}]) is None  # a picture that was asked for nothing


def test_what_the_base_can_not_show_says_nothing() -> None:
    base = [{"snow": 0.49, "hat": 1.0}]
    assert obedience(base, [{"snow": 0.0, "hat": 0.5}]) == 0.5
    assert obedience([{"snow": 0.49}], [{"snow": 1.0}]) is None
    assert obedience([{"hat": 1.0}], [{"snow": 1.0}]) is None
    assert obedience([{"snow": 0.5}], [{"snow": 1.0}]) == 1.0


def test_without_a_baseline_the_chances_count_as_they_are() -> None:
    assert obedience([], [{"snow": 0.25}, {"snow": 0.75}]) == 0.5
    assert base_chances([]) is None


def test_an_obedience_that_the_judge_tells_itself_stays() -> None:
    scores = {(0, 0.0): [PictureScore(0.5)], (1, 1.0): [PictureScore(0.5, obedience=0.3, shown={"snow": 1.0})]}
    told = surface_of(SWAP_PLAN, scores)[1, 1.0].obedience
    assert told is not None
    assert told.mean == 0.3


def test_cells_without_pictures_are_left_out() -> None:
    assert list(surface_of(SWAP_PLAN, {(0, 0.0): [PictureScore(0.5)], (1, 1.0): []})) == [(0, 0.0)]


def test_measures_by_name_leave_out_what_could_not_be_told() -> None:
    cell = CellScore.of([PictureScore(None, 0.8, copying=0.1)])
    assert {name: measure.mean for name, measure in cell.measures().items()} == {"copying": 0.1, "health": 0.8}
    assert cell.measure("identity") is None


def test_each_picture_is_judged_on_what_it_was_asked_for() -> None:
    judge = RedJudge()
    plain, swapped = Asked("ohwx"), Asked("ohwx, snow", ("snow",))
    red = [new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 51, 102, 255)]
    told = judge_cell(judge, red, [plain, plain, swapped, swapped])
    assert [score.identity for score in told] == pytest.approx([0.0, 0.2, 0.4, 1.0])
    assert judge.prompts == ["ohwx", "ohwx, snow"]
    with pytest.raises(ValueError, match="argument"):
        judge_cell(judge, red, [plain])


def test_every_score_has_its_facts() -> None:
    assert tuple(SCORES) == SCORE_NAMES == ("identity", "obedience", "copying", "health")
    for facts in SCORES.values():
        assert facts.unit == "%"
        assert facts.range == (0.0, 100.0)
        assert "\u4e00" <= facts.sentence.text("zh")[0] <= "\u9fff"
    assert [name for name, facts in SCORES.items() if not facts.is_better_high] == ["copying"]


@given(st.one_of(st.none(), st.floats(0, 1)), st.floats(0, 1), st.dictionaries(st.text(), st.floats(0, 1)))
def test_scores_are_kept_as_plain_values(identity: float | None, health: float, shown: dict[str, float]) -> None:
    score = PictureScore(identity, health, 0.5, None, 0.25, shown)
    assert PictureScore.from_dict(json.loads(json.dumps(score.to_dict()))) == score
