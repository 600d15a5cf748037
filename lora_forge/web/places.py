"""Paths that come by URL, and where they may lead."""

from __future__ import annotations

from pathlib import Path

from lora_forge.errors import DatasetError

_NEVER = '\\:*?"<>|'  # no name of ours has them, and on Windows each leads somewhere


def confined(root: Path, relative: str) -> Path:
    """The place ``relative`` (forward slashes) beneath ``root``, links resolved.

    Raises:
        DatasetError: it leads out of ``root``, by any trick, or to something hidden.
    """
    parts = relative.split("/")
    is_plain = all(part.strip(" .") and not part.startswith(".") and _is_name(part) for part in parts)
    base = root.resolve()
    if is_plain:
        place = base.joinpath(*parts).resolve()
        if place.is_relative_to(base) and place != base:
            return place
    raise DatasetError("{path!r} can't be asked for.", "Name a file inside the projects' folder.", path=relative)


def _is_name(part: str) -> bool:
    return all(char.isprintable() and char not in _NEVER for char in part)
