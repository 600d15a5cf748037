"""What the judges said of themselves, kept in a JSON file and read back."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from lora_forge.work.packing import packed, unpacked

T = TypeVar("T")


def packed_record(record: Any) -> dict[str, Any]:
    """A flat dataclass of texts, numbers and rows of those as plain JSON."""
    return {one.name: _plain(getattr(record, one.name)) for one in dataclasses.fields(record)}


def unpacked_record(kind: type[T], plain: Any) -> T | None:
    """What :func:`packed_record` was given; None where that is damaged, or of another version."""
    if not isinstance(plain, dict):
        return None
    known = {one.name for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    try:
        return kind(**{name: _made(value) for name, value in plain.items() if name in known})
    except TypeError:
        return None


def unpacked_records(kind: type[T], plain: Any) -> tuple[T, ...]:
    """Several; damaged ones are left out."""
    found = [unpacked_record(kind, one) for one in plain] if isinstance(plain, list) else []
    return tuple(one for one in found if one is not None)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value if value is None else packed(value)


def _made(plain: Any) -> Any:
    if isinstance(plain, list):
        return tuple(_made(one) for one in plain)
    return plain if plain is None else unpacked(plain)
