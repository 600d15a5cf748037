"""Token counts are exactly those of transformers' CLIPTokenizer on the bundled files."""

from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_forge.dataset.tags.tokens import count_tags, count_tokens
from lora_forge.model.tokenizer_files import load_tokenizer

PLANTED = [
    "",
    " ",
    "1girl",
    "ohwx woman, pink shirt, smile :), looking at viewer",
    "don't, it's, we'll, I'd, they've, 'tis, rock'n'roll, ''s, !'s",
    "saber_(fate/stay_night), ^_^, >_<, :3, ..., !?",
    "2023, 1920x1080, 3d, 10_ohwx, ①②, Ⅻ, ½",
    "粉色衬衫，微笑, 日本語テキスト, 한국어",
    "ΣΑΣ ΟΔΟΣ, İstanbul, ß, ẞ, ﬁ, e\u0301, \u212b",
    "emoji 😀👩‍👩‍👧, ✨sparkles✨",
    "a\u00a0b\u3000c\u2028d\x85e\tf\x1cg",
    "<|endoftext|>, a<|startoftext|>b, !<|endoftext|>!",  # in capitals, transformers 4.30 and 5 differ
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "a" * 200,
    "\u0301lone mark, x\u0301\u0302\u0303",
]


def real(text: str) -> int:
    return len(load_tokenizer()(text, add_special_tokens=False, verbose=False).input_ids)


@pytest.mark.parametrize("text", PLANTED)
def test_planted_texts_count_as_the_real_tokenizer_says(text: str) -> None:
    assert count_tokens(text) == real(text)


@settings(max_examples=400, deadline=None)
@given(st.text(st.characters(max_codepoint=0x1FFFF, exclude_categories=["Cs", "Cn", "Co"]), max_size=40))
def test_any_assigned_text_counts_the_same(text: str) -> None:
    if unicodedata.unidata_version >= "15" and "<|" not in text:
        assert count_tokens(text) == real(text)


def test_every_bundled_word_and_random_pairs_count_the_same() -> None:
    words = [word.replace("</w>", "") for word in load_tokenizer().get_vocab() if word.isascii()]
    rng = random.Random(0)
    for _ in range(600):
        text = " ".join(rng.choices(words, k=8))
        assert count_tokens(text) == real(text), text


def test_a_captions_count_is_that_of_its_joined_tags() -> None:
    pool = [tag for text in PLANTED for tag in text.split(", ") if tag.strip()]
    rng = random.Random(1)
    for _ in range(200):
        tags = rng.choices(pool, k=rng.randint(0, 12))
        assert count_tags(tags) == real(", ".join(tags)), tags
    assert count_tags(["smile :)", "hair"]) == count_tokens("smile :), hair")
