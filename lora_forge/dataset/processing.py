"""From photos to what training sees: find the faces, cut the face set, bring everything to training size.

Each part looks for a stop between two photos, and what it has done until then is kept: doing it again goes on from
there. Detectors are handed in; see :mod:`lora_forge.dataset.faces`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from lora_forge.dataset.face_set import FaceSet
from lora_forge.dataset.faces import Detector, FaceMemory
from lora_forge.dataset.faces.face import FaceBox
from lora_forge.dataset.found import FoundFaces
from lora_forge.dataset.hand import content_of
from lora_forge.dataset.images import UnreadableImageError, read_image
from lora_forge.dataset.manifest import PrepareSettings
from lora_forge.dataset.prepare import prepare
from lora_forge.dataset.project import Box, Photo, Project
from lora_forge.dataset.stages import Stage
from lora_forge.dataset.thumbs import thumbs_of
from lora_forge.errors import DatasetError
from lora_forge.events import CommandBox, Emit, Event, Progress, Warned
from lora_forge.i18n import word

FACES_STAGE, CUT_STAGE = "faces", "face_set"
MOST_PADDING = 2.0
_FOUND = word("Faces in {with_faces} of {photos} photos, found by {detector}.")
_CUT = word("{made} faces cut, {kept} kept as they were, {thrown_out} left out because they were thrown out before.")
_TOO_SMALL = word("{count} faces are too small to train on and were not cut.")
_CLEARED = word("{count} face crops whose photo or face is gone were moved to the trash.")
_NO_FINDER = word("No face detector is at work: only faces marked by hand are cut around.")

Find = Callable[[Callable[[], Image.Image], Path, str], Sequence[Sequence[float]]]
"""Face boxes (x, y, width, height) in px of an upright picture, given by what reads it, its path and its sha256."""


@dataclass(frozen=True)
class FaceFinder:
    """``id`` says which results may be kept: another detector looks again. ``name`` is for a person. ``save`` is called
    when all photos were seen, and when that was cut short."""

    id: str
    name: str
    find: Find
    save: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, detector: Detector, project: Project) -> FaceFinder | None:
        """By a detector of ours, sharing what it has found with the checkup; None where it never finds anything."""
        if not detector.finds:
            return None
        memory = FaceMemory(project.root, detector)

        def find(read: Callable[[], Image.Image], path: Path, sha256: str) -> list[FaceBox]:
            return [face.box for face in memory.faces(path, read, sha256)]

        return cls(detector.id, detector.name, find, memory.save)


@dataclass(frozen=True)
class ProcessSettings:
    """``crop``: ``subject``, ``middle`` or ``none``, kept as the project's way. ``faces``: whether to cut the face set,
    with ``face_padding`` (in face sides, 0 to 2) around each and ``face_repeats`` (None leaves them)."""

    size: PrepareSettings
    crop: str = "subject"
    faces: bool = False
    face_padding: float = 0.5
    face_repeats: int | None = None


class _StoppedError(Exception):
    """A stop was asked for."""


def process(
    project: Project, settings: ProcessSettings, finder: FaceFinder | None, emit: Emit, commands: CommandBox
) -> str:
    """``done``, or ``stopped`` when ``commands`` asked for it; then doing it again goes on.

    Raises:
        DatasetError: no photo is usable, a setting is impossible, or the disk can't be written.
        MissingPartError: the detector fails.
    """
    if not 0 <= settings.face_padding <= MOST_PADDING:
        raise DatasetError("The padding of faces must be 0 to 2, not {padding}.", padding=settings.face_padding)
    settings.size.buckets()
    project.set_crop_mode(settings.crop)
    try:
        if settings.crop == "subject" or settings.faces:
            _find_faces(project, finder, emit, commands)
        if settings.faces:
            _cut_faces(project, settings, emit, commands)
        prepare(project, settings.size, _stopping(emit, commands))
    except _StoppedError:
        return "stopped"
    return "done"


def _find_faces(project: Project, finder: FaceFinder | None, emit: Emit, commands: CommandBox) -> None:
    """Look for faces in every photo that ``finder`` has not seen, and that is not a face crop itself."""
    if finder is None:
        emit(Warned(_NO_FINDER))
        return
    found, photos, with_faces = FoundFaces.load(project.root), _whole_photos(project), 0
    stage = Stage(emit, FACES_STAGE, len(photos))
    with _in_words(project):
        try:
            for photo in photos:
                _stop_if_asked(commands)
                sha256 = _content(photo.path)
                if sha256 and not found.is_looked_at(sha256, finder.id):
                    _look(project, photo, sha256, finder, found)
                with_faces += bool(found.of(sha256))
                stage.advance()
        finally:
            found.save()
            finder.save()
    stage.finish(_FOUND, with_faces=with_faces, photos=len(photos), detector=finder.name)


def _look(project: Project, photo: Photo, sha256: str, finder: FaceFinder, found: FoundFaces) -> None:
    with contextlib.suppress(UnreadableImageError):  # prepare() says which, and why
        size = thumbs_of(project.root).size(photo.path)
        boxes = finder.find(functools.partial(read_image, photo.path), photo.path, sha256)
        found.note(sha256, finder.id, _whole_boxes(boxes, size))


def _cut_faces(project: Project, settings: ProcessSettings, emit: Emit, commands: CommandBox) -> None:
    prior = {group.name for group in project.groups if group.is_prior}
    photos = [photo for photo in _whole_photos(project) if photo.group not in prior]
    stage, found = Stage(emit, CUT_STAGE, len(photos)), FoundFaces.load(project.root)
    with _in_words(project):
        cutter = FaceSet(project, settings.face_padding, settings.face_repeats)
        contents = [_content(photo.path) for photo in photos]
        cutter.expect(contents)
        try:
            for photo, sha256 in zip(photos, contents, strict=True):
                _stop_if_asked(commands)
                faces = (photo.face,) if photo.face else found.of(sha256)
                if sha256 and (faces or cutter.cuts_from(photo, sha256)):
                    with contextlib.suppress(UnreadableImageError):
                        size = thumbs_of(project.root).size(photo.path)
                        cutter.cut(photo, sha256, size, faces, functools.partial(read_image, photo.path))
                stage.advance()
        finally:
            cutter.save()
        cleared = cutter.clear()
    if cutter.too_small:
        emit(Warned(_TOO_SMALL, {"count": cutter.too_small}))
    if cleared:
        emit(Warned(_CLEARED, {"count": cleared}))
    stage.finish(_CUT, made=cutter.made, kept=cutter.kept, thrown_out=cutter.thrown_out)


@contextlib.contextmanager
def _in_words(project: Project) -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        raise DatasetError(
            "The faces of {name} can't be written: {cause}.",
            "Free some space, or check that the folder may be written. What was done so far is kept.",
            name=project.root.name,
            cause=cause,
        ) from cause


def _stopping(emit: Emit, commands: CommandBox) -> Emit:
    def emit_or_stop(event: Event) -> None:
        emit(event)
        if isinstance(event, Progress) and event.done < event.total:
            _stop_if_asked(commands)

    return emit_or_stop


def _stop_if_asked(commands: CommandBox) -> None:
    if commands.asks_to_stop():
        raise _StoppedError


def _whole_photos(project: Project) -> list[Photo]:
    """All photos but the face crops."""
    crops = {group.name for group in project.groups if group.is_faces}
    return [photo for photo in project.photos() if photo.group not in crops]


def _content(path: Path) -> str:
    """sha256 of a photo; empty when it was deleted underneath."""
    try:
        stat = path.stat()
        return content_of(path, stat.st_size, stat.st_mtime_ns)
    except OSError:
        return ""


def _whole_boxes(boxes: Sequence[Sequence[float]], size: tuple[int, int]) -> list[Box]:
    """In whole px, within a picture of ``size``; those without area are left out."""
    found = []
    for x, y, width, height in boxes:
        left, top = max(0, round(x)), max(0, round(y))
        right, bottom = min(size[0], round(x + width)), min(size[1], round(y + height))
        if right > left and bottom > top:
            found.append((left, top, right - left, bottom - top))
    return found
