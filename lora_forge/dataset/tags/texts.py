"""One caption's text: the tags of its first line, and what of it is not tags.

Only the line that is trained on is ever edited; lines below it stay as they are, and a text whose tags an operation
leaves alone stays as it is to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from lora_forge.dataset.captions import first_line, split_tags

_SENTENCE_WORDS = 8  # the longest common booru tags have six
_CJK_SENTENCE = 16
_ENDS = re.compile(r"[.!?。！？]['\"”’)]*$")
_NEXT_SENTENCE = re.compile(r"[A-Za-z\u4e00-\u9fff]{2}[.!?] +[A-Z]|[。！？].")
_DRAWN = "0_0 (o)_(o) +_+ +_- ._. <o>_<o> <|>_<|> =_= >_< 3_3 6_9 >_o @_@ ^_^ o_o u_u x_x |_| ||_|| ;_; t_t -_- >_@ n_n"
FACES = frozenset(_DRAWN.split())
"""Tags whose underscores are drawn, not spaces (the taggers' own list and a few more)."""
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True)
class Caption:
    """A caption read. ``is_prose``: sentences, whose order is not to be touched. ``is_tags``: one line of tags and
    nothing else, so that chips show all of it."""

    text: str
    tags: tuple[str, ...]
    is_prose: bool

    @property
    def is_tags(self) -> bool:
        return not self.is_prose and "\n" not in self.text


def parse(text: str) -> Caption:
    """The caption whose cleaned text is ``text``."""
    if "\n" in text or "，" in text:
        tags = tuple(split_tags(text))
    else:  # the same, and for thousands of captions three times as quick
        tags = tuple(filter(None, map(_tidy, text.split(","))))
    return Caption(text, tags, any(map(_is_sentence, tags)))


@lru_cache(maxsize=65536)
def _tidy(part: str) -> str:
    return " ".join(part.split())


def with_tags(caption: Caption, tags: Sequence[str]) -> str:
    """The caption's text with other tags; the very same text when they are the same."""
    if tuple(tags) == caption.tags:
        return caption.text
    line = join(caption, tags)
    lines = caption.text.split("\n")
    at = next((number for number, old in enumerate(lines) if old.strip()), 0)
    return "\n".join([*lines[:at], line, *lines[at + 1 :]]).strip()


def join(caption: Caption, tags: Sequence[str]) -> str:
    """Tags as one line, parted as the caption's are."""
    return _joint(caption).join(tags)


def _joint(caption: Caption) -> str:
    line = first_line(caption.text)
    return "，" if caption.is_prose and "，" in line and "," not in line else ", "


@lru_cache(maxsize=65536)
def _is_sentence(tag: str) -> bool:
    if _NEXT_SENTENCE.search(tag):
        return True
    words, is_ended = len(tag.split()), bool(_ENDS.search(tag))
    if words >= _SENTENCE_WORDS or (is_ended and words >= 4):
        return True
    return bool(_CJK.search(tag)) and (len(tag) >= _CJK_SENTENCE or (is_ended and len(tag) >= 3))


@lru_cache(maxsize=65536)
def same(tag: str) -> str:
    """What two spellings of one tag have in common: case, underscores and spaces do not tell tags apart."""
    return " ".join(tag.replace("_", " ").split()).casefold() or tag.casefold()


def lock_of(tags: Sequence[str], trigger_word: str) -> int:
    """How many tags at the front are locked: 1 where the trigger word, or a tag that begins with it, is first."""
    word = _folded(trigger_word)
    if not word or not tags:
        return 0
    first = tags[0].casefold()
    return int(first == word or first.startswith(word + " "))


def is_trigger(tag: str, trigger_word: str) -> bool:
    """Whether a tag is the trigger word itself."""
    word = _folded(trigger_word)
    return bool(word) and tag.casefold() == word


@lru_cache(maxsize=64)
def _folded(trigger_word: str) -> str:
    return " ".join(trigger_word.split()).casefold()
