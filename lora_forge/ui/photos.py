"""Photos on their way from a folder of this machine into a project, and what a project holds. No gradio here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lora_forge.dataset.importing import ImportReport
from lora_forge.dataset.project import Project
from lora_forge.errors import DatasetError
from lora_forge.events import Event
from lora_forge.ports import Desk
from lora_forge.work.gathering import gather
from lora_forge.work.projects import project_dir


@dataclass(frozen=True)
class Stock:
    """What a project holds to learn from: ``captioned`` of ``photos`` have a caption."""

    photos: int = 0
    captioned: int = 0


def stock_of(desk: Desk, name: str) -> Stock:
    """What is in the project called ``name``; nothing when there is none of that name yet.

    Raises:
        DatasetError: the name can't be one, or the project's file is damaged.
    """
    folder = project_dir(desk.data_root(), name) if name else None
    if folder is None or not (folder / "project.json").is_file():
        return Stock()
    project = Project.load(folder)
    photos = [photo for photo in project.photos() if not project.group(photo.group).is_prior]
    return Stock(len(photos), sum(bool(photo.caption) for photo in photos))


def list_projects(desk: Desk) -> list[str]:
    """Names of the projects, the one changed last first."""
    found = [path for path in desk.data_root().glob("*/project.json") if not path.parent.name.startswith(".")]
    return [path.parent.name for path in sorted(found, key=lambda path: -path.stat().st_mtime)]


def add_folder(desk: Desk, project: str, folder: str) -> ImportReport:
    """Photos in a folder (or zip) of the machine the program runs on.

    Raises:
        DatasetError: no project or no folder is named, or it can't be read.
    """
    _check_named(project)
    text = folder.strip().strip('"')
    if not text:
        raise DatasetError("No folder is named.", "Type the path of a folder or zip on this machine.")
    return gather(desk, project, [Path(text).expanduser()], "", _silent, allows_paths=True)


def _check_named(project: str) -> None:
    if not project:
        raise DatasetError("The project has no name yet.", "Type one above, or choose a project.")


def _silent(_: Event) -> None:
    """What was left out is in the report."""
