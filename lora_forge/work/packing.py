"""Sentences kept in a JSON file, so that they can be said in any language after a restart."""

from __future__ import annotations

from typing import Any

from lora_forge.events import kept
from lora_forge.i18n import Said, Several


def packed(value: object) -> Any:
    """``value`` (a text of ours, or a number or word of its values) as plain JSON."""
    plain = kept(value)
    if isinstance(plain, Said):
        return {"say": plain.template, "values": {name: packed(inner) for name, inner in plain.values.items()}}
    if isinstance(plain, Several):
        return {"several": [packed(part) for part in plain.parts], "between": plain.between}
    return plain


def unpacked(plain: Any) -> Any:
    """What :func:`packed` was given, as far as it can be told; of a damaged file whatever is there as words."""
    if isinstance(plain, dict) and isinstance(plain.get("say"), str):
        values = plain.get("values")
        inner = values.items() if isinstance(values, dict) else ()
        return Said(plain["say"], {str(name): unpacked(value) for name, value in inner})
    if isinstance(plain, dict) and isinstance(plain.get("several"), list):
        return Several(tuple(unpacked(part) for part in plain["several"]), str(plain.get("between", ", ")))
    return plain if isinstance(plain, (int, float, str)) else str(plain)


def text_of_packed(plain: Any, language: str) -> str:
    """The sentence in ``language``; of a damaged one what there is of it."""
    made = unpacked(plain)
    try:
        return made.text(language) if isinstance(made, (Said, Several)) else str(made)
    except (KeyError, IndexError, ValueError):  # a template without its value
        return str(plain)
