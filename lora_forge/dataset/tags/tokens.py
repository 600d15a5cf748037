"""How many of CLIP's tokens a text has, by the bundled merges alone: no transformers, no torch.

The steps are those of ``transformers.CLIPTokenizer`` on this vocabulary (its text cleaned by NFC): special tokens are
cut out, whitespace becomes one space, letters small, words are cut by CLIP's pattern, and each word's bytes are merged
pair by pair in the order of merges.txt. A comma and a space between two tags end every word, so a caption's count is
the sum over its tags, each with its comma; those are kept.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

LIMIT = 75  # tokens between the beginning and end marks of one chunk
_MERGES = Path(__file__).resolve().parents[2] / "model" / "tokenizer" / "merges.txt"
_SPECIAL = re.compile(r"<\|startoftext\|>|<\|endoftext\|>")
_SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_SPACES = re.compile(f"[{_SPACE}]+")
_ASCII_WORDS = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[a-z]+|[0-9]|[^ a-z0-9]+")
_LETTER, _NUMBER, _SPACING, _MARK = range(4)


def count_tokens(text: str) -> int:
    """Tokens of ``text``, without the beginning and end marks; special tokens written out count as one."""
    parts = _SPECIAL.split(text) if "<|" in text else [text]
    return len(parts) - 1 + sum(_count_plain(part) for part in parts)


def count_tags(tags: Sequence[str]) -> int:
    """Tokens of the tags joined by a comma and a space."""
    if not tags:
        return 0
    return sum(map(_with_comma, tags[:-1])) + _alone(tags[-1])


@lru_cache(maxsize=65536)
def _with_comma(tag: str) -> int:
    return count_tokens(tag + ",")  # not one more than alone: "smile :)," has the comma in its last word


@lru_cache(maxsize=65536)
def _alone(tag: str) -> int:
    return count_tokens(tag)


def _count_plain(text: str) -> int:
    if text.isascii():
        words = _ASCII_WORDS.findall(_SPACES.sub(" ", text).lower())
    else:
        text = _SPACES.sub(" ", unicodedata.normalize("NFC", text))
        words = _cut("".join(char.lower() for char in text))  # by character: no final sigma, as in the original
    return sum(_pieces(word) for word in words)


def _cut(text: str) -> list[str]:
    """Contractions, runs of letters, single digits, runs of anything else: CLIP's pattern with Unicode's classes."""
    words: list[str] = []
    at = 0
    while at < len(text):
        contraction = _contraction(text, at)
        kind = _kind(text[at])
        end = at + max(1, contraction)
        if not contraction and kind in (_LETTER, _MARK):
            while end < len(text) and _kind(text[end]) == kind:
                end += 1
        if kind != _SPACING:
            words.append(text[at:end])
        at = end
    return words


def _contraction(text: str, at: int) -> int:
    if text[at] != "'":
        return 0
    return next((1 + len(end) for end in ("s", "t", "re", "ve", "m", "ll", "d") if text.startswith(end, at + 1)), 0)


def _kind(char: str) -> int:
    category = unicodedata.category(char)
    if category[0] == "L":
        return _LETTER
    if category[0] == "N":
        return _NUMBER
    return _SPACING if _SPACES.fullmatch(char) else _MARK


@lru_cache(maxsize=65536)
def _pieces(word: str) -> int:
    """Symbols left of a word's bytes after all merges."""
    letters = _byte_letters()
    symbols = [letters[byte] for byte in word.encode("utf-8", errors="replace")]
    symbols[-1] += "</w>"
    ranks = _ranks()
    while len(symbols) > 1:
        best = min((ranks.get(pair, _NEVER) for pair in itertools.pairwise(symbols)), default=_NEVER)
        if best == _NEVER:
            break
        symbols = _merged(symbols, ranks, best)
    return len(symbols)


_NEVER = 1 << 30


def _merged(symbols: list[str], ranks: dict[tuple[str, str], int], rank: int) -> list[str]:
    merged: list[str] = []
    at = 0
    while at < len(symbols):
        if at + 1 < len(symbols) and ranks.get((symbols[at], symbols[at + 1])) == rank:
            merged.append(symbols[at] + symbols[at + 1])
            at += 2
        else:
            merged.append(symbols[at])
            at += 1
    return merged


@lru_cache(maxsize=1)
def _ranks() -> dict[tuple[str, str], int]:
    lines = _MERGES.read_text(encoding="utf-8").split("\n")[1:]
    pairs = (line.split(" ") for line in lines if line)
    return {(pair[0], pair[1]): rank for rank, pair in enumerate(pairs)}


@lru_cache(maxsize=1)
def _byte_letters() -> tuple[str, ...]:
    """A printable letter for every byte, as byte-level BPE has them since GPT-2."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return tuple(chr(byte if byte in printable else next(others)) for byte in range(256))
