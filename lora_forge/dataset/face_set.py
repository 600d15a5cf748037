"""The extra face set (脸部加强训练): faces cut from the photos at full size, as a group with its own repeats.

What was cut is noted in project.json, so that cutting again keeps what a person did with it::

    "cuts": [{"key": "faces/FACE_anna_1.png", "sha256": of that file, "source": "photos/anna.jpg",
              "source_sha256": of the photo, "face": [x, y, w, h], "box": what was cut, in upright px of the photo}]

A cut whose file is not in images/ any more was thrown out by a person, and is not made again from the same photo. One
that a person has changed, or set a crop on, is left as it is. The caption is a copy of the photo's, made once.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from lora_forge.dataset import files, trash
from lora_forge.dataset.crops import around_face, overlap_share
from lora_forge.dataset.hand import content_of
from lora_forge.dataset.manifest import sha256_of
from lora_forge.dataset.naming import free_stem, safe_stem, taken_stems
from lora_forge.dataset.project import Box, Photo, Project, caption_path
from lora_forge.dataset.project_file import Group, parse_box

FACE_GROUP = "faces"
LEAST_FACE_PX = 48  # enlarged to a training size, what is smaller teaches blur
Read = Callable[[], Image.Image]
_SAME_FACE = 0.4  # share that two boxes of one face have in common, whichever detector found them


@dataclass(frozen=True)
class FaceCut:
    """One note of project.json."""

    key: str
    sha256: str
    source: str
    source_sha256: str
    face: Box
    box: Box


def face_group(project: Project) -> Group:
    """The group of the project's face crops: the one marked so, else a new one under the nearest free name."""
    groups = project.groups
    marked = next((group for group in groups if group.is_faces), None)
    if marked is not None:
        return marked
    taken = {group.name.casefold() for group in groups}
    return Group(free_stem(taken, FACE_GROUP), is_faces=True)


def cuts_of(project: Project, paths: Sequence[Path]) -> list[Path]:
    """The faces that were cut from the photos at ``paths`` and are still there, without those in ``paths``."""
    keys = {project.key(path) for path in paths}
    cuts = (project.images_dir / cut["key"] for cut in project.cuts if cut["source"] in keys and cut["key"] not in keys)
    return [path for path in dict.fromkeys(cuts) if path.is_file()]


class FaceSet:
    """Cuts faces photo by photo; :meth:`save` notes what was done."""

    def __init__(self, project: Project, padding: float, repeats: int | None = None) -> None:
        group = face_group(project)
        if repeats is not None or group not in project.groups:
            project.set_group(replace(group, repeats=repeats or group.repeats))
        self.folder, self._project, self._padding = project.images_dir / group.name, project, padding
        self._cuts = [_read(plain) for plain in project.cuts]
        self._known = set(self._cuts)
        self._taken = taken_stems(self.folder) | {Path(cut.key).stem.casefold() for cut in self._cuts}
        self._strays = self._find_strays()
        self._present: set[str] = set()
        self._unwanted: list[FaceCut] = []
        self.made, self.kept, self.thrown_out, self.too_small = 0, 0, 0, 0

    def expect(self, contents: Iterable[str]) -> None:
        """Say which photos there are, by content: one that is not among them was changed or taken away."""
        self._present = set(contents)

    def cut(self, photo: Photo, sha256: str, size: tuple[int, int], faces: Sequence[Box], read: Read) -> None:
        """Cut the ``faces`` (in upright px) of one photo with that content and (width, height); ``read`` gives its
        pixels where they are needed.

        Raises:
            OSError: the disk is full or the folder can't be written.
            UnreadableImageError: as ``read`` does.
        """
        key, left = self._project.key(photo.path), self.cuts_from(photo, sha256)
        for face in faces:
            before = max(left, key=lambda cut: overlap_share(cut.face, face), default=None)
            box = around_face(size, face, self._padding)
            if before is not None and overlap_share(before.face, face) > _SAME_FACE:
                left.remove(before)
                now = replace(before, source=key, source_sha256=sha256)
                self._cuts[self._cuts.index(before)] = self._renew(now, photo, face, box, read)
            elif min(face[2], face[3]) < LEAST_FACE_PX and photo.face is None:
                self.too_small += 1
            else:
                self._make(photo, sha256, face, box, read)
        if photo.face is not None:  # the person has said where the face is: what was found elsewhere is none
            self._unwanted += left

    def cuts_from(self, photo: Photo, sha256: str) -> list[FaceCut]:
        """What was cut from this photo before; or from the one that was in its place, when it was changed since."""
        key = self._project.key(photo.path)
        return [
            cut
            for cut in self._cuts
            if cut.source_sha256 == sha256 or (cut.source == key and cut.source_sha256 not in self._present)
        ]

    def save(self) -> None:
        """Note what was cut.

        Raises:
            DatasetError: project.json can't be written.
        """
        mine = [cut for cut in self._cuts if cut not in self._known]
        if not mine:
            return
        plain = {cut.key: asdict(cut) for cut in mine}

        def change(values: dict[str, Any]) -> None:
            values["cuts"] = [cut for cut in values["cuts"] if cut["key"] not in gone and cut["key"] not in plain]
            values["cuts"] += plain.values()

        gone = {cut.key for cut in self._known} - {cut.key for cut in self._cuts}
        self._project.update(change)
        self._known = set(self._cuts)

    def clear(self) -> int:
        """Move to the trash what was cut from photos that are gone, and from where a person says there is no face;
        how many. Only when all photos were seen.

        Raises:
            DatasetError: one can't be moved.
        """
        orphans = [cut for cut in self._cuts if cut.source_sha256 not in self._present]
        paths = [self._path(cut) for cut in dict.fromkeys([*orphans, *self._unwanted]) if self._is_ours(cut)]
        if paths:
            trash.take_out_all(self._project, paths)
        return len(paths)

    def _make(self, photo: Photo, sha256: str, face: Box, box: Box, read: Read) -> None:
        content = _png(read(), box)
        made = hashlib.sha256(content).hexdigest()
        path = self._strays.pop(made, None)  # made by a run that was killed before it could note so
        if path is None:
            number = 1 + sum(cut.source_sha256 == sha256 for cut in self._cuts)
            stem = free_stem(self._taken, safe_stem(f"FACE_{photo.path.stem}_{number}"))
            path = self.folder / f"{stem}.png"
            _write(path, content)
            self.made += 1
        else:
            self.kept += 1
        _copy_caption(photo, path)
        self._cuts.append(FaceCut(self._project.key(path), made, self._project.key(photo.path), sha256, face, box))

    def _renew(self, cut: FaceCut, photo: Photo, face: Box, box: Box, read: Read) -> FaceCut:
        """A face that was cut before: cut again where the padding has changed and nobody has touched it."""
        path = self._path(cut)
        if not path.is_file():
            moved = self._strays.pop(cut.sha256, None)
            if moved is None:
                self.thrown_out += 1
                return cut
            path, cut = moved, replace(cut, key=self._project.key(moved))
        _copy_caption(photo, path)
        if box == cut.box or not self._is_ours(cut) or self._project.photo(path).crop is not None:
            self.kept += 1
            return cut
        content = _png(read(), box)
        _write(path, content)
        self.made += 1
        return replace(cut, sha256=hashlib.sha256(content).hexdigest(), face=face, box=box)

    def _is_ours(self, cut: FaceCut) -> bool:
        """Whether the file is there as we made it."""
        path = self._path(cut)
        try:
            stat = path.stat()
            return content_of(path, stat.st_size, stat.st_mtime_ns) == cut.sha256
        except OSError:
            return False

    def _find_strays(self) -> dict[str, Path]:
        """Pictures in the group that no note names, by content: renamed, brought back, or not noted in time."""
        noted = {cut.key for cut in self._cuts}
        photos = [path for path in self.folder.glob("*.png") if not path.name.startswith(".")]
        return {sha256_of(path): path for path in photos if self._project.key(path) not in noted}

    def _path(self, cut: FaceCut) -> Path:
        return self._project.images_dir / cut.key


def _read(plain: dict[str, Any]) -> FaceCut:
    names = ("key", "sha256", "source", "source_sha256")
    key, sha256, source, source_sha256 = (str(plain[name]) for name in names)
    return FaceCut(key, sha256, source, source_sha256, parse_box(plain["face"]), parse_box(plain["box"]))


def _png(image: Image.Image, box: Box) -> bytes:
    """That part of ``image``, never larger than it is."""
    x, y, width, height = box
    file = io.BytesIO()
    image.crop((x, y, x + width, y + height)).save(file, format="PNG", compress_level=4)
    return file.getvalue()


def _copy_caption(photo: Photo, path: Path) -> None:
    """The photo's own caption, where the crop at ``path`` has none yet."""
    if photo.caption and not caption_path(path).exists():
        _write(path.with_suffix(".txt"), f"{photo.caption}\n".encode(errors="replace"))


def _write(path: Path, content: bytes) -> None:
    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    files.write_quickly(path, write)
