"""Words of the Test step: its form, its live grid, its scores."""

from __future__ import annotations

from lora_forge.i18n import word

TEST_WORDS = {
    "title": word("Test"),
}
