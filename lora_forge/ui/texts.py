"""Components whose words change with the language, without a reload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lora_forge.errors import LoraForgeError
from lora_forge.events import text_of
from lora_forge.i18n import say
from lora_forge.ui.dialect import html, update


@dataclass(frozen=True)
class Framed:
    """An English text shown in one HTML element."""

    text: str
    tag: str = "p"


Choices = Sequence[tuple[str, str]]
"""(English, value) of each choice."""

Words = dict[str, "str | Choices | Framed"]
"""English by property, such as ``label`` or ``info``."""


class Texts:
    """Makes components with words in the page's language, and knows them when it changes."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._made: dict[Any, Words] = {}

    def make(self, kind: Callable[..., Any], words: Words, **more: Any) -> Any:
        """``kind(**words, **more)``, the words translated."""
        component = kind(**_said(words, self.language), **more)
        self._made[component] = words
        return component

    def html(self, text: str, tag: str = "p", **more: Any) -> Any:
        """``text`` as an HTML block of one element."""
        return self.make(html, {"value": Framed(text, tag)}, **more)

    @property
    def components(self) -> list[Any]:
        """What :meth:`updates` changes."""
        return list(self._made)

    def updates(self, language: str) -> dict[Any, Any]:
        """All components in another language."""
        return {component: update(**_said(words, language)) for component, words in self._made.items()}


def _said(words: Words, language: str) -> dict[str, Any]:
    return {name: _one(text, language) for name, text in words.items()}


def _one(text: str | Choices | Framed, language: str) -> Any:
    if isinstance(text, str):
        return say(text, language)
    if isinstance(text, Framed):
        return f"<{text.tag}>{say(text.text, language)}</{text.tag}>"
    return [(say(label, language), value) for label, value in text]


def say_error(error: LoraForgeError, language: str) -> str:
    """What happened and what to do, in ``language``."""
    return text_of(error).text(language)
