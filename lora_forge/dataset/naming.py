"""File and group names that every system takes, with Chinese, emoji and spaces kept as they are."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path, PurePath

from lora_forge.dataset.captions import decode_text

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_DEVICES = re.compile(r"(?i)^(con|prn|aux|nul|com[0-9]|lpt[0-9])$")
_MAX_BYTES = 160  # a temporary name with its process id must fit into the 255 bytes of most file systems
_KOHYA = re.compile(r"^([1-9]\d*)_(.+)$")
_MAX_KOHYA_REPEATS = 1000  # above it is an album, 2023_summer, not a number of repeats


def safe_stem(name: str) -> str:
    """``name`` without what Windows, macOS or Linux refuse; never empty, composed (NFC), at most 160 bytes."""
    text = unicodedata.normalize("NFC", _FORBIDDEN.sub("_", printable(name))).strip(" .")
    text = text.encode("utf-8")[:_MAX_BYTES].decode("utf-8", errors="ignore").rstrip(" .")
    if not text:
        return "photo"
    return f"_{text}" if _DEVICES.match(text.partition(".")[0].rstrip()) else text


def printable(name: str) -> str:
    """``name`` for showing: bytes of the file system that were not UTF-8 are read as what they probably are."""
    return name if _is_clean(name) else decode_text(os.fsencode(name))


def _is_clean(name: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in name)


def parse_kohya(folder: str) -> tuple[int, str] | None:
    """``10_ohwx woman`` as (10, "ohwx woman"); None when it is not named that way."""
    match = _KOHYA.match(folder)
    if not match or int(match[1]) > _MAX_KOHYA_REPEATS or not match[2].strip():
        return None
    return int(match[1]), match[2].strip()


def taken_stems(folder: Path) -> set[str]:
    """The stems of all files in ``folder``, upper and lower case being one; for :func:`free_stem`."""
    return {PurePath(name).stem.casefold() for name in os.listdir(folder)} if folder.is_dir() else set()


def free_stem(taken: set[str], stem: str) -> str:
    """``stem``, or ``stem-2``, ``stem-3`` ... where it is taken; the one returned is then taken too."""
    number, candidate = 1, stem
    while candidate.casefold() in taken:
        number += 1
        candidate = f"{stem}-{number}"
    taken.add(candidate.casefold())
    return candidate
