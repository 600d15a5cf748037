"""From scores to captions, by planted cases."""

from __future__ import annotations

import pytest

from lora_forge.dataset.captions import split_tags
from lora_forge.dataset.taggers import Label, Mode, PickOptions, Scored, TaggerError, merge, pick
from lora_forge.dataset.taggers.overlaps import WEAKER, without_overlaps
from lora_forge.dataset.taggers.picking import mcut, sentence_tags

SCORES = [
    Scored(Label("explicit", "rating"), 0.99),
    Scored(Label("1girl"), 0.98),
    Scored(Label("long_hair"), 0.9),
    Scored(Label("hatsune_miku", "character"), 0.9),
    Scored(Label("very_long_hair"), 0.6),
    Scored(Label("white_shirt"), 0.5),
    Scored(Label("shirt"), 0.55),
    Scored(Label("^_^"), 0.36),
    Scored(Label("smile"), 0.35),
    Scored(Label("rem_(re:zero)", "character"), 0.5),
    Scored(Label("vocaloid", "copyright"), 0.9),
]


def tags(**options: object) -> list[str]:
    return pick(SCORES, PickOptions(**options))  # type: ignore[arg-type]


def test_characters_first_then_by_score_no_rating_above_the_threshold_alone() -> None:
    assert tags() == ["hatsune miku", "1girl", "very long hair", "white shirt", "^_^"]


def test_each_option_alone() -> None:
    everything = ["hatsune miku", "1girl", "long hair", "very long hair", "shirt", "white shirt", "^_^"]
    assert tags(drop_overlaps=False) == everything
    assert tags(drop_overlaps=False, general=0.55) == everything[:4]
    assert tags(drop_overlaps=False, character=0.4)[:2] == ["hatsune miku", "rem (re:zero)"]
    assert tags(character_tags=False) == ["1girl", "very long hair", "white shirt", "^_^"]
    assert tags(underscores=True) == ["hatsune_miku", "1girl", "very_long_hair", "white_shirt", "^_^"]
    assert tags(limit=2) == ["hatsune miku", "1girl"]
    assert tags(add=(" red  dress ", "1girl", "")) == [
        "red dress", "1girl", "hatsune miku", "very long hair", "white shirt", "^_^",
    ]  # fmt: skip


def test_other_categories_on_request_but_never_a_rating() -> None:
    assert tags(categories=("copyright", "rating"))[:3] == ["hatsune miku", "vocaloid", "1girl"]
    assert "vocaloid" not in tags(categories=("copyright",), character=0.95)


@pytest.mark.parametrize(
    ("exclude", "gone"),
    [
        (("1GIRL",), {"1girl"}),
        (("very_long_hair",), {"very long hair"}),
        (("* hair",), {"very long hair", "long hair"}),
        (("?girl",), {"1girl"}),
        (("/^(white|black) /",), {"white shirt"}),
        (("/hair/", " "), {"very long hair", "long hair"}),
        (("girl",), set()),
    ],
)
def test_exclusions(exclude: tuple[str, ...], gone: set[str]) -> None:
    every = tags(drop_overlaps=False)
    assert tags(drop_overlaps=False, exclude=exclude) == [tag for tag in every if tag not in gone]


def test_what_was_excluded_hides_nothing() -> None:
    assert "long hair" in tags(exclude=("very long hair",))


def test_replacements() -> None:
    assert tags(replace={"1girl": "woman", "White_Shirt": "", "^_^": "1girl"}) == [
        "hatsune miku", "woman", "very long hair", "1girl",
    ]  # fmt: skip
    assert tags(replace={"1girl": "very long hair"}) == ["hatsune miku", "very long hair", "white shirt", "^_^"]
    assert "woman" not in tags(replace={"1girl": "woman"}, exclude=("woman",))


def test_a_wrong_pattern_is_said() -> None:
    with pytest.raises(TaggerError, match=r"/\(/ can't be read as a pattern"):
        tags(exclude=("/(/",))


def test_mcut_is_the_middle_of_the_widest_gap() -> None:
    assert mcut([0.9, 0.8, 0.3, 0.2]) == pytest.approx(0.55)
    assert mcut([0.9]) == pytest.approx(0.475)
    assert mcut([]) == 0.05
    assert tags(use_mcut=True) == ["hatsune miku", "rem (re:zero)", "1girl", "long hair"]
    low = [Scored(Label("a", "character"), 0.14), Scored(Label("b"), 0.14)]
    assert pick(low, PickOptions(use_mcut=True)) == ["b"]


def test_overlaps() -> None:
    assert without_overlaps(["absurdly long hair", "very long hair", "Long Hair", "hair"]) == ["absurdly long hair"]
    assert without_overlaps(["shoes", "no shoes"]) == ["shoes", "no shoes"]
    assert without_overlaps(["black pleated skirt", "pleated skirt", "skirt"]) == ["black pleated skirt"]
    assert without_overlaps(["1girl", "solo", "smile"]) == ["1girl", "solo", "smile"]
    for more, less in WEAKER.items():
        assert more not in less
        assert all(more not in WEAKER.get(one, ()) for one in less), f"{more} and {less} drop each other"


@pytest.mark.parametrize(
    ("existing", "mode", "expected"),
    [
        ("old, Smile", "replace", "ohwx, smile, 1girl"),
        ("old, Smile", "append", "ohwx, old, Smile, 1girl"),
        ("old, Smile", "prepend", "ohwx, 1girl, old, Smile"),
        ("old", "fill_empty", "ohwx, old"),
        ("", "fill_empty", "ohwx, smile, 1girl"),
        ("OHWX", "fill_empty", "ohwx, smile, 1girl"),
        ("ohwx, old", "append", "ohwx, old, smile, 1girl"),
        ("old, ohwx", "append", "ohwx, old, smile, 1girl"),
        ("ohwx woman, old", "append", "ohwx woman, old, smile, 1girl"),
        ("1_girl，smile", "append", "ohwx, 1_girl, smile, 1girl"),
    ],
)
def test_merging_keeps_the_trigger_word_once_and_in_front(existing: str, mode: Mode, expected: str) -> None:
    assert ", ".join(merge(existing, ["smile", "1girl", "ohwx"], mode, "ohwx")) == expected


def test_without_a_trigger_word_nothing_is_put_in_front() -> None:
    assert merge("a", ["b"], "append", "") == ["a", "b"]


def test_a_sentence_survives_as_the_parts_of_a_caption() -> None:
    parts = sentence_tags("a woman in a red dress, standing on a beach.\n")
    assert ", ".join(parts) == "a woman in a red dress, standing on a beach"
    assert split_tags(", ".join(parts)) == parts
