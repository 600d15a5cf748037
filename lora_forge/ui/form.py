"""The fields that gradio draws, bound to their widgets once: handlers get :class:`Values`, no row of positions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from lora_forge.i18n import word
from lora_forge.presets import ABOUT
from lora_forge.ui.texts import Texts


@dataclass(frozen=True)
class Values:
    """What the page says now."""

    language: str = "en"
    checkpoint: str = ""
    project: str = ""
    folder: str = ""
    kind: str = "person"


@dataclass(frozen=True, eq=False)
class Form:
    """The widget of each field of :class:`Values`."""

    language: Any
    checkpoint: Any
    project: Any
    folder: Any
    kind: Any

    def components(self) -> set[Any]:
        """For an event's ``inputs``."""
        return {getattr(self, field.name) for field in dataclasses.fields(self)}

    def read(self, given: Mapping[Any, Any]) -> Values:
        """What an event brought."""
        names = (field.name for field in dataclasses.fields(self))
        return Values(**{name: str(given[getattr(self, name)] or "").strip() for name in names})


def kind_field(texts: Texts, has_toyworld: bool) -> Any:
    """What is trained: the check-up of the photos, the traits and all defaults follow it."""
    kinds = tuple((about.label, kind) for kind, about in ABOUT.items() if not about.is_toy or has_toyworld)
    return texts.make(gr.Radio, {"label": word("Type"), "choices": kinds}, value="person", elem_id="lora_forge_kind")
