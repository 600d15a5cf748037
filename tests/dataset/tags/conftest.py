"""Projects with captions; a picture's content is of no interest here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lora_forge.dataset.project import Project

Make = Callable[..., Project]


def put(project: Project, captions: Mapping[str, str | bytes | None]) -> None:
    """Pictures by key, each with a caption beside it unless that is None."""
    for key, caption in captions.items():
        path = project.images_dir / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")
        if caption is not None:
            path.with_suffix(".txt").write_bytes(caption.encode() if isinstance(caption, str) else caption)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(captions: Mapping[str, str | bytes | None], trigger: str = "ohwx") -> Project:
        project = Project.create(tmp_path / "anna", trigger)
        put(project, captions)
        return project

    return build
