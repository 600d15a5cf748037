"""Both languages say everything: each marked text, log sentence and error has its Chinese, with the same places."""

from __future__ import annotations

import ast
import json
import re
import string
from pathlib import Path

import pytest

from lora_forge import parts
from lora_forge.i18n import catalogue, say
from tests.i18n.literals import PACKAGE, glued, marked, said, sentences, text_of, trees, unfilled

pytestmark = pytest.mark.once

FILES = sorted((PACKAGE / "i18n" / "zh").glob("*.json"))
_TWO_WORDS = re.compile(r"[A-Za-z]{3,} [a-z]{2,}")


def places(template: str) -> set[str]:
    """Names in braces, with what stands behind them: ``{name!r}`` and ``{name}`` are not the same text."""
    return {f"{name}!{kind}:{form}" for _, name, form, kind in string.Formatter().parse(template) if name is not None}


def constants() -> set[str]:
    """Every string in the package's source."""
    return {text for _, tree in trees() for node in ast.walk(tree) if (text := text_of(node))}


def test_every_text_that_is_marked_or_said_has_its_chinese() -> None:
    assert sorted((marked() | said() | sentences()) - catalogue().keys()) == []


def test_no_sentence_of_the_log_is_made_on_the_spot() -> None:
    """One that is glued together has no entry, and braces in a name would be taken for its places."""
    assert glued() == []


def test_every_place_of_a_sentence_has_its_value() -> None:
    assert unfilled() == []


def test_sentences_kept_in_constants_have_their_chinese() -> None:
    kept = {part for one in parts.examine() for part in (one.why, one.remedy) if part}
    kept |= {parts.PRESS, parts.REPAIR, parts.HOST_REMEDY}
    kept |= {library.why for library in parts.LIBRARIES}
    assert sorted(kept - catalogue().keys()) == []


def test_the_warning_of_an_open_page_has_its_chinese() -> None:
    pytest.importorskip("starlette")
    from lora_forge.web.exposure import WARNING

    assert WARNING in catalogue()


@pytest.mark.parametrize("english", sorted(catalogue()))
def test_an_entry_has_the_same_places_and_chinese_words(english: str) -> None:
    chinese = catalogue()[english]
    missing = places(english) - places(chinese)
    assert not places(chinese) - places(english)
    # a unit or a plural may go without its word, never a value that a person needs
    assert missing <= {"unit!None:"}, missing
    has_words = re.search(r"[A-Za-z]", re.sub(r"{[^}]*}", "", english))
    assert not has_words or re.search(r"[\u4e00-\u9fff]", chinese) or english in ("LoRA", "loss")


def test_no_entry_is_left_over() -> None:
    known = constants()
    assert sorted(catalogue().keys() - known) == []


def test_no_key_is_there_twice_and_each_file_is_sorted() -> None:
    every: list[str] = []
    for file in FILES:
        keys = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=lambda found: [key for key, _ in found])
        assert keys == sorted(keys), file.name
        every += keys
    assert len(every) == len(set(every)) == len(catalogue()), {key for key in every if every.count(key) > 1}


def test_no_sentence_in_ui_bypasses_the_catalogue() -> None:
    """Two words in a row are a sentence for a person, unless they are a docstring."""
    strays = []
    for path, tree in trees("ui"):
        documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            text = text_of(node)
            if text is None or id(node) in documented or text in catalogue():
                continue
            if _TWO_WORDS.search(re.sub(r"<[^>]*>?|^lora-forge \w+|\([^)]*\) =>.*", "", text)):
                strays.append(f"{path.name}: {text}")
    assert strays == []


def test_what_is_missing_is_said_in_english_and_places_are_filled() -> None:
    assert say("no such text", "zh") == "no such text"
    assert say("{count} photos added.", "zh", count=3) == "已添加 3 张素材。"
    assert say("{count} photos added.", "en", count=3) == "3 photos added."
    assert say("braces {stay} without values", "en") == "braces {stay} without values"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_catalogue_is_utf8_without_escapes(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert "\\u" not in text
    assert text.endswith("}\n")
