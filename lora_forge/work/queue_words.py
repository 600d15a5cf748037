"""What a page says of a run that waits."""

from __future__ import annotations

from typing import Any

from lora_forge.i18n import say, word
from lora_forge.presets.fields import label_of
from lora_forge.work.packing import text_of_packed
from lora_forge.work.queue_file import Entry
from lora_forge.work.requests import with_values

_MOST = 4
_GOES_ON = word("Goes on where it was.")
_AS_PROPOSED = word("All settings as proposed.")
_CHANGED = word("Changed: {changed}.")
_CHANGED_MORE = word("Changed: {changed} and {count} more.")


def entry_row(entry: Entry, language: str) -> dict[str, Any]:
    """``entry`` as plain values; ``problem`` is None, or why it could not begin."""
    request = entry.request
    return {
        "id": entry.id,
        "project": request.project.name,
        "name": request.name,
        "kind": request.kind,
        "sentence": _sentence(entry, language),
        "problem": None if entry.problem is None else text_of_packed(entry.problem, language),
    }


def _sentence(entry: Entry, language: str) -> str:
    settings = with_values(entry.request).settings
    if entry.request.resume and not settings:
        return say(_GOES_ON, language)
    if not settings:
        return say(_AS_PROPOSED, language)
    shown = ", ".join(
        f"{label_of(key, language)} {_short(value, language)}" for key, value in [*settings.items()][:_MOST]
    )
    more = len(settings) - _MOST
    if more > 0:
        return say(_CHANGED_MORE, language, changed=shown, count=more)
    return say(_CHANGED, language, changed=shown)


def _short(value: Any, language: str) -> str:
    if isinstance(value, bool):
        return say("On" if value else "Off", language)
    parts = value if isinstance(value, list) else [value]
    text = ", ".join(f"{part:g}" if isinstance(part, float) else str(part) for part in parts)
    return text if len(text) <= 40 else text[:39] + "…"
