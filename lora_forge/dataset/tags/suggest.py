"""What a person may be about to type: the set's own tags first, then the dictionary, in both languages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from lora_forge.dataset.tags.book import TagBook
from lora_forge.dataset.tags.shelf import CaptionFile
from lora_forge.dataset.tags.texts import is_trigger, same
from lora_forge.dataset.words import Words


@dataclass(frozen=True)
class Suggestion:
    """``count``: photos of the set that have it."""

    tag: str
    zh: str
    category: str
    count: int


def suggest(book: TagBook, words: Words, text: str, limit: int = 20) -> list[Suggestion]:
    """At most ``limit`` tags: of the set those that begin so, then hold it; the most common first. All for no text.

    Raises:
        TagError: the photos can't be listed.
    """
    files = book.files()
    spelled = book.view("spelled", lambda: _spelled(_tags(files.values())))
    counts = book.counts()
    wanted = same(text)
    mine = []
    for name, tag in spelled.items():
        tier = _tier(wanted, name, words.zh(tag))
        if tier is not None and not is_trigger(tag, book.trigger_word):
            mine.append((tier, -counts[name], tag))
    found = {same(tag): _one(words, tag, -count) for _, count, tag in sorted(mine)[:limit]}
    for word in words.find(text, limit) if wanted else ():
        if len(found) >= limit:
            break
        found.setdefault(same(word.tag), _one(words, word.tag, counts.get(same(word.tag), 0)))
    return list(found.values())


def _one(words: Words, tag: str, count: int) -> Suggestion:
    return Suggestion(tag, words.zh(tag), str(words.category(tag)), count)


def _tier(wanted: str, name: str, zh: str) -> int | None:
    if not wanted or name.startswith(wanted) or zh.startswith(wanted):
        return 0
    if f" {wanted}" in name:
        return 1
    return 2 if wanted in name or wanted in zh else None


def _tags(files: Iterable[CaptionFile]) -> list[str]:
    return [tag for file in files if not file.caption.is_prose for tag in file.caption.tags]


def _spelled(tags: list[str]) -> dict[str, str]:
    """The most common spelling of each tag."""
    found: dict[str, str] = {}
    for tag, _ in Counter(tags).most_common():
        found.setdefault(same(tag), tag)
    return found
