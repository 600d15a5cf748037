"""One request as several that differ in one setting, for trying rates or ranks side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from lora_forge.config import TrainConfig
from lora_forge.errors import ConfigError
from lora_forge.ports import Desk
from lora_forge.work.planning import RunRequest, plan
from lora_forge.work.requests import with_values

MOST = 20
_SHORT = {"learning_rate": "lr", "te_learning_rate": "te", "rank": "r", "alpha": "a", "seed": "seed"}


def sweep(desk: Desk, request: RunRequest, key: str, values: Sequence[Any]) -> list[RunRequest]:
    """A request for each of ``values`` of the setting ``key``, named after it: girl-lr1e-4, girl-lr2e-4.

    Alpha keeps its ratio to the rank where the rank is what differs.

    Raises:
        ConfigError: there is no such setting, or no or too many values.
        LoraForgeError: as :func:`plan`, for the request itself.
    """
    if key not in {one.name for one in fields(TrainConfig)} or key in ("name", "schema_version"):
        raise ConfigError("There is no setting {key!r} to try values of.", key=key)
    request = with_values(request)
    known = [value for index, value in enumerate(values) if value not in values[:index]]
    if not 1 <= len(known) <= MOST:
        raise ConfigError("Give 1 to {most} values to try, not {count}.", most=MOST, count=len(known))
    base = plan(desk, replace(request, name=f"{request.name}-sweep"))  # its own name may be that of a run there was
    return [_one(request, base, key, value) for value in known]


def _one(request: RunRequest, base: TrainConfig, key: str, value: Any) -> RunRequest:
    settings = {**request.settings, key: value}
    if key == "rank" and isinstance(value, (int, float)) and base.rank:
        settings["alpha"] = base.alpha / base.rank * value
    return replace(request, name=f"{request.name}-{_SHORT.get(key, key)}{_in_words(value)}", settings=settings)


def _in_words(value: Any) -> str:
    """The value as a file's name takes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return _number(value)
    text = str(value)
    return "".join(char if char.isalnum() or char in "-_" else "_" for char in text)[:40].strip("-_ ") or "none"


def _number(value: float) -> str:
    """0.0002 as 2e-4, 1.5 as 1_5: a dot would look like a file's ending."""
    digits, exponent = f"{value:.6e}".split("e")
    digits = digits.rstrip("0").rstrip(".")
    text = f"{digits}e{int(exponent)}" if value and not 1e-2 <= abs(value) < 1e4 else f"{value:g}"
    return text.replace(".", "_")
