"""What a page may tell a run, read from its JSON."""

from __future__ import annotations

from typing import Any

from lora_forge.events import AnyCommand, Command, NewPrompts
from lora_forge.web.answers import RefusedError, field

PREVIEW_PROMPTS = "preview_prompts"
MOST_PROMPTS = 8
MOST_LETTERS = 2000


def command_of(values: dict[str, Any]) -> AnyCommand:
    """``{"command": "stop"}``: one of :class:`Command`; or ``{"command": "preview_prompts", "prompts": [...]}``.

    Raises:
        RefusedError: it is neither.
    """
    told = field(values, "command", str)
    if told == PREVIEW_PROMPTS:
        return NewPrompts(_prompts(field(values, "prompts", list)))
    known = {command.value: command for command in Command}
    if told not in known:
        names = [*known, PREVIEW_PROMPTS]
        raise RefusedError(400, "There is no command {word!r}.", "Say one of {known}.", word=told, known=names)
    return known[told]


def _prompts(given: list[Any]) -> tuple[str, ...]:
    """Each on one line, empty ones left out."""
    if not all(isinstance(prompt, str) and len(prompt) <= MOST_LETTERS for prompt in given):
        raise RefusedError(400, "A preview prompt is a text of at most {most} letters.", most=MOST_LETTERS)
    prompts = tuple(line for prompt in given if (line := " ".join(prompt.split())))
    if len(prompts) > MOST_PROMPTS:
        what = "{count} preview prompts are too many: every one is drawn each time."
        raise RefusedError(400, what, "Give {most} at most.", count=len(prompts), most=MOST_PROMPTS)
    return prompts
