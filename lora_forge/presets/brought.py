"""Settings from a file: ours (a shared preset, a run's config.json) or another trainer's, TOML or JSON."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_forge import config
from lora_forge.errors import ConfigError
from lora_forge.i18n import Said, Several, word
from lora_forge.presets import kohya, user
from lora_forge.presets.fields import NO_FIELDS, keys

_UNKNOWN = word("There is no such setting here.")
# Wide enough that no value is refused for another's sake.
_ROOM: Mapping[str, Any] = {"bucket_min_px": 64, "bucket_max_px": 8192, "te_learning_rate": 1e-5, "conv_rank": 1}


@dataclass(frozen=True)
class Left:
    """Something the file says that was not taken, and why."""

    key: str
    value: str
    why: Said | Several


@dataclass(frozen=True)
class Brought:
    """``values``: settings of ours. ``taken``: what of the file they are from. ``kind``: what the file was made for,
    where it says so; ``name`` of the preset likewise."""

    values: Mapping[str, Any]
    taken: tuple[str, ...]
    left: tuple[Left, ...]
    kind: str | None = None
    name: str = ""


def read_settings(text: str, file_name: str = "") -> Brought:
    """What of the settings in ``text`` can be used here.

    Raises:
        ConfigError: it is neither JSON nor TOML, holds no settings, or there is no reader for TOML here.
    """
    plain = _parsed(text.lstrip("\ufeff"), file_name)
    preset = user.parse(plain)
    if preset is not None:
        values, left = checked(dict(plain["values"]))
        return Brought(values, tuple(values), left, preset.kind, preset.name)
    if "schema_version" in plain:
        ours = {key: value for key, value in plain.items() if key not in NO_FIELDS}
        values, left = checked(ours)
        return Brought(values, tuple(values), left)
    found = kohya.translated(plain)
    if not found.values and not found.left:
        raise ConfigError(
            "{name} holds no settings of a training.",
            "Choose a preset, or the settings of another trainer.",
            name=file_name or "text",
        )
    values, refused = checked(found.values)
    taken = tuple(f"{theirs} -> {ours}" for theirs, ours in found.taken if ours in values)
    left = tuple(Left(key, _shown(value), why) for key, value, why in found.left)
    return Brought(values, taken, (*refused, *left))


def _parsed(text: str, file_name: str) -> dict[str, Any]:
    is_json = text.lstrip()[:1] == "{" or file_name.lower().endswith(".json")
    try:
        plain = json.loads(text) if is_json else _toml()(text)
    except (ValueError, RecursionError) as cause:
        raise ConfigError(
            "{name} can't be read as settings: {cause}.",
            "Choose a .json or .toml file as a trainer writes it.",
            name=file_name or "text",
            cause=cause,
        ) from cause
    if not isinstance(plain, dict):
        raise ConfigError(
            "{name} holds no settings of a training.",
            "Choose a preset, or the settings of another trainer.",
            name=file_name or "text",
        )
    return plain


def _toml() -> Any:
    """``loads`` of the first reader there is: Python's own from 3.11 on; before that tomli, which every pip carries."""
    for name in ("tomllib", "tomli", "pip._vendor.tomli"):
        try:
            return importlib.import_module(name).loads
        except ImportError:
            continue
    raise ConfigError("This Python has no reader for TOML.", "Save the settings as JSON, or use Python 3.11 or newer.")


def checked(values: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Left, ...]]:
    """Values as a config holds them; those it refuses are left."""
    good, left = {}, []
    for key, value in values.items():
        if key not in keys():
            left.append(Left(key, _shown(value), Said(_UNKNOWN)))
            continue
        try:
            made = config.from_dict({**_ROOM, key: value}).to_dict()
        except ConfigError as problem:
            left.append(Left(key, _shown(value), _told(problem)))
        else:
            good[key] = made[key]
    return good, tuple(left)


def _told(problem: ConfigError) -> Said | Several:
    told = problem.values.get("problems")
    return told if isinstance(told, (Said, Several)) else Said(problem.what, problem.values)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 120 else text[:119] + "…"
