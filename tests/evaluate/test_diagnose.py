from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from lora_forge.evaluate.diagnose import Diagnosis, diagnose
from lora_forge.evaluate.recommend import recommend
from lora_forge.evaluate.scores import BASELINE, Cell, CellScore, Measure, Surface
from tests.evaluate.planted import drawn, plant, surface


@dataclass(frozen=True)
class Photos:
    count: int = 24
    leave_one_out: float | None = 0.8
    outliers: tuple[str, ...] = ()


def cell(
    identity: float | None, obedience: float | None = 1.0, copying: float | None = 0.0, health: float = 1.0
) -> CellScore:
    told = [None if mean is None else Measure(mean, 0.01, 100) for mean in (identity, obedience, copying)]
    return CellScore(told[0], Measure(health, 0.01, 100), told[1], copying=told[2])


def grid(**scores: object) -> dict[Cell, CellScore]:
    """5 x 5; a score is a number, or a function of the dose (0 to 1)."""
    found = {}
    for epoch in range(1, 6):
        for strength in (0.2, 0.4, 0.6, 0.8, 1.0):
            dose = epoch / 5 * strength
            found[epoch, strength] = cell(**{name: one(dose) if callable(one) else one for name, one in scores.items()})  # type: ignore[arg-type]
    return found


def told(scores: Surface, *args: object) -> Diagnosis:
    return diagnose(scores, recommend(scores), *args)  # type: ignore[arg-type]


def said(found: Diagnosis, language: str = "en") -> str:
    return "\n".join(one.text(language) for one in found.evidence)


def rising(dose: float) -> float:
    return min(0.95, 1.3 * dose)


def test_a_good_run_with_its_numbers() -> None:
    scores = {BASELINE: cell(0.1), **grid(identity=rising, obedience=0.9)}
    found = told(scores, Photos(outliers=("group/a.png",)))
    assert found.kind == "good"
    assert found.is_usable
    assert found.sentence.text() == "The run is good: epoch 5 at strength 1 is alike and does as it is told."
    assert "Likeness of epoch 5 at strength 1: 95 %; without the LoRA 10 %" in said(found)
    assert "Over the epochs the likeness at strengths from 0.6 goes from 21 % to" in said(found)
    assert "In the last epochs it still rises, by" in said(found)
    assert "Obedience of epoch 5 at strength 1: 90 %" in said(found)
    assert "1 of 24 photos are unlike the others: group/a.png." in said(found)
    assert found.figures["identity"] == pytest.approx(0.95, abs=0.02)
    assert found.figures["base"] == pytest.approx(0.1)
    assert (found.figures["epoch"], found.figures["strength"]) == (5, 1.0)
    assert found.figures["spoiled"] == 0
    assert found.figures["outliers"] == 1
    assert found.figures["slope"] > 0.05


def test_not_alike_enough() -> None:
    found = told(grid(identity=lambda dose: 0.1 + 0.2 * dose))
    assert found.kind == "underfit"
    assert not found.is_usable
    assert found.figures["peak"] == pytest.approx(0.3, abs=0.02)


def test_copying_is_told_from_a_likeness_of_its_own() -> None:
    found = told(grid(identity=rising, copying=lambda dose: min(1.0, 1.5 * dose)))
    assert found.kind == "copying"
    assert "cells that are alike" in said(found)
    assert "are more a photo than a picture of their own" in said(found)
    assert found.figures["copied"] > 0.4


def test_alike_or_obedient_but_never_both_is_mixed() -> None:
    found = told(grid(identity=rising, obedience=lambda dose: max(0.0, 1 - 2.5 * dose)))
    assert found.kind == "mixed"
    assert "show less than half of what was asked for" in said(found)


def test_trained_too_far_with_one_good_epoch_before_it() -> None:
    scores = {one: cell(0.2, 0.2) if one[0] >= 3 else cell(0.9 * one[1]) for one in grid(identity=0.5)}
    found = told(scores)
    assert found.kind == "ruined"
    assert found.is_usable
    assert found.figures["spoiled_from"] == 3
    assert found.sentence.text().endswith("What can be used all the same: epoch 1 at strength 1.")
    assert "9 of 15 cells at strengths from 0.6 are broken, or less alike than earlier epochs were." in said(found)
    assert "From epoch 3 on most cells are spoiled." in said(found)


def test_broken_pictures_are_ruin_though_nothing_can_be_told_of_likeness_in_them() -> None:
    scores = {one: cell(0.5, health=0.0 if one[1] >= 0.6 else 1.0) for one in grid(identity=0.5)}
    found = told(scores)
    assert found.kind == "ruined"


def test_bad_photos_come_first_when_the_run_is_not_good_and_are_named() -> None:
    weak, good = grid(identity=lambda dose: 0.4 * dose), grid(identity=rising)
    strangers = tuple(f"group/{number}.png" for number in range(7))
    for photos, blurred in (
        (Photos(leave_one_out=0.3), ()),
        (Photos(outliers=strangers), ()),
        (Photos(), strangers),
    ):
        assert told(weak, photos, blurred).kind == "bad_photos"
        assert told(good, photos, blurred).kind == "good"
    assert told(weak, Photos(outliers=strangers[:3])).kind == "underfit"
    assert told(weak, Photos(count=0, leave_one_out=None)).kind == "underfit"
    found = told(weak, Photos(leave_one_out=0.3, outliers=strangers))
    assert found.evidence[0].text() == "The photos are 30 % alike to each other."
    assert found.evidence[1].text().startswith("7 of 24 photos are unlike the others: group/0.png, group/1.png")
    assert found.sentence.text("zh") == "素材有问题：先把素材整理好，再重新炼。"
    assert told(weak, Photos(), strangers).figures["blurred"] == 7


def test_without_a_likeness_nothing_is_called_good_or_bad() -> None:
    found = told(grid(identity=None), Photos(leave_one_out=0.1))
    assert found.kind == "unknown"
    assert "identity" not in found.figures
    assert "Likeness" not in said(found)


def test_what_could_not_be_measured_is_said_and_not_counted() -> None:
    found = told(grid(identity=rising, obedience=None, copying=None))
    assert found.kind == "good"
    assert "Whether it does as it is told could not be measured." in said(found)
    assert not {"obedience", "copying"} & set(found.figures)


def test_one_cell_is_enough_to_say_something() -> None:
    assert told({(3, 1.0): cell(0.9)}).kind == "good"
    assert told({(3, 1.0): cell(0.2)}).kind == "underfit"
    assert told({(3, 1.0): cell(0.9, copying=0.9)}).kind == "copying"
    assert told({(3, 1.0): cell(0.9, 0.1)}).kind == "mixed"


def test_every_sentence_is_said_in_chinese_too() -> None:
    for kind in ("under", "copy", "mixed", "hot", "plateau"):
        scores = surface(drawn(plant(0, kind), 2, 0))
        found = told(scores, Photos(outliers=("a",)), ("b",))
        for one in (found.sentence, *found.evidence):
            assert not any(letter.isascii() and letter.isalpha() for letter in one.text("zh").replace("LoRA", "")[:-3])


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("size", [10, 5])
@pytest.mark.parametrize(
    ("family", "kind"),
    [("plateau", "good"), ("under", "underfit"), ("copy", "copying"), ("hot", "ruined"), ("mixed", "mixed")],
)
def test_planted_runs_are_told_apart(family: str, kind: str, size: int) -> None:
    plants = [plant(seed, family, size, size) for seed in range(10)]
    found = Counter(told(surface(drawn(one, 2, seed))).kind for seed, one in enumerate(plants))
    assert found[kind] >= 9, found  # type: ignore[index]
