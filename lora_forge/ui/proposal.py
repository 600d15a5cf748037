"""What the page proposes: numbers by type, family and photos, and the steps they come to. No gradio here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lora_forge.config import Family, parse_assignments
from lora_forge.dataset.project import Photo, Project
from lora_forge.i18n import word
from lora_forge.presets import preset
from lora_forge.work.proposing import free_name as free_name
from lora_forge.work.proposing import suggest_name as suggest_name
from lora_forge.work.proposing import suggest_trigger as suggest_trigger

KINDS = (
    (word("Person"), "person"),
    (word("Anime character"), "anime"),
    (word("Art style"), "style"),
    (word("Clothing or object"), "object"),
    (word("Concept"), "concept"),
)
TOYWORLD = (word("Toy world"), "toyworld")


@dataclass(frozen=True)
class Proposal:
    """Numbers for the four fields in sight."""

    repeats: int
    epochs: int
    resolution_px: int


def propose(kind: str, family: Family, photos: int) -> Proposal:
    """What the preset of ``kind`` says for so many photos (25 while there are none)."""
    values = preset(kind, family, photos or 25)
    return Proposal(values["repeats"], values["epochs"], values["resolution_px"])


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


def visits_of(project: Project, photos: Sequence[Photo]) -> Visits:
    """The photos by group; prior preservation pictures are left out."""
    counts: dict[str, int] = {}
    for photo in photos:
        counts[photo.group] = counts.get(photo.group, 0) + 1
    groups = [(project.group(name), count) for name, count in sorted(counts.items())]
    return Visits(tuple((count, group.repeats) for group, count in groups if not group.is_prior))


def steps_per_epoch(visits: Visits, repeats: int, batch_size: int = 1, accumulation: int = 1) -> int:
    """Optimizer steps an epoch; with batches above 1 and several shapes of photos a run may take a few more."""
    return math.ceil(math.ceil(visits.per_epoch(repeats) / batch_size) / accumulation)


def parse_settings(text: str) -> dict[str, Any]:
    """Lines ``key=value`` of the fold; empty lines and ``#`` comments are left out.

    Raises:
        ConfigError: a line has no ``=``.
    """
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return parse_assignments(line for line in lines if line)
