"""Words of the Keep step, and of the tools on kept files."""

from __future__ import annotations

from lora_forge.i18n import word

KEEP_WORDS = {
    "title": word("Keep this one"),
}

LORAS_WORDS = {
    "title": word("Tools for LoRA files"),
}
