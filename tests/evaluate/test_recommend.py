from __future__ import annotations

import math
import random

import pytest

from lora_forge.errors import ConfigError
from lora_forge.evaluate.recommend import quality, recommend
from lora_forge.evaluate.scores import CellScore, Measure


def cell(identity: float, obedience: float | None = 1.0, health: float = 1.0, count: int = 400) -> CellScore:
    """Planted means with the error that shares of ``count`` pictures have."""

    def measure(mean: float) -> Measure:
        return Measure(mean, math.sqrt(max(mean * (1 - mean), 0.01) / count), count)

    return CellScore(measure(identity), measure(health), None if obedience is None else measure(obedience))


def test_too_little_just_right_ruined() -> None:
    """Identity rises with epoch and strength; past epoch 6 the prompt is ignored, past 8 pictures are broken."""
    surface = {
        (epoch, tenth / 10): cell(
            identity=min(1.0, epoch * tenth / 60),
            obedience=1.0 if epoch <= 6 else 0.2,
            health=1.0 if epoch <= 8 else 0.1,
        )
        for epoch in range(1, 11)
        for tenth in range(1, 11)
    }
    best = recommend(surface)
    assert (best.epoch, best.strength) == (6, 1.0)
    assert best.quality == pytest.approx(1.0)
    assert best.is_usable
    assert not best.is_too_close
    assert best.sentence.text() == (
        "Keep epoch 6 at strength 1: 100 % like the subject and 100 % obedient to the prompt (400 pictures), "
        "5 points ahead of epoch 6 at strength 0.9."
    )


def test_likeness_that_ignores_the_prompt_loses_to_a_balance() -> None:
    best = recommend({(1, 1.0): cell(1.0, 0.3), (2, 1.0): cell(0.7, 0.7), (3, 1.0): cell(0.3, 1.0)})
    assert best.epoch == 2


def test_broken_pictures_can_not_win() -> None:
    best = recommend({(1, 1.0): cell(0.7, 0.9), (2, 1.0): cell(1.0, 1.0, health=0.4)})
    assert best.epoch == 1
    assert best.runner_up is None


def test_near_ties_go_to_the_earlier_epoch_then_the_lower_strength() -> None:
    surface = {(2, 0.8): cell(0.93), (2, 1.0): cell(0.935), (3, 0.5): cell(0.94), (1, 1.0): cell(0.5)}
    best = recommend(surface)
    assert (best.epoch, best.strength) == (2, 0.8)
    assert best.runner_up == (3, 0.5)


def test_few_pictures_can_not_tell_and_the_sentence_says_so() -> None:
    surface = {(1, 1.0): cell(0.80, count=8), (2, 1.0): cell(0.86, count=8), (3, 1.0): cell(0.1, count=8)}
    best = recommend(surface)
    assert best.epoch == 2
    assert best.is_too_close
    assert best.rivals == 1
    assert "too close to call between it and epoch 1 at strength 1 (gap 4 points, error" in best.sentence.text()
    assert not recommend({key: cell(score.identity.mean, count=4000) for key, score in surface.items()}).is_too_close


def test_a_prompt_that_asks_for_nothing_leaves_identity_to_decide() -> None:
    best = recommend({(1, 1.0): cell(0.6, None), (2, 1.0): cell(0.9, None)})
    assert best.epoch == 2
    assert best.quality == 0.9
    assert best.sentence.text().startswith(
        "Keep epoch 2 at strength 1: 90 % like the subject (400 pictures), 30 points ahead"
    )


def test_nothing_good_is_said_plainly() -> None:
    weak = recommend({(1, 1.0): cell(0.2, 1.0), (2, 1.0): cell(0.1, 1.0)})
    assert not weak.is_usable
    assert weak.epoch == 1
    assert weak.sentence.text().startswith("No cell is good yet: the best, epoch 1 at strength 1, is only 20 %")
    broken = recommend({(1, 1.0): cell(0.9, 1.0, health=0.1)})
    assert not broken.is_usable
    assert broken.sentence.text().startswith("No cell is fit to keep")


def test_the_baseline_is_never_recommended() -> None:
    assert recommend({(0, 0.0): cell(1.0), (1, 0.5): cell(0.6)}).epoch == 1
    with pytest.raises(ConfigError, match="no scored cell"):
        recommend({(0, 0.0): cell(1.0)})


def test_quality_is_the_harmonic_mean_with_the_delta_methods_error() -> None:
    score = CellScore(Measure(0.6, 0.05, 32), Measure(1.0, 0.0, 32), Measure(0.9, 0.03, 32))
    found = quality(score)
    assert found.mean == pytest.approx(2 * 0.6 * 0.9 / 1.5)
    rng = random.Random(1)
    drawn = [(rng.gauss(0.6, 0.05), rng.gauss(0.9, 0.03)) for _ in range(20000)]
    values = [2 * i * o / (i + o) for i, o in drawn]
    centre = sum(values) / len(values)
    spread = math.sqrt(sum((value - centre) ** 2 for value in values) / len(values))
    assert found.standard_error == pytest.approx(spread, rel=0.03)
    assert quality(cell(0.0, 0.0)).mean == 0.0
