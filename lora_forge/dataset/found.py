"""Where faces were found, by the content of the picture: proposals, which whatever is set by hand beats.

::

    found.json    {"version": 1, "photos": {SHA256: {"detector": NAME, "faces": [[x, y, width, height], ...]}}}

Boxes are in px of the upright picture, the largest first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lora_forge import atomic
from lora_forge.dataset.project_file import Box, parse_box


class FoundFaces:
    """The faces found in one project's pictures."""

    def __init__(self, path: Path, photos: dict[str, tuple[str, tuple[Box, ...]]]) -> None:
        self._path, self._photos = path, photos

    @classmethod
    def load(cls, root: Path) -> FoundFaces:
        """Those of the project in ``root``; none where the file is missing or damaged: they can be found again."""
        path = root / "found.json"
        try:
            values: dict[str, Any] = json.loads(path.read_bytes())
            plain = values["photos"] if values["version"] == 1 else {}
            return cls(path, {sha: (str(one["detector"]), _boxes(one["faces"])) for sha, one in plain.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(path, {})

    def of(self, sha256: str) -> tuple[Box, ...]:
        """The faces in the picture with that content, largest first; none where nobody has looked."""
        return self._photos.get(sha256, ("", ()))[1]

    def is_looked_at(self, sha256: str, detector: str) -> bool:
        """Whether ``detector`` has looked at it."""
        return sha256 in self._photos and self._photos[sha256][0] == detector

    def note(self, sha256: str, detector: str, faces: Iterable[Box]) -> None:
        """Remember what ``detector`` has found."""
        self._photos[sha256] = (detector, tuple(sorted(faces, key=lambda box: (-box[2] * box[3], box))))

    def save(self) -> None:
        """Write all of it.

        Raises:
            OSError: the disk is full or the folder can't be written.
        """
        photos = {
            sha256: {"detector": detector, "faces": [list(box) for box in faces]}
            for sha256, (detector, faces) in sorted(self._photos.items())
        }
        atomic.write_bytes(self._path, (json.dumps({"version": 1, "photos": photos}) + "\n").encode())


def _boxes(plain: Iterable[Any]) -> tuple[Box, ...]:
    return tuple(parse_box(box) for box in plain)
