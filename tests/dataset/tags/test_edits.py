"""Every operation on tags, by exact results; the trigger word is never touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_forge.dataset.tags.edits import Context, apply, parse_operation
from lora_forge.dataset.tags.errors import TagError
from lora_forge.dataset.tags.texts import lock_of, parse, with_tags

TRIGGER = "ohwx"
PROSE = "A woman with red hair is standing in a park. She smiles, looking at us."


def edit(text: str, counts: Mapping[str, int] | None = None, /, trigger: str = TRIGGER, **plain: Any) -> str:
    ranks = {"red hair": (0, 5), "smile": (1, 2), "park": (2, 1)}
    context = Context(trigger, counts or {}, lambda tag: ranks.get(tag, (9, 9)))
    return apply(parse_operation(plain), parse(text), context)


CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"kind": "add", "tags": ["pink shirt"]}, "ohwx, smile", "ohwx, smile, pink shirt"),
    ({"kind": "add", "tags": ["b, c"], "position": "front"}, "ohwx, smile", "ohwx, b, c, smile"),
    ({"kind": "add", "tags": ["a"], "position": "front"}, "smile", "a, smile"),
    ({"kind": "add", "tags": ["a"], "position": 2}, "ohwx, x, y", "ohwx, x, a, y"),
    ({"kind": "add", "tags": ["a"], "position": 0}, "ohwx woman, x", "ohwx woman, a, x"),
    ({"kind": "add", "tags": ["a"], "position": 99}, "ohwx, x", "ohwx, x, a"),
    ({"kind": "add", "tags": ["Pink_Shirt"]}, "ohwx, pink shirt", "ohwx, pink shirt"),
    ({"kind": "add", "tags": ["OHWX"]}, "ohwx, x", "ohwx, x"),
    ({"kind": "add", "tags": ["ohwx"]}, "x", "ohwx, x"),
    ({"kind": "add", "tags": ["a"]}, "", "a"),
    ({"kind": "remove", "tags": ["smile", "ohwx"]}, "ohwx, Smile, park, smile", "ohwx, park"),
    ({"kind": "remove", "tags": ["long_hair"]}, "long hair, x", "x"),
    ({"kind": "remove", "tags": ["ohwx"]}, "x, ohwx", "x, ohwx"),
    ({"kind": "remove", "tags": ["ohwx woman"]}, "ohwx woman, x", "ohwx woman, x"),
    ({"kind": "replace", "find": "red hair", "to": "blonde hair"}, "ohwx, Red Hair, x", "ohwx, blonde hair, x"),
    ({"kind": "replace", "find": "a", "to": "b"}, "a, x, b", "x, b"),
    ({"kind": "replace", "find": "a", "to": "b, c"}, "a, x", "b, c, x"),
    ({"kind": "replace", "find": "a", "to": ""}, "a, x", "x"),
    ({"kind": "replace", "find": "a", "to": "A"}, "a, x", "A, x"),
    ({"kind": "replace", "find": "hair", "to": "fur", "mode": "text"}, "red hair, Hair", "red fur, Hair"),
    ({"kind": "replace", "find": "hair", "to": "fur", "mode": "text", "ignore_case": True}, "red hair, Hair",
     "red fur, fur"),
    ({"kind": "replace", "find": "a.b", "to": r"\1", "mode": "text"}, "a.b, axb", r"\1, axb"),
    ({"kind": "replace", "find": "oh", "to": "X", "mode": "text"}, "ohwx, oh no", "ohwx, X no"),
    ({"kind": "replace", "find": r"^(\w+) hair$", "to": r"hair, \1", "mode": "regex"}, "ohwx, red hair, hairy",
     "ohwx, hair, red, hairy"),
    ({"kind": "replace", "find": "a, b", "to": "c", "mode": "text", "whole": True}, "ohwx, a, b, d", "ohwx, c, d"),
    ({"kind": "front", "tags": ["y", "z", "gone"]}, "ohwx, x, z, y", "ohwx, y, z, x"),
    ({"kind": "front", "tags": ["ohwx"]}, "ohwx, x", "ohwx, x"),
    ({"kind": "sort"}, "ohwx, b, C, a", "ohwx, a, b, C"),
    ({"kind": "sort", "reverse": True}, "ohwx, b, C, a", "ohwx, C, b, a"),
    ({"kind": "sort", "by": "length"}, "ohwx, ccc, a, bb", "ohwx, a, bb, ccc"),
    ({"kind": "sort", "by": "dictionary"}, "park, what, smile, red hair", "red hair, smile, park, what"),
    ({"kind": "sort"}, "b, ohwx, a", "ohwx, a, b"),
    ({"kind": "dedupe"}, "ohwx, a, A, b_c, b c, ohwx, a", "ohwx, a, b_c"),
    ({"kind": "set", "tags": ["x", "y"]}, "ohwx, a", "ohwx, x, y"),
    ({"kind": "set", "tags": ["OHWX", "y"]}, "ohwx, a", "ohwx, y"),
    ({"kind": "set", "tags": []}, "ohwx, a", "ohwx"),
    ({"kind": "set", "text": "A girl.\nMore."}, "ohwx, a", "ohwx, A girl.\nMore."),
    ({"kind": "set", "text": "ohwx girl on a bench"}, "ohwx, a", "ohwx girl on a bench"),
    ({"kind": "move", "tag": "c", "to": 1}, "ohwx, a, b, c", "ohwx, c, a, b"),
    ({"kind": "move", "tag": "a", "to": 3}, "ohwx, a, b, c", "ohwx, b, c, a"),
    ({"kind": "move", "tag": "c", "to": 0}, "ohwx, a, c", "ohwx, c, a"),
    ({"kind": "move", "tag": "ohwx", "to": 2}, "ohwx, a, c", "ohwx, a, c"),
    ({"kind": "paste", "tags": ["ohwx", "a", "n"]}, "ohwx, a", "ohwx, a, n"),
    ({"kind": "paste", "tags": ["n", "a"], "mode": "prepend"}, "ohwx, a", "ohwx, n, a"),
    ({"kind": "paste", "tags": ["ohwx man", "n"], "mode": "replace"}, "ohwx, a, b", "ohwx, n"),
    ({"kind": "clean"}, "ohwx,  long_hair ,, ^_^,a ", "ohwx, long hair, ^_^, a"),
    ({"kind": "clean", "underscores": False}, "long_hair,,a", "long_hair, a"),
    ({"kind": "truncate", "limit": 4}, "ohwx, smile, park, tree", "ohwx, smile"),
    ({"kind": "trigger"}, "a, b", "ohwx, a, b"),
    ({"kind": "trigger"}, "a, ohwx", "ohwx, a"),
    ({"kind": "trigger"}, "ohwx woman, a", "ohwx woman, a"),
]  # fmt: skip


@pytest.mark.parametrize(("plain", "before", "after"), CASES)
def test_an_operation_gives_exactly_this(plain: dict[str, Any], before: str, after: str) -> None:
    assert edit(before, **plain) == after


def test_sorting_by_count_puts_the_sets_common_tags_first() -> None:
    assert edit("ohwx, a, b, c", {"c": 9, "b": 9, "a": 1}, kind="sort", by="count") == "ohwx, b, c, a"


UNTOUCHED = [
    {"kind": "remove", "tags": ["blue hair"]},
    {"kind": "replace", "find": "blue hair", "to": "x"},
    {"kind": "replace", "find": "blue", "to": "x", "mode": "text"},
    {"kind": "front", "tags": ["blue hair"]},
    {"kind": "sort"}, {"kind": "dedupe"}, {"kind": "clean"}, {"kind": "truncate", "limit": 3},
    {"kind": "move", "tag": "blue hair", "to": 0},
]  # fmt: skip


@pytest.mark.parametrize("plain", UNTOUCHED)
@pytest.mark.parametrize(
    "text", [PROSE, f"ohwx, {PROSE}", "一个女人站在公园里，微笑着看镜头。她穿红裙子。", f"{PROSE}\n\nnotes,  here"]
)
def test_sentences_that_are_not_concerned_stay_to_the_letter(plain: dict[str, Any], text: str) -> None:
    assert edit(text, **plain) == text


@pytest.mark.parametrize("plain", [one for one in UNTOUCHED if one["kind"] not in ("sort", "clean", "truncate")])
def test_untidy_tags_that_are_not_concerned_stay_to_the_letter(plain: dict[str, Any]) -> None:
    assert edit("ohwx,a ,,b，c\nsecond line", **plain) == "ohwx,a ,,b，c\nsecond line"


def test_sentences_are_edited_where_they_are_concerned() -> None:
    assert edit(PROSE, kind="replace", find="red hair", to="blue hair", mode="text") == PROSE.replace("red", "blue")
    assert edit(PROSE, kind="add", tags=["photo"]) == f"{PROSE}, photo"
    assert edit("ohwx, a\nkeep this", kind="add", tags=["b"]) == "ohwx, a, b\nkeep this"
    assert edit("一个女人站在公园里，微笑。", kind="add", tags=["b"]) == "一个女人站在公园里，微笑。，b"


@pytest.mark.parametrize(
    ("text", "is_prose"),
    [
        (PROSE, True), ("a woman standing in a park.", True), ("1girl, solo, ..., !?, :o, smile", False),
        ("a photo of a young woman with very long hair", True), ("saber (fate), dr. stone, mr. x", False),
        ("女人, 粉色衬衫, 微笑", False), ("一个女人站在公园里。", True),
        ("hand on another's own cheek, looking at another", False),
    ],
)  # fmt: skip
def test_sentences_are_told_from_tags(text: str, is_prose: bool) -> None:
    assert parse(text).is_prose is is_prose


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"kind": "explode"}, "no operation 'explode'"),
    ({"kind": "add"}, "no tag to work with"),
    ({"kind": "add", "tags": [3]}, "list of texts"),
    ({"kind": "add", "tags": ["a"], "position": "middle"}, "'middle' is not known"),
    ({"kind": "sort", "by": "mood"}, "alpha, count"),
    ({"kind": "replace", "to": "x"}, "nothing to look for"),
    ({"kind": "replace", "find": "(", "to": "x", "mode": "regex"}, "no regular expression"),
    ({"kind": "replace", "find": "a", "to": r"\4", "mode": "regex"}, "no regular expression"),
    ({"kind": "replace", "find": "(a+)+$", "to": "", "mode": "regex"}, "repeats a repeat"),
    ({"kind": "replace", "find": "((x|a*)b)*", "to": "", "mode": "regex"}, "repeats a repeat"),
    ({"kind": "truncate", "limit": 0}, "above 0"),
    ({"kind": "move", "to": 1}, "list of texts"),
]


@pytest.mark.parametrize(("plain", "says"), WRONG)
def test_what_is_wrong_with_an_operation_is_said(plain: dict[str, Any], says: str) -> None:
    with pytest.raises(TagError, match=says):
        parse_operation(plain)


TAG = st.sampled_from(["ohwx", "a", "A", "b_c", "b c", "long hair", "ohwx woman", "^_^"])


@given(st.lists(TAG, max_size=6), st.sampled_from([plain for plain, _, _ in CASES]))
def test_nothing_takes_the_locked_word_away_or_doubles_it(tags: list[str], plain: dict[str, Any]) -> None:
    caption = parse(", ".join(tags))
    after = parse(edit(caption.text, **plain)).tags
    if lock_of(caption.tags, TRIGGER):
        assert lock_of(after, TRIGGER) == 1
        if plain["kind"] != "set":
            assert after[0] == tags[0]
        assert after[1:].count("ohwx") <= tags[1:].count("ohwx")


@given(st.lists(st.text("ab, ，\n.", max_size=5), max_size=4))
def test_the_same_tags_give_the_same_text(parts: list[str]) -> None:
    caption = parse("\n".join(parts).strip())
    assert with_tags(caption, caption.tags) == caption.text
