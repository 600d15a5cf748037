"""The extra face set: faces cut from the photos at full size, as a group of their own with its own repeats.

What was cut is noted in project.json, so that cutting again keeps what a person did with it::

    "cuts": [{"key": "faces/FACE_anna_1.png", "sha256": of that file, "source": "photos/anna.jpg",
              "source_sha256": of the photo, "face": [x, y, w, h], "box": what was cut, in upright px of the photo}]

A cut whose file is not in images/ any more was thrown out by a person, and is not made again from the same photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lora_forge.dataset.project import Project

FACE_GROUP = "faces"


def cuts_of(project: Project, paths: Sequence[Path]) -> list[Path]:
    """The faces that were cut from the photos at ``paths`` and are still there, without those in ``paths``."""
    keys = {project.key(path) for path in paths}
    cuts = (project.images_dir / cut["key"] for cut in project.cuts if cut["source"] in keys and cut["key"] not in keys)
    return [path for path in dict.fromkeys(cuts) if path.is_file()]
