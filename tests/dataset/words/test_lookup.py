"""Looking up in both directions, and what is said of tags the dictionary does not hold."""

from __future__ import annotations

import pytest

from lora_forge.dataset.words import Category, Words, normalise

WORDS = Words.load()


def tags(text: str, limit: int = 20) -> list[str]:
    return [word.tag for word in WORDS.find(text, limit)]


@pytest.mark.parametrize("tag", ["Pink_Shirt", " pink  shirt ", "PINK SHIRT"])
def test_a_tag_is_found_however_it_is_written(tag: str) -> None:
    assert WORDS.zh(tag) == "粉色衬衫"


def test_escaped_brackets_and_faces_are_the_same_tag() -> None:
    assert normalise(r"bow_\(weapon\)") == "bow (weapon)"
    assert WORDS.zh(r"bow \(weapon\)") == "弓"
    assert WORDS.zh("^_^") == WORDS.zh("^ ^") == "眯眼笑"


@pytest.mark.parametrize("zh", ["粉色衬衫", "粉红色衬衫", "粉衬衫", "粉色的衬衫", " 粉色 衬衫"])
def test_chinese_as_people_write_it_finds_the_tag(zh: str) -> None:
    assert WORDS.tags_for_zh(zh) == ("pink shirt",)


def test_a_chinese_name_of_several_tags_gives_them_all_the_most_common_first() -> None:
    assert WORDS.tags_for_zh("旗袍") == ("china dress", "qipao", "cheongsam")
    assert WORDS.tags_for_zh("裙子") == ("skirt", "dress")


def test_brown_has_two_names() -> None:
    assert WORDS.tags_for_zh("褐色头发") == WORDS.tags_for_zh("棕色头发") == ("brown hair",)


@pytest.mark.parametrize("zh", ["", "   ", "的", "没有这个词", "pink shirt"])
def test_what_is_no_chinese_name_finds_no_tag(zh: str) -> None:
    assert WORDS.tags_for_zh(zh) == ()


def test_find_puts_the_whole_name_first_then_beginnings_then_words_then_the_rest() -> None:
    found = tags("shirt", 200)
    assert found[0] == "shirt"
    begins = [at for at, tag in enumerate(found) if tag.startswith("shirt")]
    inner = [at for at, tag in enumerate(found) if not tag.startswith("shirt") and " shirt" in tag]
    rest = [at for at, tag in enumerate(found) if not tag.startswith("shirt") and " shirt" not in tag]
    assert max(begins) < min(inner)
    assert max(inner) < min(rest)
    assert "t-shirt" in [found[at] for at in rest]


def test_find_puts_the_common_before_the_rare() -> None:
    assert tags("twint")[0] == "twintails"
    assert tags("white s")[:2] == ["white shirt", "white skirt"]
    assert tags("long")[:2] == ["long hair", "long sleeves"]


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("粉色衬衫", "pink shirt"),
        ("粉衬衫", "pink shirt"),
        ("夹克", "jacket"),
        ("JK", "jk uniform"),
        ("看向", "looking at viewer"),
    ],
)
def test_find_in_chinese(typed: str, first: str) -> None:
    assert tags(typed)[0] == first


def test_find_takes_words_in_any_order_after_the_rest() -> None:
    assert "long black hair" in tags("hair black lo", 50)


def test_find_keeps_its_limit_and_names_nothing_twice() -> None:
    found = tags("a", 50)
    assert len(found) == 50
    assert len(set(found)) == 50
    assert tags("a", 0) == []
    assert tags("") == []
    assert tags("qqqqq") == []


@pytest.mark.parametrize(
    ("tag", "category"),
    [
        ("turquoise shirt", Category.CLOTHING),
        ("apricot hair", Category.HAIR),
        ("very curly mint hair", Category.HAIR),
        ("ocher eyes", Category.EYES),
        ("small wooden table", Category.OBJECT),
        ("red roses", Category.OBJECT),
        ("blue boxes", Category.OBJECT),
        ("shop background", Category.BACKGROUND),
        ("watch focus", Category.FRAMING),
        ("somebody's style", Category.STYLE),
        ("somebody (style)", Category.STYLE),
        ("scar on hand", Category.BODY),
        ("hand on table", Category.POSE),
        ("holding toothbrush", Category.POSE),
        ("woman in red dress", Category.SUBJECT),
        ("flower on head", Category.OBJECT),
        ("zzyzx", Category.OTHER),
        ("something (cosplay)", Category.OTHER),
        ("", Category.OTHER),
    ],
)
def test_an_unknown_tag_has_the_category_of_its_last_known_words(tag: str, category: Category) -> None:
    assert WORDS.word(tag) is None
    assert WORDS.category(tag) is category


@pytest.mark.parametrize(
    ("tag", "zh"),
    [
        ("turquoise shirt", "绿松石色衬衫"),
        ("mint hair", "薄荷绿色头发"),
        ("dark purple boots", "深紫色靴子"),
        ("pale yellow curtains", "淡黄色窗帘"),
        ("peach dress", "桃粉色连衣裙"),
        ("plaid hat", "格子帽子"),
        ("two-tone scarf", "双色围巾"),
        ("strange shirt", ""),
        ("turquoise zzyzx", ""),
        ("red solo", ""),
        ("red", "红色"),
        ("zzyzx", ""),
        ("", ""),
    ],
)
def test_an_unknown_tag_is_said_only_where_both_halves_are_known(tag: str, zh: str) -> None:
    assert WORDS.zh(tag) == zh


@pytest.mark.parametrize(
    ("zh", "tag"),
    [
        ("绿松石色衬衫", "turquoise shirt"),
        ("青色头发", "teal hair"),
        ("深紫色靴子", "dark purple boots"),
        ("桃粉色连衣裙", "peach dress"),
    ],
)
def test_a_colour_and_a_thing_make_a_tag_that_is_not_listed(zh: str, tag: str) -> None:
    assert WORDS.tags_for_zh(zh) == (tag,)


def test_a_colour_before_what_has_none_makes_no_tag() -> None:
    assert WORDS.tags_for_zh("红色单人") == ()
