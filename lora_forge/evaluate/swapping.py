"""The same prompt, asking for what no photo shows: its own traits give way, so that nothing is asked for twice."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lora_forge.dataset.tags.texts import same
from lora_forge.dataset.trait_rules import COLOURS, axis_of

_PLACE = re.compile(r"<lora:[^<>]*>")
_SETTINGS = frozenset(
    {"simple background", "white background", "indoors", "outdoors", "beach", "forest", "snow", "night", "city"}
)
"""Where a picture plays: tags of which a picture has one at a time."""


def swapped_prompt(prompt: str, swaps: Sequence[str]) -> str:
    """``prompt`` with ``swaps`` before its first LoRA tag, and without the tags they stand against.

    "ohwx, pink hair, 1girl, <lora:x-NUM:STRENGTH>" with "white hair" is "ohwx, 1girl, white hair, <lora:...>".
    """
    axes = {axis for axis in map(_axis, swaps) if axis}
    asked = {same(tag) for tag in swaps}
    kept: list[str] = []
    place: int | None = None
    for part in (one.strip() for one in prompt.split(",")):
        words = _PLACE.sub("", part).strip()
        tags = _PLACE.findall(part)
        if words and _axis(words) not in axes and same(words) not in asked:
            kept.append(words)
        if tags:
            place = len(kept) if place is None else place
            kept += tags
    place = len(kept) if place is None else place
    return ", ".join([*kept[:place], *swaps, *kept[place:]])


def _axis(tag: str) -> str:
    """What a tag decides: "hair colour", "dress colour", "place"; empty for one that stands against nothing."""
    name = same(_PLACE.sub("", tag).strip().strip("()"))
    axis, _ = axis_of(name)
    if axis:
        return axis
    if name in _SETTINGS:
        return "setting"
    first, _, rest = name.partition(" ")
    return f"{rest} colour" if first in COLOURS and rest else ""
