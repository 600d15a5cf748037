"""Words in English and Simplified Chinese. English text is its own key; a missing entry shows the English.

``zh/`` holds one file an area and one entry a line. A test holds that every text marked with :func:`word` or said with
:func:`say` is in it, and that an entry's ``{named}`` places are those of its English.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources

LANGUAGES = {"en": "English", "zh": "简体中文"}
"""By code, each in its own words."""


@lru_cache(maxsize=1)
def catalogue() -> dict[str, str]:
    """Chinese by English."""
    files = sorted(resources.files(__name__).joinpath("zh").iterdir(), key=lambda file: file.name)
    parts = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.name.endswith(".json")]
    return {english: chinese for part in parts for english, chinese in part.items()}


def say(text: str, language: str, /, **values: object) -> str:
    """``text`` in ``language``, with its ``{named}`` places filled from ``values`` where there are any."""
    words = catalogue().get(text, text) if language == "zh" else text
    return words.format(**values) if values else words


def word(text: str) -> str:
    """``text`` as it is: marks English that is said later, so that the catalogue's test finds it."""
    return text
