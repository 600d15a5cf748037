"""Which judges a project can have here, what they are, and what is missing and how to get it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lora_forge.dataset.checkup.report import own_photos
from lora_forge.dataset.project import Project
from lora_forge.evaluate.judges.joined import Joined
from lora_forge.evaluate.scores import SCORES, Judge, ScoreName
from lora_forge.events import Emit
from lora_forge.i18n import Said, say
from lora_forge.ports import Desk, never


@dataclass(frozen=True)
class Used:
    """A judge that is at work for ``score``. ``source``: whose it is and by which model. ``sentence``: how it judges."""

    score: ScoreName
    name: Said
    source: Said
    sentence: Said

    def to_json(self, language: str) -> dict[str, Any]:
        """For a page."""
        facts = SCORES[self.score]
        return {
            "score": self.score,
            "title": say(facts.title, language),
            "name": self.name.text(language),
            "source": self.source.text(language),
            "unit": facts.unit,
            "range": list(facts.range),
            "sentence": self.sentence.text(language),
        }


@dataclass(frozen=True)
class Missing:
    """A score that can't be told. ``item``: what to download for it (:mod:`lora_forge.downloads`), or empty.
    ``part``: the library to install for it (:mod:`lora_forge.parts`), or empty."""

    score: ScoreName
    sentence: Said
    item: str = ""
    part: str = ""

    def to_json(self, language: str) -> dict[str, Any]:
        """For a page."""
        return {
            "score": self.score,
            "title": say(SCORES[self.score].title, language),
            "sentence": self.sentence.text(language),
            "item": self.item,
            "part": self.part,
        }


@dataclass(frozen=True)
class PhotoSetFacts:
    """What the judges found out about the photos.

    ``leave_one_out``: mean likeness of a photo to the others, 0 to 1 by the identity judge's own measure; None where
    it can't be told. ``outliers``: keys of those that are unlike the rest. ``keys``: all, the most typical first.
    """

    count: int
    leave_one_out: float | None = None
    outliers: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prospects:
    """Who would judge, told without loading anything."""

    used: tuple[Used, ...]
    missing: tuple[Missing, ...]


@dataclass(frozen=True)
class Judging:
    """``judge``, loaded; what it is made of, what it lacks, and what it found out about the photos."""

    judge: Judge
    used: tuple[Used, ...]
    missing: tuple[Missing, ...]
    photos: PhotoSetFacts = field(default_factory=lambda: PhotoSetFacts(0))


def prospects(desk: Desk, project: Project, kind: str) -> Prospects:
    """Who would judge pictures of ``project``, a LoRA of ``kind``; quick."""
    return Prospects((), ())


def judging(
    desk: Desk,
    project: Project,
    kind: str,
    emit: Emit = lambda event: None,
    should_stop: Callable[[], bool] = never,
) -> Judging:
    """The judge for pictures of ``project``: loads models, looks at each photo that was not looked at before.

    Raises:
        GaveUpError: ``should_stop`` said so.
        DatasetError: the photos can't be listed.
    """
    keys = tuple(project.key(photo.path) for photo in own_photos(project))
    return Judging(Joined([]), (), (), PhotoSetFacts(len(keys), keys=keys))
