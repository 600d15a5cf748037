"""From scores to the tags of a caption: thresholds and lists. Pure: sliders call it as often as they like."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

from lora_forge.dataset.captions import first_line, split_tags
from lora_forge.dataset.taggers.errors import TaggerError
from lora_forge.dataset.taggers.labels import CHARACTER, GENERAL, RATING, Label, spaced, underscored
from lora_forge.dataset.taggers.overlaps import without_overlaps

Mode = Literal["replace", "append", "prepend", "fill_empty"]
MODES: tuple[Mode, ...] = ("replace", "append", "prepend", "fill_empty")
FLOOR = 0.05
"""Scores below are not remembered: no threshold goes there."""
_NAMES = ("copyright", "artist")
_LEAST_CHARACTER_MCUT = 0.15  # the WD taggers' maker's own


class Scored(NamedTuple):
    """One tag and its score, 0..1."""

    label: Label
    score: float


@dataclass(frozen=True)
class PickOptions:
    """``general``, ``character``: a tag counts above them. ``use_mcut``: the widest gap between the scores of a photo
    takes their place. ``exclude``: tags, with ``*`` and ``?``, or ``/regex/``. ``replace``: tag -> tag; an empty one
    takes it out. ``add``: in front of what was found. ``limit``: at most so many found ones, 0 for all. ``categories``:
    others that count too, of taggers that have them: copyright and artist above ``character``, the rest above
    ``general``.
    """

    general: float = 0.35
    character: float = 0.85
    use_mcut: bool = False
    exclude: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    replace: Mapping[str, str] = field(default_factory=dict)
    underscores: bool = False
    character_tags: bool = True
    drop_overlaps: bool = True
    limit: int = 0
    categories: tuple[str, ...] = ()


def pick(scored: Sequence[Scored], options: PickOptions) -> list[str]:
    """The tags of one photo: characters first, then the rest, each by score; never a rating.

    Raises:
        TaggerError: a pattern in ``exclude`` is none.
    """
    found = [
        *(_above(scored, CHARACTER, options.character, options.use_mcut) if options.character_tags else ()),
        *(one for name in options.categories if name != RATING for one in _above(scored, name, *_least(name, options))),
        *_above(scored, GENERAL, options.general, options.use_mcut),
    ]
    is_excluded = _exclusion(options.exclude)
    names = [spaced(label.name) for label, _ in found]
    names = [name for name in names if not is_excluded(name)]
    if options.drop_overlaps:
        names = without_overlaps(names)
    swaps = {folded(tag): " ".join(other.split()) for tag, other in options.replace.items()}
    names = [name for name in (swaps.get(folded(name), name) for name in names) if name and not is_excluded(name)]
    names = names[: options.limit or None]
    names = [*(" ".join(tag.split()) for tag in options.add if tag.strip()), *names]
    written = [underscored(name) if options.underscores else name for name in names]
    first: dict[str, str] = {}
    for name in written:
        first.setdefault(folded(name), name)
    return list(first.values())


def merge(existing: str, found: Sequence[str], mode: Mode, trigger_word: str) -> list[str]:
    """The tags of a caption that was ``existing``, the trigger word once and in front.

    ``append`` and ``prepend`` add only what is not there yet; ``fill_empty`` leaves captions alone that say more than
    the trigger word.
    """
    word = " ".join(trigger_word.split())
    before = [tag for tag in split_tags(existing) if folded(tag) != folded(word)]
    new = [tag for tag in found if folded(tag) != folded(word)]
    known = {folded(tag) for tag in before}
    fresh = [tag for tag in new if folded(tag) not in known]
    if mode == "replace":
        tags = new
    elif mode == "append":
        tags = [*before, *fresh]
    elif mode == "prepend":
        tags = [*fresh, *before]
    else:
        tags = before if before else new
    if word and tags and tags[0].casefold().startswith(word.casefold() + " "):
        return tags  # "ohwx woman" stands for "ohwx"
    return [word, *tags] if word else tags


def sentence_tags(sentence: str) -> list[str]:
    """A sentence as the comma parts that a caption is kept in; joined again they are the sentence."""
    return split_tags(first_line(sentence.strip().rstrip(".")))


@lru_cache(maxsize=1 << 16)
def folded(tag: str) -> str:
    """``tag`` for comparing: case, underscores and blanks do not matter."""
    return " ".join(spaced(tag).casefold().split())


def _least(category: str, options: PickOptions) -> tuple[float, bool]:
    return (options.character if category in _NAMES else options.general), options.use_mcut


def _above(scored: Sequence[Scored], category: str, threshold: float, use_mcut: bool) -> list[Scored]:
    ranked = sorted((one for one in scored if one.label.category == category), key=lambda one: -one.score)
    if use_mcut:
        threshold = mcut([one.score for one in ranked])
        threshold = max(threshold, _LEAST_CHARACTER_MCUT) if category == CHARACTER else threshold
    return [one for one in ranked if one.score > threshold]


def mcut(scores: Sequence[float]) -> float:
    """Maximum Cut Thresholding (Largeron, Moulin, Géry 2012): the middle of the widest gap between sorted scores.

    What was too low to be remembered counts as one score of 0.05.
    """
    falling = sorted([*scores, FLOOR], reverse=True)
    if len(falling) < 2:
        return FLOOR
    gaps = [upper - lower for upper, lower in itertools.pairwise(falling)]
    widest = gaps.index(max(gaps))
    return (falling[widest] + falling[widest + 1]) / 2


class _exclusion:  # noqa: N801 - it is used as the function it makes
    """Whether a tag is among ``patterns``."""

    def __init__(self, patterns: Sequence[str]) -> None:
        cleaned = [pattern.strip() for pattern in patterns if pattern.strip()]
        self._plain = {folded(pattern) for pattern in cleaned}
        self._patterns = [_pattern(pattern) for pattern in cleaned if _is_pattern(pattern)]

    def __call__(self, tag: str) -> bool:
        key = folded(tag)
        return key in self._plain or any(pattern.fullmatch(key) for pattern in self._patterns)


def _is_pattern(text: str) -> bool:
    return _is_regex(text) or "*" in text or "?" in text


def _is_regex(text: str) -> bool:
    return len(text) > 2 and text.startswith("/") and text.endswith("/")


def _pattern(text: str) -> re.Pattern[str]:
    if not _is_regex(text):
        parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in folded(text))
        return re.compile("".join(parts))
    try:
        return re.compile(f"(?:.*(?:{text[1:-1]}).*)", re.IGNORECASE)
    except re.error as cause:
        raise TaggerError(
            "{pattern} can't be read as a pattern: {cause}.", "Write a tag, or * and ? for the rest.",
            pattern=text, cause=cause,
        ) from cause  # fmt: skip
