"""The steps across the top. One section is shown at a time, by the script; without a script all are."""

from __future__ import annotations

from html import escape

from lora_forge.i18n import say, word

STEPS = {
    "photos": word("Photos"),
    "tags": word("Tags"),
    "train": word("Train"),
    "test": word("Test"),
    "keep": word("Keep"),
}


def bar(language: str) -> str:
    """A button a step."""
    buttons = "".join(
        f'<button type="button" data-step="{name}" aria-current="false">'
        f"<i>{number}</i>{escape(say(text, language))}</button>"
        for number, (name, text) in enumerate(STEPS.items(), start=1)
    )
    return f'<nav id="lora_forge_steps_bar">{buttons}</nav>'
