"""The last checkup of a project: checkup/report.json."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge.dataset.checkup.finding import Finding, Light, pack, unpack
from lora_forge.dataset.checkup.judging import Subject
from lora_forge.dataset.checkup.seen import Seen
from lora_forge.dataset.faces.face import Detector, FaceBox
from lora_forge.dataset.faces.memory import FOLDER
from lora_forge.dataset.files import write_quickly
from lora_forge.dataset.project import Photo, Project
from lora_forge.errors import DatasetError
from lora_forge.i18n import Said

_VERSION = 1
_WORST = {"red": 0, "yellow": 1, "green": 2}


@dataclass(frozen=True)
class DetectorInfo:
    """Which detector was at work."""

    name: str
    kind: str
    sentence: Said

    @classmethod
    def of(cls, detector: Detector) -> DetectorInfo:
        """Of a detector that is loaded."""
        return cls(detector.name, detector.kind, detector.sentence)


@dataclass(frozen=True)
class Place:
    """Where the faces of one photo are: boxes in px, the main one first, of what training gets of it.

    That is ``size`` large and begins at ``origin`` in the upright picture.
    """

    origin: tuple[int, int]
    size: tuple[int, int]
    faces: tuple[FaceBox, ...]

    @classmethod
    def of(cls, seen: Seen) -> Place:
        """Of a photo that was looked at."""
        return cls(seen.origin, (seen.measures.width, seen.measures.height), tuple(face.box for face in seen.faces))


@dataclass(frozen=True)
class Report:
    """``made_at``: seconds since 1970. ``stamps``: what was looked at, to see whether it still is so.

    ``places``: where the faces are, by key.
    """

    made_at: float
    kind: str
    resolution_px: int
    detector: DetectorInfo
    findings: tuple[Finding, ...]
    stamps: Mapping[str, Any]
    places: Mapping[str, Place]

    @classmethod
    def made(cls, project: Project, subject: Subject, findings: Sequence[Finding]) -> Report:
        """A report of now; the worst findings first, each in its place otherwise."""
        ordered = tuple(sorted(findings, key=lambda finding: (_WORST[finding.light], not finding.is_judged)))
        info, places = DetectorInfo.of(subject.detector), {seen.key: Place.of(seen) for seen in subject.photos}
        return cls(time.time(), subject.kind, subject.resolution_px, info, ordered, stamps_of(project), places)

    @classmethod
    def load(cls, project: Project) -> Report | None:
        """The last one; None where none was made, or it can't be read."""
        try:
            plain = json.loads(_place(project).read_text(encoding="utf-8"))
            return cls._from_json(plain) if plain["version"] == _VERSION else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @classmethod
    def _from_json(cls, plain: dict[str, Any]) -> Report:
        sentence = unpack(plain["detector"]["sentence"])
        if not isinstance(sentence, Said):
            raise ValueError("detector")
        detector = DetectorInfo(str(plain["detector"]["name"]), str(plain["detector"]["kind"]), sentence)
        findings = tuple(Finding.from_json(one) for one in plain["findings"])
        places = {key: _place_from(one) for key, one in plain["places"].items()}
        made_at, stamps = float(plain["made_at"]), dict(plain["stamps"])
        return cls(made_at, str(plain["kind"]), int(plain["resolution_px"]), detector, findings, stamps, places)

    def save(self, project: Project) -> None:
        """Keep it as the last one.

        Raises:
            OSError: the disk is full or the folder can't be written.
        """
        detector = {"name": self.detector.name, "kind": self.detector.kind, "sentence": pack(self.detector.sentence)}
        plain = {
            "version": _VERSION,
            "made_at": self.made_at,
            "kind": self.kind,
            "resolution_px": self.resolution_px,
            "detector": detector,
            "findings": [finding.to_json() for finding in self.findings],
            "stamps": self.stamps,
            "places": {key: dataclasses.asdict(place) for key, place in self.places.items()},
        }
        text = json.dumps(plain)
        write_quickly(_place(project), lambda path: _write(path, text))

    def is_stale(self, project: Project) -> bool:
        """Whether photos came, went or changed since, or a face or crop was set by hand."""
        return dict(self.stamps) != stamps_of(project)

    def finding(self, id: str) -> Finding:
        """The finding with that id.

        Raises:
            DatasetError: there is none.
        """
        for finding in self.findings:
            if finding.id == id:
                return finding
        raise DatasetError("The checkup has no finding {id!r}.", "Make the checkup again.", id=id)

    @property
    def light(self) -> Light:
        """The worst of all findings."""
        return min((finding.light for finding in self.findings), key=_WORST.__getitem__, default="green")

    def told(self, project: Project, language: str = "en") -> dict[str, Any]:
        """What a page shows, in ``language``; photos that are gone meanwhile are left out."""
        there = set(stamps_of(project))
        findings = [finding.told(language) for finding in self.findings]
        for finding in findings:
            finding["photos"] = [key for key in finding["photos"] if key in there]
        return {
            "made_at": self.made_at,
            "kind": self.kind,
            "resolution_px": self.resolution_px,
            "light": self.light,
            "is_stale": self.is_stale(project),
            "findings": findings,
            "detector": {
                "name": self.detector.name,
                "kind": self.detector.kind,
                "sentence": self.detector.sentence.text(language),
            },
        }


def own_photos(project: Project) -> list[Photo]:
    """The photos a checkup is about: without the extra face crops and the pictures of others (prior preservation)."""
    apart = {group.name for group in project.groups if group.is_prior or group.is_faces}
    return [photo for photo in project.photos() if photo.group not in apart]


def stamps_of(project: Project) -> dict[str, Any]:
    """By key: size, time, face and crop set by hand."""
    stamps: dict[str, Any] = {}
    for photo in own_photos(project):
        try:
            stat = photo.path.stat()
        except OSError:  # taken out meanwhile
            continue
        boxes = [list(box) if box else None for box in (photo.face, photo.crop)]
        stamps[project.key(photo.path)] = [stat.st_size, stat.st_mtime_ns, *boxes]
    return stamps


def _place(project: Project) -> Path:
    return project.root / FOLDER / "report.json"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _place_from(plain: dict[str, Any]) -> Place:
    (left, top), (width, height) = plain["origin"], plain["size"]
    faces = tuple((float(x), float(y), float(w), float(h)) for x, y, w, h in plain["faces"])
    return Place((int(left), int(top)), (int(width), int(height)), faces)
