"""What the form proposes before a person says anything: a free name, a trigger word, how many pictures there are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lora_forge.dataset.project import Project
from lora_forge.lora_file.names import listed_files


@dataclass(frozen=True)
class Visits:
    """Photos of a project as a run sees them: ``(count, own repeats or None)`` by group."""

    groups: tuple[tuple[int, int | None], ...] = ()

    @property
    def photos(self) -> int:
        return sum(count for count, _ in self.groups)

    def per_epoch(self, repeats: int) -> int:
        """Pictures an epoch."""
        return sum(count * (own or repeats) for count, own in self.groups)

    def steps(self, repeats: int, batch_size: int = 1, accumulation: int = 1) -> int:
        """Optimizer steps an epoch; with batches above 1 and several shapes of photos a run may take a few more."""
        return math.ceil(math.ceil(self.per_epoch(repeats) / max(batch_size, 1)) / max(accumulation, 1))


def visits_of(project: Project) -> Visits:
    """The photos by group; prior preservation pictures are left out."""
    counts: dict[str, int] = {}
    for path in project.photo_paths():  # captions are not read: this is asked for at every key pressed
        group = project.group_name(path)
        counts[group] = counts.get(group, 0) + 1
    groups = [(project.group(name), count) for name, count in sorted(counts.items())]
    return Visits(tuple((count, group.repeats) for group, count in groups if not group.is_prior))


def propose_name(project: Project, lora_dir: Path, wanted: str = "", also_taken: Iterable[str] = ()) -> str:
    """``wanted``, else the project's name, in a version that no file in the host's Lora folder, no run of the project
    and none of ``also_taken`` has."""
    files = (re.sub(r"-(\d{6}|step\d{8})$", "", path.stem) for path in listed_files(lora_dir))
    runs = (folder.name for folder in project.runs_dir.glob("*") if folder.is_dir())
    return free_name(wanted or suggest_name(project.root.name) or "lora", [*files, *runs, *also_taken])


def suggest_name(project: str) -> str:
    """A name for the LoRA of a project: what a prompt and a file name can take."""
    name = re.sub(r"[^\w.-]+", "_", project).strip("_.-")
    return re.sub(r"NUM|STRENGTH", lambda found: found.group().lower(), name)


def free_name(name: str, taken: Iterable[str]) -> str:
    """``name``, or its next version that nobody has: ``anna``, ``anna_v2``, ``anna_v3``; capitals count alike."""
    used = {other.casefold() for other in taken}
    stem, number = name, 1
    match = re.fullmatch(r"(.+)_v(\d+)", name)
    if match:
        stem, number = match[1], int(match[2])
    while name and name.casefold() in used:
        number += 1
        name = f"{stem}_v{number}"
    return name


def suggest_trigger(name: str) -> str:
    """A trigger word for a LoRA: its name without a version, in one word and lower case."""
    word_only = re.sub(r"([ _-]+v?\d+)+$", "", name, flags=re.IGNORECASE)
    return re.sub(r"[\W_]+", "", word_only or name).lower()
