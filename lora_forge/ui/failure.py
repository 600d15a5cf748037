"""The tab when the tab can't be built: what went wrong, which parts are missing, and the button that adds them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lora_forge.errors import LoraForgeError
from lora_forge.i18n import LANGUAGES, say, word
from lora_forge.ui import markup, parts_card
from lora_forge.ui.dialect import html
from lora_forge.ui.texts import Texts, say_error


def failure_page(problem: BaseException) -> Any:
    """Needs nothing of ours but words and the list of parts."""
    texts = Texts("en")
    with gr.Blocks(analytics_enabled=False) as page, gr.Column(elem_id="lora_forge"):
        html("<h2>LoRA Forge</h2>")
        for code in LANGUAGES:
            html(markup.note(_sentence(problem, code), "error"))
        language = gr.Radio(
            [(own, code) for code, own in LANGUAGES.items()], value="en", show_label=False, container=False
        )
        parts_card.build(texts, language)
    return page


def _sentence(problem: BaseException, language: str) -> str:
    if isinstance(problem, LoraForgeError):
        return say_error(problem, language)
    text = word("LoRA Forge can't open: {kind}: {problem}. The console has the details; add what is missing below.")
    return say(text, language, kind=type(problem).__name__, problem=str(problem))
