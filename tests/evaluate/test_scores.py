from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL.Image import Image, new

from lora_forge.evaluate.grid import Grid, GridPlan
from lora_forge.evaluate.scores import Asked, CellScore, Measure, PictureScore, score_grid
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
