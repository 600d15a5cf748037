"""``<lora:NAME:STRENGTH>`` in a prompt, and the file that a name stands for."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_forge.errors import LoraFileError
from lora_forge.i18n import Said

_TAG = re.compile(r"<lora:([^>]*)>", re.IGNORECASE)


@dataclass(frozen=True)
class LoraTag:
    """One LoRA asked for in a prompt; ``strength`` multiplies its change of the weights, 1 is as trained."""

    name: str
    strength: float = 1.0


def split_prompt(prompt: str) -> tuple[str, tuple[LoraTag, ...]]:
    """The words of a prompt without its LoRA tags, and the tags in their order.

    A name asked for twice is one tag with the strengths added, as both hosts would do. The comma and the blanks that a
    removed tag leaves behind go with it, so that ``"ohwx, 1girl, <lora:a:1>"`` reads as ``"ohwx, 1girl"``.

    Raises:
        LoraFileError: a tag has no name, or its strength is not one finite number.
    """
    strengths: dict[str, float] = {}
    for match in _TAG.finditer(prompt):
        tag = _parse_tag(match.group(0), match.group(1))
        strengths[tag.name] = strengths.get(tag.name, 0.0) + tag.strength
    if not strengths:
        return prompt, ()
    words = [_TAG.sub("", part).strip() for part in prompt.split(",") if _TAG.sub("", part).strip()]
    return ", ".join(words), tuple(LoraTag(name, strength) for name, strength in strengths.items())


def _parse_tag(tag: str, inside: str) -> LoraTag:
    name, _, strength = inside.partition(":")
    try:
        value = float(strength) if strength.strip() else 1.0
    except ValueError:
        value = math.nan
    if not name.strip() or not math.isfinite(value):
        raise LoraFileError(
            "{tag} in the prompt is not a LoRA with one strength.", "Write it as <lora:NAME:0.8>.", tag=tag
        )
    return LoraTag(name.strip(), value)


def find_lora(name: str, lora_dirs: Sequence[Path]) -> Path:
    """The file ``NAME.safetensors`` in one of the folders or below it; the first folder that has it wins.

    The name counts as it is written on disk, upper and lower case included, whatever the file system thinks of it.

    Raises:
        LoraFileError: no folder has it, or one folder has it twice (no host would then say which one it takes).
    """
    wanted = f"{name}.safetensors"
    for folder in lora_dirs:
        found = sorted(Path(place) / wanted for place, _, files in os.walk(folder) if wanted in files)
        if len(found) > 1:
            raise LoraFileError(
                "There are two files named {wanted}: {first} and {second}.",
                "Rename or move one: a prompt can't say which is meant.",
                wanted=wanted,
                first=found[0],
                second=found[1],
            )
        if found:
            return found[0]
    raise LoraFileError(
        "There is no LoRA named {name}: no {wanted} in {places}.",
        "Check the name (upper and lower case count) and the folder.",
        name=name,
        wanted=wanted,
        places=", ".join(str(folder) for folder in lora_dirs) or Said("no folder at all"),
    )
