"""A desk of our own on the bundled toy world, and pictures to give it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_forge.host.desk import StandaloneDesk
from lora_forge.toyworld import checkpoint_path
from lora_forge.toyworld.subject import photos


@pytest.fixture
def desk(tmp_path: Path) -> StandaloneDesk:
    """The toy world is chosen; projects and LoRAs lie in the test's folder."""
    return StandaloneDesk(tmp_path / "projects", tmp_path / "loras", base=checkpoint_path(), device="cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four toy photos with captions, and a file that is none."""
    place = tmp_path / "photos"
    place.mkdir()
    for number, (picture, tags) in enumerate(photos(0)[:4], start=1):
        picture.save(place / f"photo-{number}.png")
        (place / f"photo-{number}.txt").write_text(", ".join(tags) if isinstance(tags, (list, tuple)) else tags)
    (place / "broken.png").write_bytes(b"no picture")
    return place
