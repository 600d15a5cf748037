"""Presets of a person's own: what was changed from a kind's defaults, one JSON file each in DATA_ROOT/presets.

A file that is replaced or removed goes to DATA_ROOT/trash/presets; nothing a person made is deleted.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_forge import atomic
from lora_forge.errors import ConfigError
from lora_forge.presets.fields import keys
from lora_forge.presets.kinds import KINDS

FORMAT = "lora-forge-preset"
VERSION = 1
_MOST_BYTES = 120
_MOST_PRESETS = 1000
_NEVER = frozenset('<>:"/\\|?*')
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in range(10))}
)


@dataclass(frozen=True)
class UserPreset:
    """``values``: only what differs from the defaults of ``kind``."""

    name: str
    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As its file holds it."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "kind": self.kind,
            "values": dict(self.values),
        }


class Presets:
    """The presets in ``data_root``."""

    def __init__(self, data_root: Path) -> None:
        self._folder, self._trash = data_root / "presets", data_root / "trash" / "presets"

    def every(self) -> list[UserPreset]:
        """All that can be read, by name."""
        files = sorted(self._folder.glob("*.json"))[:_MOST_PRESETS] if self._folder.is_dir() else []
        found = (_read(path) for path in files)
        return sorted((one for one in found if one is not None), key=lambda one: one.name.casefold())

    def one(self, name: str) -> UserPreset:
        """The preset of that name.

        Raises:
            ConfigError: there is none, or the name can't be one.
        """
        found = _read(self._place(name))
        if found is None:
            raise ConfigError("There is no preset of yours named {name!r}.", "Reload the list.", name=name)
        return found

    def save(self, preset: UserPreset) -> None:
        """Keep it; one of the same name goes to the trash.

        Raises:
            ConfigError: the name can't be that of a file, the kind is unknown, or a value is no setting's.
            OSError: the folder can't be written.
        """
        place = self._place(preset.name)
        if preset.kind not in KINDS:
            raise ConfigError(
                "There is no preset {kind!r}.", "Choose one of {kinds}.", kind=preset.kind, kinds=", ".join(KINDS)
            )
        for key in preset.values:
            if key not in keys():
                raise ConfigError("{name} is no setting that can be changed here.", name=key)
        try:
            text = json.dumps(preset.plain(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        except (TypeError, ValueError) as cause:
            raise ConfigError("These settings can't be kept: {cause}.", cause=cause) from cause
        if place.exists():
            self._put_away(place, keeps=True)
        atomic.write_text(place, text)

    def remove(self, name: str) -> None:
        """Move it to the trash.

        Raises:
            ConfigError: there is none of that name.
            OSError: it can't be moved.
        """
        self.one(name)
        self._put_away(self._place(name))

    def _place(self, name: str) -> Path:
        is_plain = name == name.strip(" .") and not any(char in _NEVER or not char.isprintable() for char in name)
        is_short = 0 < len(name.encode("utf-8", errors="replace")) <= _MOST_BYTES
        if not is_plain or not is_short or name.partition(".")[0].casefold() in _DEVICES:
            raise ConfigError(
                "A preset can't be called {name!r}.", "Use letters, digits, spaces inside, - and _.", name=name[:200]
            )
        return self._folder / f"{name}.json"

    def _put_away(self, place: Path, keeps: bool = False) -> None:
        self._trash.mkdir(parents=True, exist_ok=True)
        stamp, number = time.strftime("%Y%m%d-%H%M%S"), 0
        while (target := self._trash / f"{place.stem} {stamp}-{number}.json").exists():
            number += 1
        if keeps:  # the new one takes the old one's place in a rename, so that there is always one
            atomic.write_bytes(target, place.read_bytes())
        else:
            os.replace(place, target)


def parse(plain: object) -> UserPreset | None:
    """A preset as its file holds it; None for anything else. Settings it names that we do not have are left out."""
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        return None
    name, kind, values = plain.get("name"), plain.get("kind"), plain.get("values")
    if not isinstance(name, str) or not isinstance(kind, str) or kind not in KINDS or not isinstance(values, dict):
        return None
    return UserPreset(name, kind, {key: value for key, value in values.items() if key in keys()})


def _read(path: Path) -> UserPreset | None:
    try:
        found = parse(json.loads(path.read_bytes().decode("utf-8-sig")))
    except (OSError, ValueError, RecursionError):
        return None
    # the file's name is what it is asked for by, also after a person renamed it
    return None if found is None else UserPreset(path.stem, found.kind, found.values)
