"""The last step: the X/Y/Z plot in txt2img by one button, or its text for those who have none."""

from __future__ import annotations

import dataclasses
import json
import shlex
from dataclasses import dataclass
from typing import Any

import gradio as gr

from lora_forge.errors import ConfigError, LoraForgeError
from lora_forge.evaluate import xyz
from lora_forge.evaluate.plan import GridPlan, parse_range, parse_strengths
from lora_forge.i18n import say, word
from lora_forge.ports import Desk
from lora_forge.ui import markup
from lora_forge.ui.around import Around
from lora_forge.ui.dialect import html, on
from lora_forge.ui.form import Form, Values
from lora_forge.ui.shop import base_of
from lora_forge.ui.texts import Texts, say_error

PASTE = "(text, expected) => { window.loraForge.test(text, expected, %s); return []; }"


@dataclass(frozen=True, eq=False)
class GridPanel:
    """Widgets of the grid."""

    lora: Any
    epochs: Any
    strengths: Any
    baseline: Any
    prompt: Any
    negative: Any
    size_px: Any
    steps: Any
    seed: Any
    message: Any

    def components(self) -> set[Any]:
        """For an event's ``inputs``."""
        return {getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "message"}

    def proposed(self) -> list[Any]:
        """What choosing a LoRA changes."""
        return [self.epochs, self.prompt, self.negative, self.size_px, self.message]


def build(texts: Texts, desk: Desk, form: Form, around: Around) -> GridPanel:
    """The panel with its events."""
    panel = _fields(texts)
    inputs = form.components() | panel.components()
    on(
        panel.lora.change,
        lambda given: proposed(desk, panel, given[panel.lora], form.read(given)),
        inputs,
        panel.proposed(),
    )
    if around.txt2img is None:
        shown = texts.make(gr.Button, {"value": word("Show the command")}, elem_id="lora_forge_grid_command")
        on(
            shown.click,
            lambda given: {panel.message: _command(desk, panel, form, around, given)},
            inputs,
            [panel.message],
        )
    else:
        _buttons(texts, desk, form, panel, around)
    return panel


def _fields(texts: Texts) -> GridPanel:
    with gr.Row():
        lora = texts.make(gr.Dropdown, {"label": word("LoRA")}, choices=[], elem_id="lora_forge_grid_lora")
        epochs = texts.make(
            gr.Textbox, {"label": word("Epochs across")}, placeholder="1-10", elem_id="lora_forge_grid_epochs"
        )
        strengths = texts.make(
            gr.Textbox, {"label": word("Strengths down")}, value="0.1-1.0", elem_id="lora_forge_grid_strengths"
        )
    with gr.Row():
        size_px, steps, seed = (
            texts.make(gr.Number, {"label": label}, value=value, precision=0, elem_id=f"lora_forge_grid_{name}")
            for label, value, name in (
                (word("Size in pixels"), 512, "size"),
                (word("Sampler steps"), 20, "steps"),
                (word("Seed"), 1, "seed"),
            )
        )
    prompt = texts.make(
        gr.Textbox,
        {
            "label": word("Prompt"),
            "info": word("NUM and STRENGTH in the tag are where the grid puts each epoch and strength."),
        },
        lines=2,
        elem_id="lora_forge_grid_prompt",
    )
    negative = texts.make(gr.Textbox, {"label": word("Negative prompt")}, elem_id="lora_forge_grid_negative")
    baseline = texts.make(
        gr.Checkbox,
        {"label": word("Also strength 0: the checkpoint without the LoRA, to compare with")},
        value=False,
        elem_id="lora_forge_grid_baseline",
    )
    message = html("", elem_id="lora_forge_grid_message")
    return GridPanel(lora, epochs, strengths, baseline, prompt, negative, size_px, steps, seed, message)


def _buttons(texts: Texts, desk: Desk, form: Form, panel: GridPanel, around: Around) -> None:
    txt2img = around.txt2img
    assert txt2img is not None
    with gr.Row():
        start = texts.make(
            gr.Button, {"value": word("Test in txt2img")}, variant="primary", elem_id="lora_forge_grid_start"
        )
        fill = texts.make(gr.Button, {"value": word("Only fill in")}, elem_id="lora_forge_grid_fill")
    with gr.Row(elem_classes=["lf-hidden"]):
        infotext = gr.Textbox("", elem_id="lora_forge_infotext", show_label=False)
        expected = gr.Textbox("", elem_id="lora_forge_expected", show_label=False)
        paste = gr.Button("paste", elem_id="lora_forge_paste")  # never seen
    txt2img.bind(paste, infotext)
    inputs = form.components() | panel.components()
    outputs = [infotext, expected, panel.message]

    def made(given: dict[Any, Any]) -> dict[Any, Any]:
        values = form.read(given)
        try:
            plan = plan_of(desk, panel, values, given)
            text = txt2img.completed(xyz.infotext(plan))
        except LoraForgeError as problem:
            return {
                infotext: "",
                expected: "",
                panel.message: markup.note(say_error(problem, values.language), "error"),
            }
        return {infotext: text, expected: json.dumps(_expected(plan)), panel.message: ""}

    for button, presses in ((start, "true"), (fill, "false")):
        done = on(button.click, made, inputs, outputs)
        on(done.then, None, [infotext, expected], js=PASTE % presses)


def plan_of(desk: Desk, panel: GridPanel, values: Values, given: dict[Any, Any]) -> GridPlan:
    """The grid that the panel asks for; its files are there.

    Raises:
        ConfigError, LoraFileError: no LoRA is chosen, a field can't be read, a file is missing.
    """
    name = str(given[panel.lora] or "").strip()
    if not name:
        raise ConfigError("No LoRA is chosen.", "Choose one that was trained; a new one appears when it is saved.")
    plan = xyz.default_plan(
        name,
        "",
        values.kind,
        base_of(desk, values.language).family,
        parse_range(str(given[panel.epochs] or "")),
        parse_strengths(str(given[panel.strengths] or "")),
        has_baseline=bool(given[panel.baseline]),
        seed=int(given[panel.seed] or 0),
    )
    size_px = int(given[panel.size_px] or 0)
    plan = dataclasses.replace(
        plan,
        prompt=str(given[panel.prompt] or "").strip(),
        negative_prompt=str(given[panel.negative] or "").strip(),
        width=size_px,
        height=size_px,
        steps=int(given[panel.steps] or 0),
    ).named(name)
    xyz.check_files(plan, desk.lora_dir())
    return plan


def _expected(plan: GridPlan) -> dict[str, str]:
    """What txt2img's fields hold once the paste has arrived."""
    axes = xyz.axes_of(plan)
    return {"prompt": axes.prompt, "x": xyz.csv_line(axes.x), "y": xyz.csv_line(axes.y)}


def proposed(desk: Desk, panel: GridPanel, name: str | None, values: Values) -> dict[Any, Any]:
    """What suits a LoRA that was just chosen: its epochs, a prompt with its trigger word, the family's size."""
    epochs = xyz.trained(desk.lora_dir()).get(name or "", ())
    if not name or not epochs:
        return {panel.message: ""}
    family = base_of(desk, values.language).family
    style = xyz.style_of(values.kind, family)
    trigger_word = xyz.trigger_word_of(desk.lora_dir(), name, epochs[-1])
    return {
        panel.epochs: xyz.range_text(epochs),
        panel.prompt: xyz.default_prompt(name, trigger_word, values.kind, family),
        panel.negative: style.negative,
        panel.size_px: style.size_px,
        panel.message: "",
    }


def _command(desk: Desk, panel: GridPanel, form: Form, around: Around, given: dict[Any, Any]) -> str:
    """The grid as a command line, where there is no txt2img."""
    values = form.read(given)
    try:
        plan = plan_of(desk, panel, values, given)
    except LoraForgeError as problem:
        return markup.note(say_error(problem, values.language), "error")
    strengths = ",".join(f"{strength:g}" for strength in plan.strengths)
    words = ["--loras", str(desk.lora_dir()), "--name", plan.name, "--out", f"{plan.name}.png"]
    words += ["--prompt", plan.prompt, "--negative", plan.negative_prompt]
    words += ["--epochs", str(given[panel.epochs]), "--strengths", strengths]
    words += ["--seed", str(plan.seeds[0]), "--steps", str(plan.steps)]
    words += ["--width", str(plan.width), "--height", str(plan.height)]
    text = say("Run this in a terminal; the picture is written beside you:", values.language)
    return markup.note(text) + markup.code(f"{around.command()} {shlex.join(words)}")
