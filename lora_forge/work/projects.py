"""The projects under a host's data root: their names, their places, what a list of them shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lora_forge.dataset.naming import safe_stem
from lora_forge.dataset.project import Project
from lora_forge.errors import DatasetError
from lora_forge.work.settings import CONFIG_FILE


@dataclass(frozen=True)
class ProjectFacts:
    """One line of a list. ``runs``: names of the runs that could be resumed or looked at. ``problem``: why a project
    can't be used; empty when it can."""

    name: str
    trigger_word: str
    photos: int
    runs: tuple[str, ...] = ()
    problem: str = ""


def project_dir(data_root: Path, name: str) -> Path:
    """The folder of the project ``name``, there or not: one plain folder directly in ``data_root``.

    Raises:
        DatasetError: the name is no plain folder name, or what has it leads out of ``data_root``.
    """
    if not name or name != safe_stem(name) or name.startswith("."):
        raise DatasetError(
            "A project can't be called {name!r}.",
            "Use a plain name: letters, digits, spaces inside, - and _.",
            name=name,
        )
    root = data_root.resolve()
    if (root / name).resolve().parent != root:
        raise DatasetError("The project {name} is a link to another place.", "Copy its folder here.", name=name)
    return root / name


def projects(data_root: Path) -> list[ProjectFacts]:
    """All projects in ``data_root``, by name; a damaged one is listed with what is wrong."""
    found = []
    for folder in sorted(data_root.iterdir(), key=lambda path: path.name.casefold()) if data_root.is_dir() else ():
        if not folder.name.startswith(".") and not folder.is_symlink() and (folder / "project.json").is_file():
            found.append(project_facts(folder))
    return found


def project_facts(folder: Path) -> ProjectFacts:
    """What a list shows of the project in ``folder``."""
    try:
        project = Project.load(folder)
        runs = tuple(sorted(path.parent.name for path in project.runs_dir.glob(f"*/{CONFIG_FILE}")))
        return ProjectFacts(folder.name, project.trigger_word, len(project.photos()), runs)
    except DatasetError as problem:
        return ProjectFacts(folder.name, "", 0, (), str(problem))
