"""The fields of a run, bound to their widgets once: handlers get a :class:`Values`, never a row of positions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from lora_forge.i18n import word
from lora_forge.ui.proposal import KINDS, TOYWORLD
from lora_forge.ui.texts import Texts

PROOFS = ((word("Off"), "off"), (word("Weights"), "weights"), (word("Weights and a picture"), "picture"))


@dataclass(frozen=True)
class Values:
    """What the page says now."""

    language: str = "en"
    checkpoint: str = ""
    project: str = ""
    folder: str = ""
    kind: str = "person"
    name: str = ""
    trigger_word: str = ""
    repeats: int = 10
    epochs: int = 10
    resolution_px: int = 512
    settings: str = ""
    prove: str = "off"
    resume: bool = False


_NUMBERS = {field.name for field in dataclasses.fields(Values) if field.type in (int, "int")}


@dataclass(frozen=True, eq=False)
class Form:
    """The widget of each field of :class:`Values`."""

    language: Any
    checkpoint: Any
    project: Any
    folder: Any
    kind: Any
    name: Any
    trigger_word: Any
    repeats: Any
    epochs: Any
    resolution_px: Any
    settings: Any
    prove: Any
    resume: Any

    def components(self) -> set[Any]:
        """For an event's ``inputs``."""
        return {getattr(self, field.name) for field in dataclasses.fields(self)}

    def read(self, given: Mapping[Any, Any]) -> Values:
        """What an event brought. An emptied number is 0, which the settings refuse with a sentence."""
        found: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = given[getattr(self, field.name)]
            if field.name in _NUMBERS:
                found[field.name] = int(value or 0)
            elif field.name == "resume":
                found[field.name] = bool(value)
            else:
                found[field.name] = str(value or "").strip()
        return Values(**found)


def kind_field(texts: Texts, has_toyworld: bool) -> Any:
    """What is trained: the check-up of the photos, the traits and all defaults follow it."""
    kinds = (*KINDS, TOYWORLD) if has_toyworld else KINDS
    return texts.make(gr.Radio, {"label": word("Type"), "choices": kinds}, value="person", elem_id="lora_forge_kind")


def run_fields(texts: Texts) -> dict[str, Any]:
    """Widgets of a run: its name and the three other knobs."""
    made: dict[str, Any] = {}
    with gr.Row():
        made["name"] = texts.make(
            gr.Textbox,
            {"label": word("LoRA name"), "info": word("The files are NAME-000001, NAME-000002 and so on.")},
            elem_id="lora_forge_name",
        )
        made["trigger_word"] = texts.make(
            gr.Textbox,
            {"label": word("Trigger word"), "info": word("The word in a prompt that calls what is learned.")},
            elem_id="lora_forge_trigger",
        )
    with gr.Row():
        made["repeats"] = texts.make(
            gr.Number,
            {
                "label": word("Repeats"),
                "info": word("How often each photo is seen in an epoch. Not alike: raise it. Stiff: lower it."),
            },
            value=10,
            precision=0,
            elem_id="lora_forge_repeats",
        )
        made["epochs"] = texts.make(
            gr.Number,
            {"label": word("Epochs"), "info": word("One numbered file each.")},
            value=10,
            precision=0,
            elem_id="lora_forge_epochs",
        )
        made["resolution_px"] = texts.make(
            gr.Number,
            {"label": word("Resolution"), "info": word("In pixels; more takes memory and time.")},
            value=512,
            precision=0,
            elem_id="lora_forge_resolution",
        )
    return made


def folded_fields(texts: Texts) -> dict[str, Any]:
    """Widgets that most never need."""
    return {
        "settings": texts.make(
            gr.Textbox,
            {
                "label": word("Settings, one a line: key=value"),
                "info": word("For example rank=64 or gradient_checkpointing=true; they win over the type's own."),
            },
            lines=4,
            placeholder="rank=64\nlearning_rate=1e-4",
            elem_id="lora_forge_settings",
        ),
        "prove": texts.make(
            gr.Radio,
            {
                "label": word("Prove that the host is left as it was"),
                "info": word("Compares before and after. A picture takes as long as one in txt2img, twice."),
                "choices": PROOFS,
            },
            value="off",
            elem_id="lora_forge_prove",
        ),
        "resume": texts.make(
            gr.Checkbox,
            {"label": word("Go on with the stopped run of this name")},
            value=False,
            elem_id="lora_forge_resume",
        ),
    }
