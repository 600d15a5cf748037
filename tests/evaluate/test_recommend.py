from __future__ import annotations

import math
import random

import pytest

from lora_forge.errors import ConfigError
from lora_forge.evaluate.quality import FREE_COPYING, read
from lora_forge.evaluate.recommend import quality, recommend
from lora_forge.evaluate.scores import CellScore, Measure
from lora_forge.i18n import Said, word


def measure(mean: float, count: int = 400) -> Measure:
    """A planted mean with the error that a share of ``count`` pictures has."""
    return Measure(mean, math.sqrt(max(mean * (1 - mean), 0.01) / count), count)


def cell(
    identity: float | None,
    obedience: float | None = 1.0,
    health: float = 1.0,
    count: int = 400,
    copying: float | None = 0.0,
) -> CellScore:
    told = [None if mean is None else measure(mean, count) for mean in (identity, obedience, copying)]
    return CellScore(told[0], measure(health, count), told[1], copying=told[2])


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
    assert best.quality == pytest.approx(1.0, abs=0.02)
    assert best.is_usable
    assert not best.is_too_close
    assert best.runner_up == (5, 1.0)
    assert best.missing == ()
    assert best.sentence.text() == (
        "Keep epoch 6 at strength 1: 100 % like the subject, 100 % obedient to the prompt (400 pictures), "
        "8 points ahead of epoch 5 at strength 1."
    )
    assert best.sentence.text("zh") == (
        "建议保留第 6 轮、强度 1：相似度 100 %、提示词符合度 100 %（400 张图），比第 5 轮、强度 1高 8 分。"
    )


def test_likeness_that_ignores_the_prompt_loses_to_a_balance() -> None:
    best = recommend({(1, 1.0): cell(1.0, 0.3), (2, 1.0): cell(0.7, 0.7), (3, 1.0): cell(0.3, 1.0)})
    assert best.epoch == 2


def test_broken_pictures_can_not_win() -> None:
    best = recommend({(1, 1.0): cell(0.7, 0.9), (2, 1.0): cell(1.0, 1.0, health=0.4)})
    assert best.epoch == 1
    assert best.runner_up is None


def test_a_copy_of_a_photo_can_not_win_and_the_sentence_says_how_much_is_copied() -> None:
    best = recommend({(1, 1.0): cell(0.7, 0.9, copying=0.1), (2, 1.0): cell(1.0, 1.0, copying=0.9)})
    assert best.epoch == 1
    assert "copied" not in best.sentence.text()
    copied = recommend({(2, 1.0): cell(1.0, 1.0, copying=0.4)})
    assert copied.quality == pytest.approx(1 - (0.4 - FREE_COPYING) / (1 - FREE_COPYING))
    assert "40 % copied from a photo (400 pictures)" in copied.sentence.text()


def test_where_all_are_as_good_the_middle_is_taken() -> None:
    """A little more or less strength then does no harm."""
    surface = {(epoch, tenth / 10): cell(0.9) for epoch in range(1, 10) for tenth in range(2, 11)}
    best = recommend(surface)
    assert (best.epoch, best.strength) == (5, 0.6)
    assert best.is_too_close
    assert best.rivals == 80
    assert "too close to call between epochs 1, 2, 3, 4, 5, 6, 7, 8 and 9" in best.sentence.text()


def test_a_cell_that_is_known_to_be_better_is_not_given_up_for_the_middle() -> None:
    surface = {(epoch, 1.0): cell(0.9 + 0.01 * epoch, count=100_000) for epoch in range(1, 10)}
    assert recommend(surface).epoch == 9


def test_one_lucky_picture_decides_nothing() -> None:
    """Around it all is poor; a whole corner is good, no cell of it as good as the lucky one."""
    surface = {
        (epoch, tenth / 10): cell(0.85 if epoch >= 7 and tenth >= 7 else 0.3, count=1)
        for epoch in range(1, 11)
        for tenth in range(1, 11)
    }
    surface[2, 0.3] = cell(0.9, count=1)
    best = recommend(surface)
    assert best.epoch >= 7
    assert best.strength >= 0.7


def test_few_pictures_can_not_tell_and_the_sentence_says_so() -> None:
    surface = {(1, 1.0): cell(0.80, count=8), (2, 1.0): cell(0.86, count=8), (3, 1.0): cell(0.1, count=8)}
    best = recommend(surface)
    assert best.is_too_close
    assert best.rivals == 1
    assert "too close to call between epochs 1 and 2 (gap 4 points, error" in best.sentence.text()
    many = recommend({(1, 1.0): cell(0.80, count=4000), (2, 1.0): cell(0.86, count=4000), (3, 1.0): cell(0.1)})
    assert many.epoch == 2
    assert not many.is_too_close


def test_strengths_of_one_epoch_are_told_apart_where_there_is_no_other() -> None:
    best = recommend({(4, 0.8): cell(0.80, count=8), (4, 1.0): cell(0.81, count=8)})
    assert best.runner_up is not None
    assert "too close to call between it and epoch 4 at strength" in best.sentence.text()


def test_a_prompt_that_asks_for_nothing_leaves_identity_to_decide_and_it_is_said() -> None:
    best = recommend({(1, 1.0): cell(0.6, None), (2, 1.0): cell(0.9, None)})
    assert best.epoch == 2
    assert best.quality == 0.9
    assert best.missing == ("obedience",)
    assert best.sentence.text() == (
        "Keep epoch 2 at strength 1: 90 % like the subject (400 pictures), 30 points ahead of epoch 1 at strength 1. "
        "Obedience could not be told."
    )


def test_why_a_score_could_not_be_told_is_said_behind_it() -> None:
    why = {"obedience": Said(word("There is no tagger here.")), "identity": Said(word("not asked for"))}
    best = recommend({(1, 1.0): cell(0.6, None, copying=None)}, why)
    assert best.missing == ("obedience", "copying")
    end = "Obedience could not be told. There is no tagger here. Copying could not be told."
    assert best.sentence.text().endswith(end)


def test_without_a_likeness_no_cell_is_called_good() -> None:
    """Obedience alone is highest where the LoRA does least: the furthest cell that still obeys is named instead."""
    surface = {
        (epoch, strength): cell(None, 1.0 if epoch * strength <= 4 else 0.2)
        for epoch in range(1, 9)
        for strength in (0.25, 0.5, 0.75, 1.0)
    }
    best = recommend(surface)
    assert best.epoch * best.strength == 4
    assert not best.is_usable
    assert best.missing == ("identity",)
    assert best.sentence.text() == (
        "Likeness could not be told. The furthest that still holds up is epoch 8 at strength 0.5: 100 % obedient to "
        "the prompt (400 pictures). Whether it is alike is for your own eyes."
    )


def test_cells_whose_likeness_could_not_be_told_are_not_recommended() -> None:
    best = recommend({(1, 1.0): cell(0.5), (2, 1.0): cell(None), (3, 1.0): cell(0.6)})
    assert best.epoch == 3
    assert best.runner_up == (1, 1.0)


def test_nothing_good_is_said_plainly() -> None:
    weak = recommend({(1, 1.0): cell(0.2, 1.0), (2, 1.0): cell(0.1, 1.0)})
    assert not weak.is_usable
    assert weak.epoch == 1
    assert weak.sentence.text().startswith("No cell is good yet: the best, epoch 1 at strength 1, is only 20 %")
    broken = recommend({(1, 1.0): cell(0.9, 1.0, health=0.1)})
    assert not broken.is_usable
    assert broken.sentence.text().startswith("No cell is fit to keep")
    assert "10 % clean pictures" in broken.sentence.text()


def test_the_baseline_is_never_recommended() -> None:
    assert recommend({(0, 0.0): cell(1.0), (1, 0.5): cell(0.6)}).epoch == 1
    with pytest.raises(ConfigError, match="no scored cell"):
        recommend({(0, 0.0): cell(1.0)})


def test_the_order_of_the_cells_changes_nothing() -> None:
    rng = random.Random(5)
    cells = [
        ((epoch, tenth / 10), cell(rng.random(), rng.random(), count=2))
        for epoch in (1, 2, 3, 5)
        for tenth in (4, 7, 10)
    ]
    found = recommend(dict(cells))
    rng.shuffle(cells)
    assert recommend(dict(cells)) == found


def test_quality_is_the_harmonic_mean_with_the_delta_methods_error() -> None:
    score = CellScore(
        Measure(0.6, 0.05, 32), Measure(0.8, 0.04, 32), Measure(0.9, 0.03, 32), copying=Measure(0.5, 0.06, 32)
    )
    found = quality(score)
    assert found is not None
    own = 1 - (0.5 - FREE_COPYING) / (1 - FREE_COPYING)
    assert found.mean == pytest.approx(2 * 0.6 * 0.9 / 1.5 * 0.8 * own)
    rng = random.Random(1)
    values = []
    for _ in range(20000):
        i, o, h, c = (rng.gauss(mean, error) for mean, error in ((0.6, 0.05), (0.9, 0.03), (0.8, 0.04), (0.5, 0.06)))
        values.append(2 * i * o / (i + o) * h * (1 - (c - FREE_COPYING) / (1 - FREE_COPYING)))
    centre = sum(values) / len(values)
    spread = math.sqrt(sum((value - centre) ** 2 for value in values) / len(values))
    assert found.standard_error == pytest.approx(spread, rel=0.03)
    nothing = quality(cell(0.0, 0.0))
    assert nothing is not None
    assert nothing.mean == 0.0
    assert nothing.standard_error > 0
    assert quality(cell(None)) is None


def test_neighbours_are_known_better_against_each_other_than_alone() -> None:
    rng = random.Random(3)
    surface = {
        (epoch, tenth / 10): cell(min(1.0, max(0.0, epoch * tenth / 100 + rng.gauss(0, 0.05))), None, count=1)
        for epoch in range(1, 11)
        for tenth in range(1, 11)
    }
    reading = read(surface)
    place = reading.cells.index((5, 0.5))
    assert reading.gap_error((5, 0.5), (5, 0.6)) < math.sqrt(reading.covariance[place, place])
    assert reading.gap_error((5, 0.5), (5, 0.5)) == pytest.approx(0.0, abs=1e-6)
