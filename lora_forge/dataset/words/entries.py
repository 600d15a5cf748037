"""One line of the dictionary, and the bundled lines."""

from __future__ import annotations

import functools
from enum import Enum
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).with_name("tags_zh.tsv")


class Category(str, Enum):
    """What kind of trait a tag names.

    Light and places are ``background``; lens, angle and sharpness by distance are ``framing``; ears, tails, wings,
    skin and scars are ``body``; make-up and beards are ``face``; hats, shoes, fabrics and patterns are ``clothing``.
    """

    SUBJECT = "subject"
    HAIR = "hair"
    EYES = "eyes"
    FACE = "face"
    BODY = "body"
    CLOTHING = "clothing"
    ACCESSORY = "accessory"
    POSE = "pose"
    EXPRESSION = "expression"
    FRAMING = "framing"
    BACKGROUND = "background"
    OBJECT = "object"
    ANIMAL = "animal"
    STYLE = "style"
    QUALITY = "quality"
    META = "meta"
    OTHER = "other"

    def __str__(self) -> str:
        return self.value


class Word(NamedTuple):
    """A tag, its Chinese names (the one to show first), and its place by how common it is (0: most common)."""

    tag: str
    category: Category
    names: tuple[str, ...]
    rank: int

    @property
    def zh(self) -> str:
        """The Chinese to show; "" when there is none."""
        return self.names[0] if self.names else ""


def normalise(tag: str) -> str:
    """The form under which a tag is looked up: small letters, spaces for underscores, no escapes, single spaces."""
    return " ".join(tag.lower().replace("_", " ").replace("\\", "").split())


@functools.lru_cache(maxsize=1)
def bundled() -> dict[str, Word]:
    """The bundled lines by :func:`normalise`, the most common first; a word's rank is its place in its category."""
    counts = dict.fromkeys(Category, 0)
    categories = {category.value: category for category in Category}
    words: list[tuple[str, Word]] = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        tag, name, zh = line.split("\t")
        category = categories[name]
        key = normalise(tag) if "_" in tag or "\\" in tag else tag  # the others are in that form already
        words.append((key, Word(tag, category, tuple(zh.split(";")), counts[category])))
        counts[category] += 1
    words.sort(key=lambda row: row[1].rank)  # stable: of one rank, the table's order of categories
    return dict(words)
