"""The way into the host's txt2img: hidden fields that the script fills and presses; nothing without a txt2img."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lora_forge.ui.around import Around
from lora_forge.ui.dialect import on


def build(around: Around) -> None:
    """``wished`` takes an infotext; ``complete`` puts the person's own settings to it; ``paste`` is the host's."""
    txt2img = around.txt2img
    if txt2img is None:
        return
    with gr.Row(elem_classes=["lf-hidden"]):
        wished = gr.Textbox("", elem_id="lora_forge_wished", show_label=False)
        infotext = gr.Textbox("", elem_id="lora_forge_infotext", show_label=False)
        complete = gr.Button("complete", elem_id="lora_forge_complete")
        paste = gr.Button("paste", elem_id="lora_forge_paste")
    txt2img.bind(paste, infotext)

    def completed(given: dict[Any, Any]) -> dict[Any, Any]:
        text = str(given[wished] or "")
        return {infotext: txt2img.completed(text) if text else ""}

    on(complete.click, completed, {wished}, [infotext])
