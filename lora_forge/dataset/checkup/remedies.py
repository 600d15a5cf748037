"""One click: doing what a finding proposes, and taking it back. Originals are never changed or deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge.dataset.checkup.finding import ACTING, Finding
from lora_forge.dataset.checkup.report import Place, Report
from lora_forge.dataset.checkup.thresholds import ASPECT_MOST
from lora_forge.dataset.faces.face import FaceBox, overlap
from lora_forge.dataset.project import Box, Project
from lora_forge.dataset.project_file import parse_box
from lora_forge.dataset.trash import find, put_back_all, take_out_all
from lora_forge.errors import DatasetError
from lora_forge.i18n import Said, word

TRASHED = word("{count} photos moved to the trash.")
CROPPED = word("{count} photos cropped; the originals stay as they are.")
NOTHING_DONE = word("There was nothing to do.")
RESTORED = word("{count} photos are back.")
UNCROPPED = word("{count} crops taken back.")

FACE_IN_CROP = 0.2  # a half-length picture: large enough to be learned, with shoulders and clothes
FITTING_ASPECT = 1.5
_PADS = ((1.0, 0.8, 2.5), (0.6, 0.5, 1.0), (0.3, 0.3, 0.3), (0.0, 0.0, 0.0))
"""Room around a face beside, above and below it, in faces: as much as other faces leave."""


@dataclass(frozen=True)
class Done:
    """``did``: what was done. ``undo``: for :func:`undo`, plain JSON; None when nothing was."""

    did: Said
    undo: dict[str, Any] | None = None


def apply(project: Project, finding: str, remedy: str, keys: Sequence[str] | None = None) -> Done:
    """Perform ``remedy`` of a finding of the last checkup on ``keys``, or on all photos it names.

    Photos that are gone meanwhile are left out.

    Raises:
        DatasetError: no checkup was made, it has no such finding or remedy, or the disk refuses.
    """
    report = Report.load(project)
    if report is None:
        raise DatasetError("No checkup was made of {root} yet.", "Make one first.", root=project.root)
    found = report.finding(finding)
    if remedy not in found.remedies or remedy not in ACTING:
        raise DatasetError("{finding} has no remedy {name!r} to perform.", finding=finding, name=remedy)
    asked = found.photos if keys is None else [key for key in keys if key in found.photos]
    paths = {key: project.images_dir / key for key in asked}
    there = {key: path for key, path in paths.items() if path.is_file()}
    if not there:
        return Done(Said(NOTHING_DONE))
    if remedy == "crop_to_face":
        return _crop(project, report, found, there)
    entries = take_out_all(project, list(there.values()))
    return Done(Said(TRASHED, {"count": len(entries)}), {"kind": "trash", "numbers": [one.number for one in entries]})


def undo(project: Project, what: dict[str, Any]) -> Said:
    """Take back what :func:`apply` did, by its ``undo``; one sentence.

    Raises:
        DatasetError: it is damaged, or the disk refuses.
    """
    try:
        if what["kind"] == "trash":
            entries = [find(project, int(number)) for number in what["numbers"]]
            back = put_back_all(project, [entry for entry in entries if entry is not None])
            return Said(RESTORED, {"count": len(back)})
        if what["kind"] != "crop":
            raise KeyError("kind")
        boxes = {str(key): None if box is None else parse_box(box) for key, box in what["boxes"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise DatasetError("This step can't be taken back: {cause}.", cause=str(cause)) from cause
    own = {project.images_dir / key: box for key, box in boxes.items() if ".." not in Path(key).parts}
    there = {path: box for path, box in own.items() if path.is_relative_to(project.images_dir) and path.is_file()}
    for path, box in there.items():
        project.set_crop(path, box)
    return Said(UNCROPPED, {"count": len(there)})


def _crop(project: Project, report: Report, finding: Finding, there: dict[str, Path]) -> Done:
    before: dict[str, list[int] | None] = {}
    for key, path in there.items():
        place = report.places.get(key)
        box = None if place is None else _HOW[finding.id](place)
        if place is None or box is None:
            continue
        old = project.photo(path).crop
        project.set_crop(path, (box[0] + place.origin[0], box[1] + place.origin[1], box[2], box[3]))
        before[key] = None if old is None else list(old)
    if not before:
        return Done(Said(NOTHING_DONE))
    return Done(Said(CROPPED, {"count": len(before)}), {"kind": "crop", "boxes": before})


# ---------------------------------------------------------------- boxes


def without_others(place: Place) -> Box | None:
    """As much as possible around the first face with no other face in it; None where they lie on each other."""
    if len(place.faces) < 2:
        return None
    main, others = place.faces[0], place.faces[1:]
    for beside, above, below in _PADS:
        x, y, width, height = main
        kept = (x - beside * width, y - above * height, x + (1 + beside) * width, y + (1 + below) * height)
        limits = _cut(place.size, kept, others)
        if limits is not None:
            return limits
    return None


def _cut(size: tuple[int, int], kept: tuple[float, ...], others: Sequence[FaceBox]) -> Box | None:
    """The picture cut back from each other face on the side that loses least, with ``kept`` whole inside."""
    left, top, right, bottom = 0.0, 0.0, float(size[0]), float(size[1])
    kept = (max(kept[0], 0.0), max(kept[1], 0.0), min(kept[2], right), min(kept[3], bottom))
    for x, y, width, height in others:
        if overlap((left, top, right - left, bottom - top), (x, y, width, height)) == 0:
            continue
        ways = []
        if x + width <= kept[0]:
            ways.append((x + width, top, right, bottom))
        if x >= kept[2]:
            ways.append((left, top, x, bottom))
        if y + height <= kept[1]:
            ways.append((left, y + height, right, bottom))
        if y >= kept[3]:
            ways.append((left, top, right, y))
        if not ways:
            return None
        left, top, right, bottom = max(ways, key=lambda way: (way[2] - way[0]) * (way[3] - way[1]))
    first_x, first_y = int(-(-left // 1)), int(-(-top // 1))
    return first_x, first_y, int(right) - first_x, int(bottom) - first_y


def half_length(place: Place) -> Box | None:
    """A crop of the picture's own shape in which the face is :data:`FACE_IN_CROP` high, in its upper middle."""
    if not place.faces:
        return None
    x, y, face_width, face_height = place.faces[0]
    width, height = place.size
    factor = min(1.0, face_height / FACE_IN_CROP / height)
    if factor == 1.0:
        return None
    wide, tall = max(1, round(width * factor)), max(1, round(height * factor))
    left = x + face_width / 2 - wide / 2
    top = y + face_height / 2 - tall / 3
    return round(min(max(left, 0), width - wide)), round(min(max(top, 0), height - tall)), wide, tall


def less_long(place: Place) -> Box | None:
    """The picture cut to 3:2 along its longer side, around the face or the middle."""
    width, height = place.size
    if max(width, height) <= ASPECT_MOST * min(width, height):
        return None
    wide, tall = min(width, round(FITTING_ASPECT * height)), min(height, round(FITTING_ASPECT * width))
    x, y, face_width, face_height = place.faces[0] if place.faces else (width / 2, height / 2, 0.0, 0.0)
    left = x + face_width / 2 - wide / 2
    top = y + face_height / 2 - (tall / 3 if place.faces else tall / 2)
    return round(min(max(left, 0), width - wide)), round(min(max(top, 0), height - tall)), wide, tall


_HOW: dict[str, Callable[[Place], Box | None]] = {
    "many_faces": without_others,
    "small_face": half_length,
    "aspect": less_long,
}
