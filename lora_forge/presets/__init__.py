"""Named defaults: kind x family, why each is what it is, presets of a person's own, and settings of other trainers."""

from __future__ import annotations

from lora_forge.presets.kinds import ABOUT, IMAGES_PER_EPOCH, KINDS, Kind, aligned, repeats_for
from lora_forge.presets.table import preset
from lora_forge.presets.toyworld import TOYWORLD_RATE_FACTOR, on_toyworld

__all__ = [
    "ABOUT",
    "IMAGES_PER_EPOCH",
    "KINDS",
    "TOYWORLD_RATE_FACTOR",
    "Kind",
    "aligned",
    "on_toyworld",
    "preset",
    "repeats_for",
]
