"""Which judges a project can have here, what they are, and what is missing and how to get it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lora_forge.dataset.checkup.judging import FACED
from lora_forge.dataset.checkup.report import own_photos
from lora_forge.dataset.faces import find_detector
from lora_forge.dataset.project import Project
from lora_forge.dataset.stages import Stage
from lora_forge.errors import DatasetError, LoraForgeError, MissingPartError
from lora_forge.evaluate.judges.copying import CopyingJudge
from lora_forge.evaluate.judges.faces import FaceJudge
from lora_forge.evaluate.judges.health import HealthJudge
from lora_forge.evaluate.judges.joined import Joined
from lora_forge.evaluate.judges.likeness import LEAST_PHOTOS
from lora_forge.evaluate.judges.tags import TagJudge
from lora_forge.evaluate.scores import Judge, ScoreName
from lora_forge.events import Emit
from lora_forge.i18n import Said, Text
from lora_forge.ports import Desk, never
from lora_forge.work.judge_models import TaggerChoice, Way, face_room, is_toyworld, tagger_for, tagger_lacks, way_of
from lora_forge.work.judge_words import (
    DONE,
    MODEL_FREE,
    NO_PHOTOS,
    NOTHING_SHARED,
    TOO_FEW_FACES,
    Missing,
    Used,
    faces_missing,
    faces_used,
    tagger_missing,
    tagger_source,
    tagger_used,
)
from lora_forge.work.judged_photos import Likenesses, TagSight, counting, see_faces, see_tags, small_photos

__all__ = ["Judging", "Missing", "PhotoSetFacts", "Prospects", "Used", "judging", "prospects"]

STAGE = "judges"


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
    """Who would judge pictures of ``project``, a LoRA of ``kind``; quick: nothing is loaded, no photo is read."""
    way, faces, tagger = way_of(desk, kind), face_room(desk), tagger_for(desk, project, kind)
    used, missing = list[Used](), list[Missing]()
    if way == "faces":
        if faces.is_ready:
            used.append(faces_used(Said("{name}", {"name": f"insightface {faces.pack}"})))
        else:
            missing.append(faces_missing(faces))
    _by_tagger(desk, way, tagger, used, missing)
    return Prospects((*used, *MODEL_FREE), tuple(missing))


def _by_tagger(
    desk: Desk,
    way: Way,
    tagger: TaggerChoice | None,
    used: list[Used],
    missing: list[Missing],
    cause: Text | None = None,
) -> None:
    """What a tagger tells; ``cause``: why it can't, where it was tried."""
    scores: tuple[ScoreName, ...] = ("obedience",) if way == "faces" else ("identity", "obedience")
    for score in scores:
        if tagger is None or cause:
            missing.append(tagger_missing(score, *tagger_lacks(desk), cause))
        else:
            used.append(tagger_used(score, way, tagger.offer.name, Said(tagger_source(tagger))))


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
        DatasetError: the photos can't be listed, or the project's folder not be written.
    """
    try:
        return _Bench(desk, project, kind, emit, should_stop).judging()
    except OSError as cause:
        raise DatasetError("{root} can't keep what judges saw: {cause}.", root=project.root, cause=cause) from cause


class _Bench:
    """Puts judges together, noting who is there and who is not."""

    def __init__(self, desk: Desk, project: Project, kind: str, emit: Emit, should_stop: Callable[[], bool]) -> None:
        self._desk, self._project, self._kind = desk, project, kind
        self._way = way_of(desk, kind)
        self._photos = own_photos(project)
        self._tagger = tagger_for(desk, project, kind)
        self._is_faced = kind in FACED and not is_toyworld(desk, kind)
        rounds = 1 + self._is_faced + (self._tagger is not None)
        self._stage = Stage(emit, STAGE, rounds * len(self._photos))
        self._advance = counting(self._stage.advance, should_stop)
        self._judges: list[Judge] = []
        self._used: list[Used] = []
        self._missing: list[Missing] = []
        self._likenesses = Likenesses({}, None)

    def judging(self) -> Judging:
        """All of it."""
        if self._is_faced:
            self._add_faces()
        self._add_tags()
        small = small_photos(self._photos, self._advance)
        self._judges += [CopyingJudge(small), HealthJudge(small)]
        self._used += [one for one in MODEL_FREE if small or one.score != "copying"]
        if not small:
            self._missing.append(Missing("copying", Said(NO_PHOTOS)))
        self._stage.finish(DONE, count=len(self._photos))
        return Judging(Joined(self._judges), tuple(self._used), tuple(self._missing), self._facts())

    def _add_faces(self) -> None:
        room = face_room(self._desk)
        detector = find_detector(self._desk.model_dirs().get("insightface", ()), self._kind)
        if not detector.finds and self._way != "faces":
            return
        try:
            sight = see_faces(self._project, self._photos, detector, self._advance)
        except MissingPartError as problem:
            if self._way == "faces":
                self._missing.append(faces_missing(room, Said(problem.what, problem.values)))
            return
        if detector.finds:
            self._judges.append(FaceJudge(detector, sight.reference, sight.found_share))
        if self._way != "faces":
            return
        if sight.reference is not None and sight.reference.usual is not None:
            self._likenesses = sight.likenesses
            self._used.append(faces_used(Said("{name}", {"name": detector.name})))
        elif detector.identifies:
            self._missing.append(Missing("identity", Said(TOO_FEW_FACES, {"least": LEAST_PHOTOS})))
        else:
            self._missing.append(faces_missing(room, detector.sentence if room.is_ready else None))

    def _add_tags(self) -> None:
        if self._tagger is None:
            _by_tagger(self._desk, self._way, None, self._used, self._missing)
            return
        keys = [self._project.key(photo.path) for photo in self._photos]
        try:
            reader = self._tagger.load()
            seen = see_tags(self._project, keys, reader, self._advance)
        except LoraForgeError as problem:
            cause = Said(problem.what, problem.values)
            _by_tagger(self._desk, self._way, self._tagger, self._used, self._missing, cause)
            return
        sight = TagSight.of(self._project, self._kind, self._way, seen)
        self._judges.append(TagJudge(reader, sight.likeness, sight.due))
        source = Said(tagger_source(self._tagger))
        if self._way != "faces":
            if sight.likeness is None or sight.likeness.usual is None:
                self._missing.append(Missing("identity", Said(NOTHING_SHARED)))
            else:
                self._likenesses = sight.likenesses
                self._used.append(tagger_used("identity", sight.way, self._tagger.offer.name, source, sight.traits))
        self._used.append(tagger_used("obedience", self._way, self._tagger.offer.name, source))

    def _facts(self) -> PhotoSetFacts:
        own, found = self._likenesses.own, self._likenesses
        keys = [self._project.key(photo.path) for photo in self._photos]
        ordered = sorted(keys, key=lambda key: (-own.get(key, -1.0), keys.index(key)))
        return PhotoSetFacts(len(keys), found.usual, found.outliers, tuple(ordered))
