"""What the Train form says, kept in PROJECT/train_form.json: a reload, another browser or a restart shows it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lora_forge import atomic
from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError
from lora_forge.presets import KINDS
from lora_forge.presets.fields import keys

FILE = "train_form.json"


@dataclass(frozen=True)
class Draft:
    """``values``: only what was changed from the proposed defaults, as typed; some of it may be out of range."""

    kind: str
    name: str = ""
    trigger_word: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "kind": self.kind,
            "name": self.name,
            "trigger_word": self.trigger_word,
            "values": {key: value for key, value in self.values.items() if key in keys()},
        }


def load_draft(project: Project) -> Draft | None:
    """What was kept; None where nothing was, or what was can't be read (the form then shows its defaults)."""
    try:
        plain = json.loads((project.root / FILE).read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(plain, dict) or plain.get("kind") not in KINDS or not isinstance(plain.get("values"), dict):
        return None
    name, word = plain.get("name", ""), plain.get("trigger_word", "")
    values = {key: value for key, value in plain["values"].items() if key in keys()}
    return Draft(plain["kind"], name if isinstance(name, str) else "", word if isinstance(word, str) else "", values)


def save_draft(project: Project, draft: Draft) -> None:
    """Keep it.

    Raises:
        ConfigError: there is no such kind, or a value that JSON has no form for.
        OSError: the project's folder can't be written.
    """
    if draft.kind not in KINDS:
        raise ConfigError(
            "There is no preset {kind!r}.", "Choose one of {kinds}.", kind=draft.kind, kinds=", ".join(KINDS)
        )
    try:
        atomic.write_json(project.root / FILE, draft.plain())
    except (TypeError, ValueError) as cause:
        raise ConfigError("These settings can't be kept: {cause}.", cause=cause) from cause
