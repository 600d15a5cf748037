"""Words in English and Simplified Chinese. English text is its own key; a missing entry shows the English.

``zh/`` holds one file an area and one entry a line. A test holds that every text marked with :func:`word` or said with
:func:`say` is in it, and that an entry's ``{named}`` places are those of its English.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

LANGUAGES = {"en": "English", "zh": "简体中文"}
"""By code, each in its own words."""


@lru_cache(maxsize=1)
def catalogue() -> dict[str, str]:
    """Chinese by English."""
    files = sorted(resources.files(__name__).joinpath("zh").iterdir(), key=lambda file: file.name)
    parts = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.name.endswith(".json")]
    return {english: chinese for part in parts for english, chinese in part.items()}


def say(text: str, language: str, /, **values: object) -> str:
    """``text`` in ``language``, with its ``{named}`` places filled from ``values`` where there are any.

    A value that is a text of ours (:class:`Said`, :class:`Several`) is said in the same language; any other is put in
    as it is, braces and all.
    """
    words = catalogue().get(text, text) if language == "zh" else text
    return words.format(**{name: told(value, language) for name, value in values.items()}) if values else words


def told(value: object, language: str) -> object:
    """``value`` in ``language`` where it is a text of ours, else as it is."""
    return value.text(language) if isinstance(value, (Said, Several)) else value


def word(text: str) -> str:
    """``text`` as it is: marks English that is said later, so that the catalogue's test finds it."""
    return text


@dataclass(frozen=True)
class Said:
    """A sentence, or a part of one, that can be said in any language: a ``template`` with ``{named}`` places.

    Its ``values`` may be such texts themselves. ``str()`` gives the English, so that it fits wherever text does.
    """

    template: str
    values: Mapping[str, object] = field(default_factory=dict)

    def text(self, language: str = "en") -> str:
        """The sentence filled in."""
        values = {name: told(value, language) for name, value in self.values.items()}
        return say(self.template, language).format(**values)

    def __str__(self) -> str:
        return self.text()


# How Chinese sets apart what English does with the key.
_BETWEEN = {", ": "、", "; ": "；", ". ": "。", " ": "", " or ": "、", " and no ": "、"}


@dataclass(frozen=True)
class Several:
    """Texts or names in a row, with what stands ``between`` them: a comma, or a blank between whole sentences."""

    parts: tuple[object, ...]
    between: str = ", "

    def text(self, language: str = "en") -> str:
        """All of them."""
        between = _BETWEEN.get(self.between, self.between) if language == "zh" else self.between
        return between.join(str(told(part, language)) for part in self.parts)

    def __str__(self) -> str:
        return self.text()


def some_of(names: Sequence[str], most: int = 5) -> Said | Several:
    """The first of ``names``, and how many more there are."""
    shown = Several(tuple(names[:most]))
    if len(names) <= most:
        return shown
    return Said(word("{names} and {count} more"), {"names": shown, "count": len(names) - most})


Text = Said | Several
"""What :meth:`Said.text` can be asked of."""
