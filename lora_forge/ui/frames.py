"""Frames of the steps Test and Keep, each with its own words: the script fills them."""

from __future__ import annotations

from collections.abc import Mapping

from lora_forge.i18n import say
from lora_forge.ui import markup
from lora_forge.ui.album_words import ALBUM_WORDS
from lora_forge.ui.chores import MODEL_WORDS
from lora_forge.ui.keep_words import KEEP_WORDS, LORAS_WORDS
from lora_forge.ui.rounds_words import ROUNDS_WORDS
from lora_forge.ui.test_words import TEST_WORDS

FRAMES: Mapping[str, Mapping[str, str]] = {
    "test": {**MODEL_WORDS, **TEST_WORDS},
    "rounds": ROUNDS_WORDS,
    "album": ALBUM_WORDS,
    "keep": KEEP_WORDS,
    "loras": LORAS_WORDS,
}
"""By the name of the frame: ``lf-NAME`` is its class, within the element ``lora_forge_NAME``."""


def frame(name: str, language: str) -> str:
    """An empty frame with its words in ``language``."""
    return markup.frame(f"lf-{name}", {key: say(text, language) for key, text in FRAMES[name].items()}, language)
