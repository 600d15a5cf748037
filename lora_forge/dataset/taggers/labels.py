"""What a tagger's outputs are called, read from its maker's own list."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge.dataset.taggers.errors import TaggerError
from lora_forge.i18n import Said, word

GENERAL, CHARACTER, RATING = "general", "character", "rating"
_NUMBERS = {0: GENERAL, 1: "artist", 3: "copyright", 4: CHARACTER, 5: "meta", 7: "model", 8: "quality", 9: RATING}
KAOMOJI = frozenset(
    [
        "0_0",
        "(o)_(o)",
        "+_+",
        "+_-",
        "._.",
        "<o>_<o>",
        "<|>_<|>",
        "=_=",
        ">_<",
        "3_3",
        "6_9",
        ">_o",
        "@_@",
        "^_^",
        "o_o",
        "u_u",
        "x_x",
        "|_|",
        "||_||",
    ]
)
"""Tags whose underscores are part of a face; the list of the WD taggers' maker."""


@dataclass(frozen=True)
class Label:
    """``name`` as the list has it. ``category``: general, character, rating, copyright, artist, meta, quality,
    model, or other."""

    name: str
    category: str = GENERAL


def spaced(name: str) -> str:
    """``name`` as people write it: spaces for underscores, but not within a kaomoji."""
    return name if name in KAOMOJI else name.replace("_", " ")


def underscored(name: str) -> str:
    """``name`` as Danbooru writes it."""
    return "_".join(name.split())


def read_csv(path: Path) -> tuple[Label, ...]:
    """``selected_tags.csv``: a row an output, in order; columns are found by name, so more of them do no harm.

    Raises:
        TaggerError: it can't be read or lacks the columns name and category.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return tuple(Label(row["name"], _category(row["category"])) for row in csv.DictReader(file))
    except (OSError, KeyError, ValueError, csv.Error) as cause:
        raise _unreadable(path, cause) from cause


def read_mapping(path: Path) -> tuple[Label, ...]:
    """``tag_mapping.json`` of cl_tagger: index -> {tag, category}, or idx_to_tag beside tag_to_category.

    Raises:
        TaggerError: it can't be read, or an index is missing.
    """
    try:
        found: Any = json.loads(path.read_bytes())
        if "idx_to_tag" in found:
            kinds = found["tag_to_category"]
            named = {int(k): Label(tag, _category(kinds.get(tag, ""))) for k, tag in found["idx_to_tag"].items()}
        else:
            named = {int(k): Label(one["tag"], _category(one["category"])) for k, one in found.items()}
        return tuple(named[index] for index in range(len(named)))
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as cause:
        raise _unreadable(path, cause) from cause


def read_thresholds(path: Path) -> Mapping[str, float]:
    """``thresholds.csv`` (category, name, threshold): by our categories; empty when there is none or it is damaged."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {_category(row["category"]): float(row["threshold"]) for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError, TypeError, csv.Error):
        return {}


def _category(written: str) -> str:
    text = written.strip().lower()
    if text.isdecimal():
        return _NUMBERS.get(int(text), "other")
    return text if text in _NUMBERS.values() else "other"


def _unreadable(path: Path, cause: Exception) -> TaggerError:
    said = Said(word("it lacks {cause}"), {"cause": cause}) if isinstance(cause, KeyError) else cause
    return TaggerError(
        "{path} is no list of tags: {cause}.", "Put the list of the same model beside it.", path=path, cause=said
    )
