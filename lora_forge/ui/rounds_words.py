"""Words of the next round: advice, and rounds side by side."""

from __future__ import annotations

from lora_forge.i18n import word

ROUNDS_WORDS = {
    "title": word("Next round"),
}
