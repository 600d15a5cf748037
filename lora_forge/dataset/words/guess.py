"""What an unknown tag probably is, from the known words inside it."""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from lora_forge.dataset.words.entries import Category, Word

_QUALIFIER = re.compile(r"\s*\(([^()]*)\)$")
_QUALIFIERS = {"style": Category.STYLE, "medium": Category.STYLE, "flower": Category.OBJECT, "weapon": Category.OBJECT}
# What stands before one of these is the thing; what follows says where or whose it is.
_PREPOSITIONS = re.compile(r" (?:of|on|in|with|at|over|under|behind|around|between|from|for|without|by|and) ")
_LIMBS = frozenset(
    (
        "hand",
        "hands",
        "arm",
        "arms",
        "finger",
        "fingers",
        "leg",
        "legs",
        "foot",
        "feet",
        "knee",
        "knees",
        "head",
        "face",
    )
)
_ACTS = frozenset(
    ("holding", "looking", "sitting", "standing", "lying", "leaning", "hugging", "playing", "riding", "carrying")
)
_SHADES = {"light": "浅", "dark": "深", "pale": "淡", "bright": "亮", "deep": "深"}
# Words other than colours that Chinese, too, puts before a thing as they are.
_MODIFIERS = frozenset(
    (
        "striped",
        "plaid",
        "checkered",
        "argyle",
        "houndstooth",
        "camouflage",
        "leather",
        "denim",
        "lace",
        "silk",
        "satin",
        "velvet",
        "wool",
        "cotton",
        "linen",
        "chiffon",
        "tulle",
        "knit",
        "gradient",
        "transparent",
        "metallic",
        "glass",
        "wooden",
    )
)
# Kinds of things that have a colour one would name.
COLOURED = frozenset(
    (
        Category.CLOTHING,
        Category.HAIR,
        Category.EYES,
        Category.ACCESSORY,
        Category.OBJECT,
        Category.ANIMAL,
        Category.BACKGROUND,
        Category.BODY,
    )
)


class Guesser:
    """Guesses over ``words``, by normalised tag."""

    def __init__(self, words: Mapping[str, Word]) -> None:
        self._words = words
        self._endings: dict[str, Category] | None = None

    def category(self, tag: str) -> Category:
        """The category of a normalised tag that ``words`` lacks; OTHER when nothing in it is known.

        The longest known ending decides ("turquoise shirt": shirt), then what most tags with the same last word are.
        """
        qualifier = _QUALIFIER.search(tag)
        if qualifier is not None:
            known = _QUALIFIERS.get(qualifier[1]) or self._known(tag[: qualifier.start()])
            return known or Category.OTHER
        first = tag.split(" ", 1)[0]
        if first in _ACTS and " " in tag:
            return Category.POSE
        thing = _PREPOSITIONS.split(tag, maxsplit=1)[0]
        if thing != tag and thing in _LIMBS:
            return Category.POSE
        return self._known(thing) or Category.OTHER

    def zh(self, tag: str) -> str:
        """The Chinese of a colour (or pattern, or fabric) and a thing that are both known, put together; else ""."""
        for before, after in _splits(tag):
            thing = self._words.get(after)
            if thing is None or thing.category not in COLOURED or not thing.names:
                continue
            modifier = self.modifier(before)
            if modifier:
                return modifier + thing.zh
        return ""

    def modifier(self, words: str) -> str:
        """The Chinese of a colour, pattern or fabric that may stand before a thing; else ""."""
        if words in _MODIFIERS and words in self._words:
            return self._words[words].zh
        shade, _, rest = words.partition(" ")
        return self._colour(words) or (_SHADES[shade] + self._colour(rest) if shade in _SHADES and rest else "")

    def _colour(self, name: str) -> str:
        """A colour's Chinese, or ""; "peach (color)" is in the list under that name, "peach" is the fruit."""
        word = self._words.get(f"{name} (color)") or self._words.get(name)
        return word.zh if word is not None and is_colour(word) else ""

    @functools.cached_property
    def colours(self) -> list[tuple[str, str]]:
        """Every known colour's name and Chinese, with a light and a dark one of each."""
        known = [(_QUALIFIER.sub("", tag), word) for tag, word in self._words.items() if is_colour(word)]
        shaded = [(tag, word) for tag, word in known if not tag.startswith(("light ", "dark "))]
        return [(tag, name) for tag, word in known for name in word.names] + [
            (f"{shade} {tag}", _SHADES[shade] + word.zh) for tag, word in shaded for shade in ("light", "dark")
        ]

    def _known(self, thing: str) -> Category | None:
        for _, ending in (("", thing), *_splits(thing)):
            word = self._words.get(ending) or self._singular(ending)
            # A last word that is a colour, or a mere letter, says nothing about the whole.
            if word is not None and (ending == thing or (word.category is not Category.OTHER and len(ending) > 1)):
                return word.category
        return self._ending(thing.rsplit(" ", 1)[-1])

    def _singular(self, thing: str) -> Word | None:
        if len(thing) < 4 or not thing.endswith("s"):
            return None
        return self._words.get(thing[:-1]) or (self._words.get(thing[:-2]) if thing.endswith("es") else None)

    def _ending(self, last: str) -> Category | None:
        if self._endings is None:
            self._endings = _common_endings(self._words)
        return self._endings.get(last)


def is_colour(word: Word) -> bool:
    """Whether a word is a colour's name."""
    return word.category is Category.OTHER and word.zh.endswith("色") and word.tag != "color"


def _splits(tag: str) -> Iterator[tuple[str, str]]:
    """``tag`` cut in two at each space, the longest ending first."""
    start = tag.find(" ")
    while start >= 0:
        yield tag[:start], tag[start + 1 :]
        start = tag.find(" ", start + 1)


def _common_endings(words: Mapping[str, Word]) -> dict[str, Category]:
    """Last words that several tags share, most of them in one category."""
    counts: defaultdict[str, Counter[Category]] = defaultdict(Counter)
    for tag, word in words.items():
        _, space, last = tag.rpartition(" ")
        if space and last.isalpha():
            counts[last][word.category] += 1
    common = {last: count.most_common(1)[0] for last, count in counts.items()}
    return {last: best for last, (best, n) in common.items() if n >= 2 and 2 * n > sum(counts[last].values())}
