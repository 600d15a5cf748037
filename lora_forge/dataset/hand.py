"""What a person set by hand on single photos: where the face is, and what part to keep.

Kept in project.json by the picture's content, so that it holds when the photo is renamed, moved to another group or
imported again::

    "edits": {SHA256: {"key", "size_bytes", "mtime_ns", "face": [x, y, w, h], "crop": [x, y, w, h]}}

The place, size and time beside it spare the hashing: only a file of exactly that size that is not where it was, or
not of that time, is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lora_forge.dataset.manifest import Stamp, sha256_of
from lora_forge.dataset.project_file import Box, parse_box


@dataclass(frozen=True)
class HandEdit:
    """``face``, ``crop``: (x, y, width, height) in px of the upright picture; None where nothing was set."""

    face: Box | None = None
    crop: Box | None = None


class HandEdits:
    """The hand edits of one project.json."""

    def __init__(self, plain: Mapping[str, Any]) -> None:
        self._by_content = {sha256: _parse(edit) for sha256, edit in plain.items()}
        self._by_place = {
            (str(edit["key"]), int(edit["size_bytes"]), int(edit["mtime_ns"])): sha256 for sha256, edit in plain.items()
        }
        self._sizes = {size_bytes for _, size_bytes, _ in self._by_place}

    def of(self, key: str, path: Path) -> HandEdit:
        """What was set on the picture at ``path``, whose place within images/ is ``key``."""
        if not self._sizes:
            return HandEdit()
        try:
            stat = path.stat()
            if stat.st_size not in self._sizes:
                return HandEdit()
            sha256 = self._by_place.get((key, stat.st_size, stat.st_mtime_ns))
            if sha256 is None:
                sha256 = content_of(path, stat.st_size, stat.st_mtime_ns)
        except OSError:
            return HandEdit()
        return self._by_content.get(sha256, HandEdit())


@lru_cache(maxsize=1 << 14)
def content_of(path: Path, size_bytes: int, mtime_ns: int) -> str:
    """sha256 hex of a file; read once for as long as its size and time stay.

    Raises:
        OSError: it can't be read.
    """
    return sha256_of(path)


def noted(plain: Mapping[str, Any], key: str, stamp: Stamp, **boxes: Box | None) -> dict[str, Any]:
    """The ``edits`` of a project.json with ``face`` or ``crop`` of one picture set, or forgotten where it is None."""
    kept = {name: value for name, value in plain.get(stamp.sha256, {}).items() if name in ("face", "crop")}
    kept.update({name: list(box) if box else None for name, box in boxes.items()})
    kept = {name: value for name, value in kept.items() if value}
    others = {sha256: edit for sha256, edit in plain.items() if sha256 != stamp.sha256}
    if not kept:
        return others
    place = {"key": key, "size_bytes": stamp.size_bytes, "mtime_ns": stamp.mtime_ns}
    return {**others, stamp.sha256: {**place, **kept}}


def _parse(edit: Mapping[str, Any]) -> HandEdit:
    face, crop = edit.get("face"), edit.get("crop")
    return HandEdit(parse_box(face) if face else None, parse_box(crop) if crop else None)
