"""What is missing or broken, why it matters, and a button that adds it. Nothing else of ours is needed to show this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from lora_forge import parts
from lora_forge.i18n import say, word
from lora_forge.ui import markup
from lora_forge.ui.dialect import html, on, update
from lora_forge.ui.texts import Texts

_STATES = {"missing": word("missing"), "broken": word("broken")}


def card(found: Sequence[parts.Part], language: str) -> str:
    """The needed parts that are not there, as HTML; empty when all are."""
    bad = [part for part in found if part.is_needed and part.state != "present"]
    if not bad:
        return ""
    title = say("Some parts are not there. Training starts when they are.", language)
    return markup.note(title, "error") + "".join(_one(part, language) for part in bad)


def card_now(language: str) -> str:
    """:func:`card` of what is there now."""
    return card(parts.examine(), language)


def _one(part: parts.Part, language: str) -> str:
    state = say(_STATES.get(part.state, part.state), language)
    rows = [(f"{part.name} {part.version}".strip(), f"{state}. {say(part.why, language)}")]
    if part.detail:
        rows.append((say("It says", language), part.detail))
    if part.remedy:
        rows.append((say("To do", language), say(part.remedy, language)))
    return markup.facts(rows) + (markup.code(part.command) if part.command else "")


def build(texts: Texts, language: Any) -> Any:
    """The card with its button, and a fold for the optional parts; returns the card's HTML component.

    ``language``: the component that holds the page's language.
    """
    found = parts.examine()
    shown = html(card(found, texts.language), elem_id="lora_forge_parts")
    needed = [part.name for part in found if part.is_needed and part.can_install]
    install = texts.make(
        gr.Button, {"value": word("Install")}, variant="primary", visible=bool(needed), elem_id="lora_forge_install"
    )
    said = html("", elem_id="lora_forge_install_said")
    on(
        install.click,
        lambda chosen: _installed(needed, chosen, install, shown, said),
        [language],
        [install, shown, said],
    )
    _optional(texts, language, found)
    return shown


def _installed(names: list[str], language: str, install: Any, shown: Any, said: Any) -> dict[Any, Any]:
    sentence = parts.install(names)
    found = parts.examine()
    is_left = any(part.is_needed and part.can_install for part in found)
    return {
        said: markup.note(say(sentence, language)),
        shown: card(found, language),
        install: update(visible=is_left),
    }


def _optional(texts: Texts, language: Any, found: Sequence[parts.Part]) -> None:
    absent = [part for part in found if not part.is_needed and part.can_install]
    if not absent:
        return
    with texts.make(gr.Accordion, {"label": word("Optional parts")}, open=False, elem_id="lora_forge_optional"):
        rows = html(_rows(absent, texts.language))
        chosen = texts.make(gr.CheckboxGroup, {"label": word("Add")}, choices=[part.name for part in absent], value=[])
        install = texts.make(gr.Button, {"value": word("Install what is ticked")})
        said = html("")
    on(language.change, lambda now: _rows(absent, now), [language], [rows])
    on(
        install.click,
        lambda names, now: markup.note(say(parts.install(names), now)) if names else "",
        [chosen, language],
        [said],
    )


def _rows(found: Sequence[parts.Part], language: str) -> str:
    return markup.facts((part.name, say(part.why, language)) for part in found)
