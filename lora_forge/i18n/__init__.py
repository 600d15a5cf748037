"""Words in English and Simplified Chinese. English text is its own key; a missing entry shows the English.

``zh.json`` holds one entry a line. A test holds that every text marked with :func:`word` or said with :func:`say`
is in it, and that an entry's ``{named}`` places are those of its English.
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
    text = resources.files(__name__).joinpath("zh.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def say(text: str, language: str, /, **values: object) -> str:
    """``text`` in ``language``, with its ``{named}`` places filled from ``values`` where there are any."""
    words = catalogue().get(text, text) if language == "zh" else text
    return words.format(**values) if values else words


def word(text: str) -> str:
    """``text`` as it is: marks English that is said later, so that the catalogue's test finds it."""
    return text
