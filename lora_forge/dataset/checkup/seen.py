"""The photos as the checkup sees them: what training gets of each, its measures, its faces."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from lora_forge.dataset.checkup.measures import (
    VERSION,
    FaceMeasures,
    Measures,
    measure,
    measure_face,
    measures_from,
    to_json,
)
from lora_forge.dataset.checkup.thresholds import SECOND_FACE_SHARE
from lora_forge.dataset.faces.face import Detector, Face, overlap
from lora_forge.dataset.faces.memory import FOLDER, FaceMemory, content_of
from lora_forge.dataset.files import write_quickly
from lora_forge.dataset.images import UnreadableImageError, read_image
from lora_forge.dataset.project import Box, Photo, Project

_MOST_FACES = 6  # measured per photo; a crowd needs no more to be called one


@dataclass(frozen=True)
class Seen:
    """One photo. ``problem``: why it can't be read, then there is no more of it.

    ``faces``: those that count, largest first, boxes in px of what training gets of it (the crop set by hand, or all
    of it), which begins at ``origin`` in the upright picture. ``is_marked``: the first was marked by hand.
    """

    key: str
    caption: str
    problem: UnreadableImageError | None
    measures: Measures
    faces: tuple[Face, ...] = ()
    face_measures: tuple[FaceMeasures, ...] = ()
    origin: tuple[int, int] = (0, 0)
    is_marked: bool = False

    @property
    def main(self) -> Face | None:
        """The face it is about."""
        return self.faces[0] if self.faces else None

    @property
    def main_measures(self) -> FaceMeasures | None:
        """Of :attr:`main`."""
        return self.face_measures[0] if self.face_measures else None


NOTHING = Measures(0, 0, 0, 0, 0.0, 0.0, None, "", "")


class Watcher:
    """Looks at photos, remembering everything by content in checkup/."""

    def __init__(self, project: Project, detector: Detector) -> None:
        self._project = project
        self._faces = FaceMemory(project.root, detector)
        self._memory = _Memory(project.root / FOLDER / "measures.json")

    def look(self, photo: Photo) -> Seen:
        """Everything about one photo; quick where its content was seen before.

        Raises:
            MissingPartError: the detector fails.
        """
        key = self._project.key(photo.path)
        try:
            content = self._memory.content(key, photo.path)
            return self._seen(photo, key, content)
        except UnreadableImageError as problem:
            return Seen(key, photo.caption, problem, NOTHING)
        except OSError as cause:
            return Seen(key, photo.caption, UnreadableImageError(photo.path, cause.strerror or str(cause)), NOTHING)

    def save(self) -> None:
        """Keep what is new.

        Raises:
            OSError: the disk is full or the folder can't be written.
        """
        self._faces.save()
        self._memory.save()

    def _seen(self, photo: Photo, key: str, content: str) -> Seen:
        crop = photo.crop
        if crop is not None:
            content += " {} {} {} {}".format(*crop)
        image = _Once(lambda: _cropped(read_image(photo.path), crop))
        measures = self._memory.measures(content, image)
        found = self._faces.faces(photo.path, content=content, image=image.get)
        origin = (crop[0], crop[1]) if crop is not None else (0, 0)
        marked = photo.face
        faces = _that_count(found) if marked is None else _with_mark(found, marked, origin)
        around = tuple(self._memory.face_measures(content, face, image) for face in faces)
        return Seen(key, photo.caption, None, measures, faces, around, origin, marked is not None)


def _cropped(image: Image.Image, crop: Box | None) -> Image.Image:
    if crop is None:
        return image
    x, y, width, height = crop
    return image.crop((max(x, 0), max(y, 0), min(x + width, image.width), min(y + height, image.height)))


def _that_count(found: list[Face]) -> tuple[Face, ...]:
    """The largest, and others that are no passers-by."""
    return tuple(face for face in found[:_MOST_FACES] if face.area >= SECOND_FACE_SHARE * found[0].area)


def _with_mark(found: list[Face], marked: Box, origin: tuple[int, int]) -> tuple[Face, ...]:
    """The face a person marked; what the detector knows of it comes along. Nobody else counts: it was decided."""
    x, y, width, height = marked
    box = (float(x - origin[0]), float(y - origin[1]), float(width), float(height))
    same = next((face for face in found if overlap(face.box, box) >= 0.5), None)
    if same is None:
        return (Face(box),)
    return (Face(box, same.score, same.landmarks, same.embedding, same.yaw),)


class _Once:
    """A picture that is read when it is first asked for."""

    def __init__(self, read: Callable[[], Image.Image]) -> None:
        self._read = read
        self._image: Image.Image | None = None

    def get(self) -> Image.Image:
        if self._image is None:
            self._image = self._read()
        return self._image


class _Memory:
    """checkup/measures.json: content by place, size and time; measures by content."""

    def __init__(self, path: Path) -> None:
        self._path = path
        plain = _load(path)
        self._files: dict[str, list[Any]] = plain["files"]
        self._photos: dict[str, Any] = plain["photos"]
        self._around: dict[str, Any] = plain["faces"]
        self._is_changed = False

    def content(self, key: str, path: Path) -> str:
        stat = path.stat()
        known = self._files.get(key)
        if known is None or known[:2] != [stat.st_size, stat.st_mtime_ns]:
            known = self._files[key] = [stat.st_size, stat.st_mtime_ns, content_of(path)]
            self._is_changed = True
        return str(known[2])

    def measures(self, content: str, image: _Once) -> Measures:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return measures_from(self._photos[content])
        found = measure(image.get())
        self._photos[content], self._is_changed = to_json(found), True
        return found

    def face_measures(self, content: str, face: Face, image: _Once) -> FaceMeasures:
        key = f"{content} {' '.join(str(round(number)) for number in face.box)}"
        with contextlib.suppress(KeyError, TypeError):
            return FaceMeasures(**self._around[key])
        found = measure_face(image.get(), face.box)
        self._around[key], self._is_changed = to_json(found), True
        return found

    def save(self) -> None:
        if not self._is_changed:
            return
        plain = {"version": VERSION, "files": self._files, "photos": self._photos, "faces": self._around}
        # Names whose bytes are not UTF-8 reach us as lone surrogates; JSON escapes them.
        text = json.dumps(plain)
        write_quickly(self._path, lambda temporary: _write(temporary, text))
        self._is_changed = False


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _load(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if plain["version"] == VERSION and all(isinstance(plain[name], dict) for name in ("files", "photos", "faces")):
            return plain
    return {"files": {}, "photos": {}, "faces": {}}
