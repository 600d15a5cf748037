"""The list of every setting, for ``lora-forge train --help-settings``."""

from __future__ import annotations

import dataclasses
import math
import textwrap
import typing
from typing import Any

from lora_forge.config import TrainConfig


def settings_help() -> str:
    """Every field: name, default, range, and what it does."""
    hints = typing.get_type_hints(TrainConfig)
    lines = ["Every setting of a run, for --set KEY=VALUE. Defaults are those without a preset.", ""]
    for field in dataclasses.fields(TrainConfig):
        if field.name == "schema_version":
            continue
        lines.append(f"{field.name} = {_shown(field.default)}{_range(field, hints[field.name])}")
        lines += textwrap.wrap(field.metadata["help"], 100, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value) or "(none)"
    return f"{value:g}" if isinstance(value, float) else str(value) or "(empty)"


def _range(field: dataclasses.Field[Any], hint: Any) -> str:
    choices = typing.get_args(typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint)
    if typing.get_origin(hint) is typing.Literal or (typing.get_origin(hint) is tuple and choices):
        return (
            f"   one of {', '.join(map(str, choices))}" if typing.get_origin(hint) is not tuple else _some_of(choices)
        )
    least, most = field.metadata["least"], field.metadata["most"]
    if hint is bool:
        return "   true or false"
    if hint not in (int, float) or (least, most) == (-math.inf, math.inf):
        return ""
    return f"   at least {least:g}" if most == math.inf else f"   {least:g} to {most:g}"


def _some_of(choices: tuple[Any, ...]) -> str:
    return f"   any of {', '.join(map(str, choices))}, with commas"
