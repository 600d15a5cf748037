"""The query language, each part by the photos it finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_forge.dataset.project import Group, Project
from lora_forge.dataset.tags import QueryError, TagBook
from lora_forge.dataset.tags.query import find
from lora_forge.dataset.words import Words
from tests.dataset.tags.conftest import Make

SET = {
    "close/e.png": "",
    "photos/a.png": "ohwx, red hair, smile, pink shirt",
    "photos/b.png": "ohwx, Blue_Hair, smile, saber (fate)",
    "photos/c.png": "red hair, park, none, ^_^",
    "photos/d.png": "ohwx",
    "prior/f.png": "a woman is standing in the old park of the city.",
}


@pytest.fixture
def book(make: Make) -> TagBook:
    project = make(SET)
    project.set_group(Group("prior", None, is_prior=True))
    return TagBook(Project.load(project.root))


def names(book: TagBook, query: str) -> str:
    return "".join(key[-5] for key in find(book, query, Words.load()))


CASES = [
    ("", "eabcdf"), ("red hair", "ac"), ("Red_Hair", "ac"), ("red", ""), ('"red hair"', "ac"), ("red*", "ac"),
    ("* hair", "abc"), ("?ed hair", "ac"), ("/hair$/", "abc"), ("/^(red|blue) H/", "abc"), ("park", "c"),
    ("red hair AND smile", "a"), ("red hair & smile", "a"), ("red hair, smile", "a"), ("red hair，smile", "a"),
    ("smile OR park", "abc"), ("smile | park", "abc"), ("NOT smile", "ecdf"), ("-smile", "ecdf"),
    ("red hair -smile", "c"), ("red hair NOT smile", "c"), ("smile OR park AND red hair", "abc"),
    ("(smile OR park) AND red hair", "ac"), ("（smile OR park）-pink shirt", "bc"), ("-(smile | park)", "edf"),
    ("saber (fate)", "b"), ("saber_(fate)", "b"), ("saber (fate) smile", ""), ("saber (fate), smile", "b"),
    ('"^_^"', "c"), ("^_^", "c"), ("none", "ed"), ("tag:none", "c"), ('"none"', "c"), ("-none", "abcf"),
    ("missing:trigger", "ec"), ("tags:0", "e"), ("tags:>3", "abc"), ("tags:1-3", "df"), ("tags:<=1", "edf"),
    ("tokens:9", "a"), ("tokens:>9", "bcf"), ("tokens:1", "ed"),
    ("name:a", "a"), ("name:?.png", "eabcdf"), ("group:close", "e"),
    ("group:p*", "abcdf"), ("caption:park", "cf"), ("caption:/old park/", "f"), ("caption:*ed*ark", "c"),
    ('caption:"old park"', "f"), ("粉色衬衫", "a"), ("红发", "ac"), ("红发 AND 微笑", "a"), ("category:hair", "abc"),
    ("not smile", ""), ("smile -", ""), ("re:zero", ""), ("NOT NOT smile", "ab"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "found"), CASES)
def test_a_query_finds_exactly_these(book: TagBook, query: str, found: str) -> None:
    assert sorted(names(book, query)) == sorted(found)


@pytest.mark.parametrize(
    ("query", "at", "says"),
    [
        ("(smile", 0, "never closed"), ("smile AND", 9, "missing here"), ("smile )", 6, "too many"),
        ("a AND OR b", 6, "missing here"), ("a, /(/", 3, "no regular expression"), ("tokens:many", 0, "no count"),
        ('a, "b', 3, "never closed"), ("missing:hat", 0, "knows only"), ("/(a+)+b/", 0, "repeats a repeat"),
        ("()", 1, "missing here"), ("NOT", 3, "missing here"), ("saber (fate", 6, "never closed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_where(book: TagBook, query: str, at: int, says: str) -> None:
    with pytest.raises(QueryError, match=says) as caught:
        names(book, query)
    assert caught.value.at == at


def test_edits_are_found_at_once(book: TagBook) -> None:
    assert names(book, "hat") == ""
    book.apply({"kind": "add", "tags": ["hat"]}, ["photos/d.png"])
    assert names(book, "hat") == "d"


@given(st.text(st.sampled_from('ab ()|&,-"/*?\\:（AND>OT粉'), max_size=14))
def test_any_text_is_answered_or_refused_in_a_sentence(text: str) -> None:
    from lora_forge.dataset.tags.query import _Parser, build_index

    class NoBook:
        trigger_word = ""

    try:
        _Parser(text, build_index({}), NoBook(), None).parse()  # type: ignore[arg-type]
    except QueryError as problem:
        place, said = problem.at, str(problem)
    else:
        place, said = 0, "fine"
    assert 0 <= place <= len(text)
    assert said
