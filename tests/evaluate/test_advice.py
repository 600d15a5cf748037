"""Advice on planted surfaces: each kind of run gets the choice that leads on, with the numbers it is reckoned from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from lora_forge.evaluate.advice import TARGET, Advice, BadPhoto, RunSettings, advise
from lora_forge.evaluate.choices import fewer_factor, more_factor, sane
from lora_forge.evaluate.course import course_of, dose
from lora_forge.evaluate.recommend import Recommendation, recommend
from lora_forge.evaluate.scores import CellScore, Measure, Surface
from lora_forge.i18n import Said

SETTINGS = RunSettings(repeats=10, epochs=10, photos=20, steps=2000, learning_rate=1e-4)
BASE = 0.1


@dataclass(frozen=True)
class Told:
    """A diagnosis as the advice needs one."""

    kind: str


def measure(mean: float, count: int = 400) -> Measure:
    return Measure(mean, math.sqrt(max(mean * (1 - mean), 0.01) / count), count)


def surface_of(
    likeness: Callable[[int], float],
    obedience: Callable[[int], float] = lambda epoch: 1.0,
    health: Callable[[int], float] = lambda epoch: 1.0,
    epochs: range = range(1, 11),
) -> Surface:
    """Full strength gives ``likeness``; less strength in proportion, and all the more obedience."""
    cells = {(0, 0.0): CellScore(measure(BASE), measure(1.0), measure(1.0))}
    for epoch in epochs:
        for tenth in (4, 7, 10):
            share = tenth / 10
            obeys = 1 - (1 - obedience(epoch)) * share
            alike = BASE + (likeness(epoch) - BASE) * share
            cells[epoch, share] = CellScore(measure(alike), measure(health(epoch)), measure(obeys))
    return cells


def advice(surface: Surface, settings: RunSettings | None = SETTINGS, kind: str = "", **more: object) -> Advice:
    told = Told(kind) if kind else None
    return advise(surface, recommend(surface), told, settings, **more)  # type: ignore[arg-type]


def advised(found: Advice) -> tuple[str, dict[str, object]]:
    assert found.advised is not None
    assert [choice.is_advised for choice in found.choices] == [True] + [False] * (len(found.choices) - 1)
    return found.advised.id, dict(found.advised.changes)


def test_what_is_reached_is_kept() -> None:
    found = advice(surface_of(lambda epoch: min(0.95, 0.1 * epoch + 0.3)))
    best = recommend(surface_of(lambda epoch: min(0.95, 0.1 * epoch + 0.3)))
    assert advised(found) == ("earlier_epoch", {"epoch": best.epoch, "strength": best.strength})
    assert found.sentence.text().startswith(f"The target is reached: epoch {best.epoch} at strength 1 has 9")


def test_what_rises_slowly_gets_more_repeats_by_its_slope() -> None:
    """0.5 at the end, and of what lacks to 1 a twentieth goes each epoch: after 20 more it is 0.8; 4 times at most."""
    found = advice(surface_of(lambda epoch: 0.25 + 0.025 * epoch))
    assert advised(found) == ("more_repeats", {"repeats": 40})
    assert found.advised is not None
    assert found.advised.label.text() == "Repeats 10 to 40"
    assert found.advised.sentence.text() == (
        "A new run, each photo 40 times an epoch instead of 10: 8000 steps instead of 2000."
    )
    assert (
        found.advised.sentence.text("zh")
        == "新开一炉，每轮每张素材看 40 次（原来 10 次），共 8000 步（原来 2000 步）。"
    )
    assert found.sentence.text().startswith(
        "Not enough was learned: the best, epoch 10 at strength 1, has 67 %; the aim is 80 %."
    )
    assert [one.text() for one in found.evidence] == [
        "Likeness at strength 1: 28 % in epoch 1, 50 % in epoch 10; without the LoRA 10 %.",
        "At the end it still rises, by 2.5 points an epoch.",
    ]


def test_what_still_rises_fast_goes_on_for_four_epochs() -> None:
    """0.74 at the end, 0.06 an epoch: a straight line would go to 0.98, with what lacks it is 0.86."""
    found = advice(surface_of(lambda epoch: 0.14 + 0.06 * epoch, lambda epoch: 0.85))
    assert advised(found) == ("more_epochs", {"epochs": 14})
    assert found.advised is not None
    assert found.advised.sentence.text() == (
        "The same run goes on from its last state, without a restart: epochs 11 to 14, 800 steps more. "
        "As it rises now, that reaches about 86 % likeness."
    )
    assert "more_repeats" in [choice.id for choice in found.choices]


def test_where_the_state_is_gone_it_is_more_repeats() -> None:
    surface = surface_of(lambda epoch: 0.14 + 0.06 * epoch, lambda epoch: 0.85)
    gone = RunSettings(repeats=10, epochs=10, photos=20, steps=2000, can_go_on=False)
    assert advised(advice(surface, gone)) == ("more_repeats", {"repeats": 17})
    assert "more_epochs" not in [choice.id for choice in advice(surface, gone).choices]


def test_at_a_falling_rate_the_added_epochs_count_by_their_own() -> None:
    """The same rise, at a rate that fell to a fifth: an epoch at the full rate teaches five times as much."""
    surface = surface_of(lambda epoch: 0.5 + 0.02 * epoch, lambda epoch: 0.85)
    assert advised(advice(surface))[0] == "more_repeats"
    rates = (1.0,) * 5 + (0.2,) * 5
    falling = RunSettings(repeats=10, epochs=10, photos=20, steps=2000, rates=rates, more_rates=(0.5,) * 4)
    assert advised(advice(surface, falling)) == ("more_epochs", {"epochs": 14})


def test_where_next_to_nothing_was_learned_it_is_six_times() -> None:
    found = advice(surface_of(lambda epoch: 0.12), RunSettings(1, 10, 20, 50))
    assert advised(found) == ("more_repeats", {"repeats": 6})
    assert found.evidence[-1].text() == "At the end it does not rise any more."


def test_too_much_gets_fewer_repeats_so_that_the_best_epoch_lies_near_the_end() -> None:
    """Best in epoch 4 of 10, and a quarter behind it: half of the repeats."""
    found = advice(surface_of(lambda epoch: min(1.0, 0.175 * epoch), lambda epoch: 0.8 if epoch < 5 else 0.3))
    assert advised(found) == ("fewer_repeats", {"repeats": 5})
    texts = [one.text() for one in found.evidence]
    assert texts[-1].startswith("Quality falls from 75 % in epoch 4 to ")
    assert found.sentence.text().startswith("Too much was learned: the best is epoch 4 at strength 1")


def test_where_the_first_epoch_is_the_best_the_last_one_comes_to_lie_there() -> None:
    found = advice(
        surface_of(lambda epoch: 0.7, lambda epoch: 0.8 if epoch == 1 else 0.2), RunSettings(100, 10, 20, 20000)
    )
    assert advised(found) == ("fewer_repeats", {"repeats": 10})


def test_pictures_that_break_are_too_much_too() -> None:
    found = advice(surface_of(lambda epoch: 0.6, health=lambda epoch: 1.0 if epoch < 4 else 0.1))
    assert found.advised is not None
    assert found.advised.id == "fewer_repeats"
    assert "From epoch 4 on no strength gives whole pictures." in [one.text() for one in found.evidence]


def test_with_one_repeat_the_rate_goes_down_instead() -> None:
    surface = surface_of(lambda epoch: 0.7, lambda epoch: 0.8 if epoch == 2 else 0.2)
    found = advice(surface, RunSettings(1, 10, 200, 2000, learning_rate=1e-4))
    assert advised(found) == ("fewer_repeats", {"learning_rate": 2.5e-5})
    assert found.advised is not None
    assert found.advised.sentence.text() == (
        "Repeats are at 1 already: a new run with a learning rate of 2.5e-05 instead of 0.0001."
    )


def test_groups_with_repeats_of_their_own_are_moved_by_epochs_and_by_the_rate() -> None:
    fixed = RunSettings(10, 10, 0, 2000, learning_rate=1e-4, own_visits=200, can_go_on=False)
    assert advised(advice(surface_of(lambda epoch: 0.25 + 0.025 * epoch), fixed)) == ("more_repeats", {"epochs": 40})
    ruined = surface_of(lambda epoch: 0.7, lambda epoch: 0.8 if epoch == 4 else 0.2)
    assert advised(advice(ruined, fixed)) == ("fewer_repeats", {"learning_rate": 5e-5})


def test_steps_count_groups_with_repeats_of_their_own_as_they_are() -> None:
    assert RunSettings(10, 10, 20, 3000, own_visits=100).steps_with(20) == 5000


def test_photos_that_the_diagnosis_blames_come_first_by_name() -> None:
    bad = (BadPhoto("photos/a.png", Said("Blurred: {count}", {"count": 1})), BadPhoto("photos/b.png", Said("Dark")))
    found = advice(surface_of(lambda epoch: 0.05 * epoch), kind="bad_photos", bad_photos=bad)
    assert found.advised is not None
    assert (found.advised.id, found.advised.photos) == ("better_photos", bad)
    assert found.advised.sentence.text() == "Look at these 2 photos, replace or remove them, and train again."
    (one,) = [choice for choice in advice(surface_of(lambda epoch: 0.5), bad_photos=bad[:1]).choices if choice.photos]
    assert one.sentence.text() == "Look at this photo, replace or remove it, and train again."


def test_copying_gets_fewer_repeats_where_the_best_came_early_else_other_photos() -> None:
    late = surface_of(lambda epoch: 0.07 * epoch, lambda epoch: 0.8)
    assert advised(advice(late, kind="copying")) == ("better_photos", {})
    early = surface_of(lambda epoch: 0.75, lambda epoch: 0.75 if epoch == 3 else 0.4)
    assert advised(advice(early, kind="copying"))[0] == "fewer_repeats"


def test_alike_but_not_obedient_wants_other_photos() -> None:
    found = advice(surface_of(lambda epoch: 0.75 + 0.015 * epoch, lambda epoch: 0.4))
    assert advised(found) == ("better_photos", {})
    assert found.sentence.text().startswith("It is like the subject (90 %), but does not let go of the photos: ")


def test_a_lora_of_no_known_run_gets_what_needs_none() -> None:
    found = advice(surface_of(lambda epoch: 0.06 * epoch), None)
    assert {choice.id for choice in found.choices} == {"better_photos", "earlier_epoch"}


def test_what_was_not_measured_gives_no_advice() -> None:
    surface = {cell: CellScore(None, measure(1.0), measure(0.6)) for cell in [(1, 1.0), (2, 1.0)]}
    kept = Recommendation(2, 1.0, 0.6, Said("x"))
    found = advise(surface, kept, Told("unknown"), SETTINGS)
    assert found.advised is None
    assert found.sentence.text().startswith("How alike it is could not be told")


def test_every_sentence_has_both_languages() -> None:
    for found in (
        advice(surface_of(lambda epoch: 0.25 + 0.025 * epoch)),
        advice(surface_of(lambda epoch: 0.7, lambda epoch: 0.8 if epoch == 4 else 0.2)),
        advice(surface_of(lambda epoch: 0.9)),
    ):
        texts = [
            found.sentence,
            *found.evidence,
            *(text for one in found.choices for text in (one.label, one.sentence)),
        ]
        for text in texts:
            assert text.text("zh") != text.text("en")
            assert "{" not in text.text("zh") + text.text("en")


def test_a_course_is_read_at_the_strength_that_most_epochs_have() -> None:
    """A smart grid leaves cells out; above 1 nobody reads a likeness."""
    cell = CellScore(measure(0.5), measure(1.0))
    surface = {(1, 0.4): cell, (4, 0.4): cell, (7, 0.4): cell, (4, 1.0): cell, (7, 1.0): cell, (10, 1.2): cell}
    assert course_of(surface).strength == 0.4
    assert [point.epoch for point in course_of(surface).likeness] == [1, 4, 7]


def test_noise_is_no_rise() -> None:
    wobbly = {(e, 1.0): CellScore(measure(0.5 + 0.02 * (e % 2), 8), measure(1.0)) for e in range(1, 11)}
    assert course_of(wobbly).slope == 0.0
    rising = {(e, 1.0): CellScore(measure(0.03 * e), measure(1.0)) for e in range(1, 11)}
    assert course_of(rising).slope == pytest.approx(0.03)


@pytest.mark.parametrize(("value", "whole"), [(0.6, 1), (2.5, 3), (29.4, 29), (31.0, 30), (33.0, 35), (250.0, 250)])
def test_numbers_are_such_as_a_person_would_set(value: float, whole: int) -> None:
    assert sane(value) == whole


def test_factors_stay_within_their_bounds() -> None:
    low = course_of({(e, 1.0): CellScore(measure(0.2 + 0.001 * e), measure(1.0)) for e in range(1, 11)})
    near = course_of({(e, 1.0): CellScore(measure(0.08 * e), measure(1.0)) for e in range(1, 11)})
    assert (more_factor(low), more_factor(near)) == (4.0, 1.5)
    assert fewer_factor(near, 1) == 0.1
    assert fewer_factor(near, 8) == pytest.approx(1.0)
    assert dose(3, (1.0, 0.5)) == 2.0
    assert TARGET == 0.8
