"""Looking tags up in both languages: the bundled dictionary under the user's own words."""

from __future__ import annotations

import functools
import threading
from operator import itemgetter
from pathlib import Path

from lora_forge.dataset.words.entries import Category, Word, bundled, normalise
from lora_forge.dataset.words.guess import COLOURED, Guesser
from lora_forge.dataset.words.own import OwnLine, is_nothing, parse, read_lines, split_names, write_word
from lora_forge.errors import DatasetError

_OWN_RANK = -1  # before everything bundled


class Words:
    """The dictionary. Safe to use from several threads."""

    def __init__(self, words: dict[str, Word], own: Path | None = None, skipped: int = 0) -> None:
        """``words`` by normalised tag, in the order of :meth:`find`; ``skipped`` lines of ``own`` made no sense."""
        self.own = own
        self.skipped = skipped
        self._lock = threading.Lock()
        self._index = _Index(words)

    @staticmethod
    def load(own: Path | None = None) -> Words:
        """The bundled words with those in the file ``own`` over them; an absent file holds none.

        Raises:
            DatasetError: ``own`` is there and can't be read at all. A damaged line is only counted in ``skipped``.
        """
        words, skipped = _with_own(own)
        return Words(words, own, skipped)

    def word(self, tag: str) -> Word | None:
        """The entry of ``tag``, or None when neither the bundled nor the own list holds it."""
        return self._index.words.get(normalise(tag))

    def zh(self, tag: str) -> str:
        """The Chinese to show for ``tag``, put together from a colour and a thing where only those are known; or ""."""
        key, index = normalise(tag), self._index
        word = index.words.get(key)
        return word.zh if word is not None else index.guesser.zh(key)

    def category(self, tag: str) -> Category:
        """What kind of trait ``tag`` is; of an unknown tag, what its last known words say, else OTHER."""
        key, index = normalise(tag), self._index
        word = index.words.get(key)
        return word.category if word is not None else index.guesser.category(key)

    def find(self, text: str, limit: int = 20) -> list[Word]:
        """At most ``limit`` words for what a person typed so far, in either language.

        Order: the whole name, its beginning, the beginning of a word in it, anywhere in it, all typed words in any
        order (English) or the same with 色 and 的 left out (Chinese); within each the most common first.
        """
        typed = _same(normalise(text))
        if not typed or limit <= 0:
            return []
        index = self._index
        found: dict[str, Word] = {}
        for part in (f"\n{typed}\n", f"\n{typed}", f" {typed}", typed):
            if len(found) < limit:
                found.update((word.tag, word) for names, word in index.haystack if part in names)
        if len(found) < limit:
            found.update((word.tag, word) for word in index.find_loosely(typed))
        return list(found.values())[:limit]

    def tags_for_zh(self, text: str) -> tuple[str, ...]:
        """The tags that ``text`` is a Chinese name of, () when of none: those that show it first, then by how common.

        粉色衬衫 gives "pink shirt"; so do 粉红色衬衫, 粉衬衫 and 粉色的衬衫. A colour and a thing that are both known
        make a tag even where the two together are not listed.
        """
        typed, index = _loose(text), self._index
        if not typed:
            return ()
        known = index.tags_by_name.get(typed)
        if known is not None:
            return known
        for colour, zh in index.guesser.colours:
            start = _loose(zh)
            if start and typed.startswith(start):
                things = (index.words[normalise(tag)] for tag in index.tags_by_name.get(typed[len(start) :], ()))
                tags = tuple(f"{colour} {thing.tag}" for thing in things if thing.category in COLOURED)
                if tags:
                    return tags
        return ()

    def add(self, tag: str, zh: str, category: Category | None = None) -> Word | None:
        """Keep the user's own Chinese for ``tag``, several names between semicolons; an empty ``zh`` takes it back.

        Returns the word as it now is, or None when a taken back one is not a bundled one either.

        Raises:
            DatasetError: there is no file for own words, ``tag`` is empty, or the file can't be written.
        """
        tag = " ".join(tag.split())
        if self.own is None or not normalise(tag):
            raise DatasetError("The word {tag!r} can't be added.", "Give a tag of at least one letter.", tag=tag)
        with self._lock:
            write_word(self.own, OwnLine(tag, category, split_names(zh)))
            words, self.skipped = _with_own(self.own)
            self._index = _Index(words)
        return self.word(tag)


class _Index:
    """The words and what is searched, which is made when it is first asked for: most runs never search."""

    def __init__(self, words: dict[str, Word]) -> None:
        self.words = words
        self.guesser = Guesser(words)

    @functools.cached_property
    def haystack(self) -> list[tuple[str, Word]]:
        """All names of each word, each between two line ends, in the words' order."""
        words = self.words
        lines = _same("\0".join("\n".join(("", key, *word.names, "")) for key, word in words.items()).lower())
        return list(zip(lines.split("\0"), words.values(), strict=True))

    @functools.cached_property
    def tags_by_name(self) -> dict[str, tuple[str, ...]]:
        """Tags by :func:`_loose` Chinese name: those that show it first, the most common first."""
        rows = [(place, name, word.tag) for word in self.words.values() for place, name in enumerate(word.names)]
        rows.sort(key=itemgetter(0))  # stable: of one place, the words' order
        by_name: dict[str, tuple[str, ...]] = {}
        for loose, (_, _, tag) in zip(_loose("\n".join(row[1] for row in rows)).split("\n"), rows, strict=True):
            tags = by_name.get(loose)
            if tags is None:
                by_name[loose] = (tag,)
            elif tag not in tags:
                by_name[loose] = (*tags, tag)
        return by_name

    def find_loosely(self, typed: str) -> list[Word]:
        """Words with every part of ``typed`` somewhere, or with ``typed`` in a :func:`_loose` name."""
        parts = sorted(typed.split(), key=len, reverse=True)  # the longest first leaves least for the others
        if len(parts) > 1:
            rows = self.haystack
            for part in parts:
                rows = [row for row in rows if part in row[0]]
            return [word for _, word in rows]
        loose = _loose(typed)
        if not loose or loose.isascii():
            return []
        found = (tag for name, tags in self.tags_by_name.items() if loose in name for tag in tags)
        return [self.words[normalise(tag)] for tag in found]


def _with_own(own: Path | None) -> tuple[dict[str, Word], int]:
    """The bundled words under those of ``own``, own ones first, and how many lines of it made no sense."""
    mine: dict[str, Word] = {}
    skipped = 0
    base = bundled()
    guesser = Guesser(base)
    for line in [] if own is None else read_lines(own):
        if is_nothing(line):
            continue
        entry = parse(line)
        if entry is None:
            skipped += 1
            continue
        key = normalise(entry.tag)
        old = base.get(key)
        category = entry.category or (old.category if old else guesser.category(key))
        names = tuple(dict.fromkeys((*entry.names, *(old.names if old else ()))))
        mine[key] = Word(old.tag if old else entry.tag, category, names, _OWN_RANK)
    return {**mine, **{key: word for key, word in base.items() if key not in mine}}, skipped


def _same(text: str) -> str:
    """``text`` with one spelling for what people spell in two ways."""
    return text.replace("褐", "棕").replace("（", "(").replace("）", ")")


def _loose(text: str) -> str:
    """A Chinese name without what people leave out or put in as they like: 粉衬衫, 粉色衬衫, 粉色的衬衫."""
    return _same(text.lower()).replace("色", "").replace("的", "").replace(" ", "")
