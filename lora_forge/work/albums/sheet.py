"""An album as one picture to share."""

from __future__ import annotations

import io

from PIL import Image

from lora_forge.dataset.project import Project
from lora_forge.work.albums.store import Album


def sheet_png(project: Project, album: Album, language: str, *, has_photos: bool = True) -> bytes:
    """The PNG's bytes."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(file, format="PNG")
    return file.getvalue()
