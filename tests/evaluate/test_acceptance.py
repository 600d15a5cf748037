"""The verdict's rule on planted pictures: every tick, every edge of every share, and what can't be told."""

from __future__ import annotations

from typing import Any

import pytest

from lora_forge.evaluate.acceptance import Ask, Ticks, needs_base, ticks_of, verdict_of
from lora_forge.evaluate.scores import PictureScore


def score(identity: float | None = 0.9, **more: Any) -> PictureScore:
    return PictureScore(identity, **more)


def album(
    alike: int = 9, obeyed: int = 9, told: int = 9, asked: int = 9, broken: int = 0, copied: int = 0
) -> list[Ticks]:
    """Nine pictures that ask for one thing each; the first ones are alike, obey, are broken or copied."""
    return [
        Ticks(
            identity=(0.9 if number < alike else 0.2) if number < told else None,
            is_alike=number < alike if number < told else None,
            asks=(Ask("snow", 0.9, None, (number < obeyed) if number < asked else None),),
            is_broken=number < broken,
            is_copied=broken <= number < broken + copied,
        )
        for number in range(9)
    ]


# ------------------------------------------------------------------ ticks


@pytest.mark.parametrize(("identity", "is_alike"), [(0.7, True), (0.699, False), (1.0, True), (None, None)])
def test_alike_from_seven_tenths(identity: float | None, is_alike: bool | None) -> None:
    assert ticks_of(score(identity), ()).is_alike is is_alike


@pytest.mark.parametrize(
    ("chance", "base", "is_ok"),
    [
        (0.5, None, True),
        (0.9, 0.1, True),  # there, although the checkpoint alone does not draw it
        (0.49, None, None),  # not there, and nobody knows yet whether it could be
        (0.0, 0.49, None),  # the checkpoint can't draw it
        (0.45, 0.9, True),  # half of what the checkpoint has
        (0.44, 0.9, False),
        (0.0, 0.5, False),
    ],
)
def test_what_is_asked_for(chance: float, base: float | None, is_ok: bool | None) -> None:
    without = None if base is None else score(shown={"snow": base})
    (ask,) = ticks_of(score(shown={"snow": chance}), ("snow",), without).asks
    assert (ask.chance, ask.base, ask.is_ok) == (chance, base, is_ok)


def test_a_tag_that_nobody_can_tell_gets_no_tick() -> None:
    picture = ticks_of(score(shown={"snow": 0.9}), ("snow", "hanfu"), score(shown={"snow": 1.0}))
    assert [ask.is_ok for ask in picture.asks] == [True, None]
    assert picture.is_ok is True


def test_what_the_subject_excludes_is_not_held_against_it() -> None:
    base = score(shown={"white hair": 1.0})
    picture = ticks_of(score(shown={"white hair": 0.0}), ("white hair",), base, is_excluded=True)
    assert picture.asks[0].is_ok is None
    assert ticks_of(score(shown={"white hair": 0.8}), ("white hair",), base, is_excluded=True).asks[0].is_ok is True


def test_the_picture_without_the_lora_is_drawn_only_where_it_settles_something() -> None:
    assert needs_base(score(shown={"snow": 0.4, "hat": 0.9}), ("hat", "snow"))
    assert not needs_base(score(shown={"snow": 0.5}), ("snow",))
    assert not needs_base(score(), ("snow",))  # nobody can tell: another picture tells no more
    assert not needs_base(score(shown={"snow": 0.1}), ())


@pytest.mark.parametrize(("more", "is_ok"), [({"health": 0.5}, True), ({"health": 0.49}, False)])
def test_broken_below_half(more: dict[str, float], is_ok: bool) -> None:
    assert ticks_of(score(**more), ()).is_ok is is_ok


@pytest.mark.parametrize(("copying", "is_copied"), [(None, False), (0.49, False), (0.5, True)])
def test_a_photo_again_from_half(copying: float | None, is_copied: bool) -> None:
    assert ticks_of(score(copying=copying), ()).is_copied is is_copied


def test_a_picture_of_which_nothing_is_known_is_neither() -> None:
    assert ticks_of(score(None), ("snow",)).is_ok is None


# ------------------------------------------------------------------ the verdict


def told(pictures: list[Ticks], language: str = "en") -> tuple[bool | None, str]:
    verdict = verdict_of(pictures)
    return verdict.is_pass, verdict.sentence.text(language)


def test_pass_with_its_numbers() -> None:
    assert told(album(alike=8, obeyed=7)) == (
        True,
        "Pass: 8 of 9 pictures are alike enough; 7 of 9 things asked for are there.",
    )
    assert told(album(), "zh") == (True, "通过：9 张里有 9 张够像；要求的 9 样画出了 9 样。")


@pytest.mark.parametrize(("count", "is_pass"), [(9, True), (7, True), (6, False), (0, False)])
def test_three_quarters_are_needed_of_both(count: int, is_pass: bool) -> None:
    assert told(album(alike=count))[0] is is_pass
    assert told(album(obeyed=count))[0] is is_pass


def test_not_alike_is_said_with_what_is_needed_and_what_to_try() -> None:
    verdict = verdict_of(album(alike=4))
    assert verdict.sentence.text() == (
        "Not yet: 4 of 9 pictures are alike enough, and 7 are needed; 9 of 9 things asked for are there."
    )
    assert str(verdict.advice) == "A later epoch or a higher strength brings likeness."


def test_disobedient_asks_for_less_and_both_for_something_else() -> None:
    assert str(verdict_of(album(obeyed=2)).advice) == "An earlier epoch or a lower strength obeys the prompt better."
    assert "mends both" in str(verdict_of(album(alike=2, obeyed=2)).advice)
    assert verdict_of(album()).advice is None


@pytest.mark.parametrize(("broken", "copied", "is_pass"), [(1, 0, True), (0, 1, True), (1, 1, False), (2, 0, False)])
def test_one_in_nine_may_be_spoilt(broken: int, copied: int, is_pass: bool) -> None:
    found = told(album(broken=broken, copied=copied))
    assert found[0] is is_pass
    assert ("are broken" in found[1]) is bool(broken)
    assert ("a photo of the set again" in found[1]) is bool(copied)


def test_a_missing_judge_is_no_pass_and_is_named() -> None:
    assert told(album(told=0)) == (
        None,
        "Can't be told: nothing here can judge likeness; 9 of 9 things asked for are there.",
    )
    assert told(album(asked=0))[1] == (
        "Can't be told: 9 of 9 pictures are alike enough; nothing here can judge whether the prompt is obeyed."
    )
    assert told(album(told=0, asked=0))[0] is None


def test_what_fails_by_what_could_be_told_has_not_passed() -> None:
    assert told(album(alike=1, asked=0))[0] is False
    assert told(album(obeyed=1, told=0))[0] is False


def test_too_few_are_said_as_such() -> None:
    assert told(album()[:2]) == (
        None,
        "Can't be told: likeness takes 3 pictures at the least, not 2; "
        "obedience takes 3 things asked for at the least, not 2.",
    )
    assert told(album()[:3])[0] is True


def test_no_pictures_are_no_verdict() -> None:
    assert verdict_of([]).is_pass is None
