"""A whole folder of a project to its trash: a run, a test, an album."""

from __future__ import annotations

import os
from pathlib import Path

from lora_forge.dataset.project import Project
from lora_forge.errors import DatasetError


def to_trash(project: Project, folder: Path, kind: str) -> Path:
    """Move ``folder`` to ``kind`` in the project's trash, under a name that is free there; its new place.

    Raises:
        DatasetError: it can't be moved.
    """
    home = project.trash_dir / kind
    try:
        home.mkdir(parents=True, exist_ok=True)
        taken = set(os.listdir(home))
        numbers = (f"{folder.name} ({number})" for number in range(2, len(taken) + 3))
        place = home / next(one for one in (folder.name, *numbers) if one not in taken)
        os.rename(folder, place)
    except OSError as cause:
        raise DatasetError("{path} can't be moved to the trash: {cause}.", path=folder.name, cause=cause) from cause
    return place
