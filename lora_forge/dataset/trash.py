"""Nothing is deleted: a photo that is taken out moves to trash/ with its caption and mask, and can come back.

::

    trash/0007/entry.json    {"key": where it was, "face": a box or null, "batch": 6}
    trash/0007/NAME.jpg NAME.txt mask/NAME.png

What is taken out together has the number of its first in ``batch``, and can come back together.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lora_forge.dataset import files
from lora_forge.dataset.images import IMAGE_SUFFIXES
from lora_forge.dataset.naming import free_stem, taken_stems
from lora_forge.dataset.project import Box, Project, caption_path
from lora_forge.errors import DatasetError


@dataclass(frozen=True)
class TrashEntry:
    """One photo in the trash. ``key``: where it was within images/. ``image_path``: where it is now. ``batch``: the
    number of the first of those that went together."""

    folder: Path
    key: str
    image_path: Path
    face: Box | None
    batch: int = 0

    @property
    def number(self) -> int:
        """By which it is named."""
        return int(self.folder.name)


def take_out(project: Project, path: Path) -> TrashEntry:
    """Move the photo at ``path`` with its caption, mask and face box to the trash.

    Raises:
        DatasetError: the photo is not there or can't be moved.
    """
    return take_out_all(project, [path])[0]


def take_out_all(project: Project, paths: Sequence[Path]) -> tuple[TrashEntry, ...]:
    """Move photos with their captions, masks and face boxes to the trash, as one batch.

    Each entry is written first and the photo moved before the rest: killed anywhere in between, nothing is lost.

    Raises:
        DatasetError: a photo is not there, with nothing moved; or one can't be moved, with those before it moved.
    """
    paths = list(dict.fromkeys(paths))
    for path in paths:
        if not path.is_file():
            raise DatasetError("{path} is not there.", "Reload the list of photos.", path=path)
    mover, moved = _Mover(project, paths), []
    try:
        for path in paths:
            moved.append(mover.move(path))
        files.sync(entry.folder / "entry.json" for entry in moved)
    except OSError as cause:
        raise DatasetError("{path} can't be moved to the trash: {cause}.", path=path, cause=cause) from cause
    finally:
        project.forget_face_places(entry.key for entry in moved)
    return tuple(moved)


def trashed(project: Project) -> tuple[TrashEntry, ...]:
    """What is in the trash, oldest first; folders without a readable entry or photo are left out."""
    folders = project.trash_dir.iterdir() if project.trash_dir.is_dir() else ()
    numbered = sorted((int(folder.name), folder) for folder in folders if folder.name.isdecimal())
    found = (_read_entry(folder) for _, folder in numbered)
    return tuple(entry for entry in found if entry is not None)


def find(project: Project, number: int) -> TrashEntry | None:
    """The entry with that number; None when there is none."""
    return _read_entry(project.trash_dir / f"{number:04d}") if number > 0 else None


def last_batch(project: Project) -> tuple[TrashEntry, ...]:
    """What was taken out last and is still in the trash."""
    entries = trashed(project)
    return tuple(entry for entry in entries if entry.batch == entries[-1].batch)


def put_back(project: Project, entry: TrashEntry) -> Path:
    """Move a trashed photo back where it was and return its path; under a new name when its place is taken.

    Raises:
        DatasetError: it is not in the trash any more, or can't be moved.
    """
    place = project.images_dir / entry.key
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        is_free = not place.exists() and not _has_picture(place)
        stem = place.stem if is_free else free_stem(taken_stems(place.parent), place.stem)
        target = place.with_name(stem + place.suffix)
        caption = caption_path(entry.image_path)
        mask = (entry.folder / "mask" / entry.image_path.name).with_suffix(".png")
        os.replace(entry.image_path, target)
        _move(caption, target.with_suffix(caption.suffix), False)
        _move(mask, project.mask_place(target), False)
        _clear(entry.folder)
    except OSError as cause:
        raise DatasetError("{key} can't be brought back: {cause}.", key=entry.key, cause=cause) from cause
    if entry.face is not None and project.photo(target).face != entry.face:
        project.set_face(target, entry.face)
    return target


def put_back_all(project: Project, entries: Iterable[TrashEntry]) -> tuple[Path, ...]:
    """:func:`put_back` of several.

    Raises:
        DatasetError: one is not in the trash any more, or can't be moved; those before it are back.
    """
    return tuple(put_back(project, entry) for entry in entries)


class _Mover:
    """Moves photos into one batch; the trash and the folders are looked through once."""

    def __init__(self, project: Project, paths: Sequence[Path]) -> None:
        self._project, self._batch, self._number = project, 0, 0
        self._stems = {folder: _stems(folder) for folder in {path.parent for path in paths}}

    def move(self, path: Path) -> TrashEntry:
        project, stems = self._project, self._stems[path.parent]
        face, caption, mask = project.photo(path).face, caption_path(path), project.mask_place(path)
        folder = self._new_folder()
        entry = {"key": project.key(path), "face": face, "batch": self._batch}
        text = json.dumps(entry, ensure_ascii=False).encode("utf-8", errors="surrogateescape")
        files.write_quickly(folder / "entry.json", lambda temporary: _write(temporary, text))
        is_shared = stems[path.stem] > 1  # another picture has the same stem, and with it the same caption and mask
        os.replace(path, folder / path.name)
        stems[path.stem] -= 1
        _move(caption, folder / caption.name, is_shared)
        _move(mask, folder / "mask" / mask.name, is_shared)
        return TrashEntry(folder, project.key(path), folder / path.name, face, self._batch)

    def _new_folder(self) -> Path:
        trash_dir = self._project.trash_dir
        if not self._number:
            trash_dir.mkdir(parents=True, exist_ok=True)
            self._number = max((int(path.name) for path in trash_dir.iterdir() if path.name.isdecimal()), default=0)
        while True:
            self._number += 1
            try:
                (trash_dir / f"{self._number:04d}").mkdir()
            except FileExistsError:  # another window took the number
                continue
            self._batch = self._batch or self._number
            return trash_dir / f"{self._number:04d}"


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _clear(folder: Path) -> None:
    """Remove an emptied entry; a caption or mask whose place was taken meanwhile stays where it is."""
    (folder / "entry.json").unlink()
    for part in (folder / "mask", folder):
        with contextlib.suppress(OSError):
            part.rmdir()


def _stems(folder: Path) -> Counter[str]:
    """How many pictures in ``folder`` have each stem."""
    paths = map(Path, os.listdir(folder))
    return Counter(path.stem for path in paths if path.suffix.lower() in IMAGE_SUFFIXES)


def _has_picture(place: Path) -> bool:
    """Whether a picture beside ``place`` has its stem; names that can't have it are told apart quickly."""
    start = place.stem + "."
    near = [name for name in os.listdir(place.parent) if name.startswith(start)]
    return any(Path(name).stem == place.stem and Path(name).suffix.lower() in IMAGE_SUFFIXES for name in near)


def _move(source: Path, target: Path, is_shared: bool) -> None:
    if not source.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if is_shared:
        shutil.copy2(source, target)
    elif not target.exists():  # never over something a person has put there meanwhile
        os.replace(source, target)


def _read_entry(folder: Path) -> TrashEntry | None:
    try:
        plain: dict[str, Any] = json.loads((folder / "entry.json").read_bytes().decode("utf-8", "surrogateescape"))
        place = PurePosixPath(plain["key"])
        if place.is_absolute() or ".." in place.parts:
            return None
        image_path = folder / place.name
        face, batch = plain["face"], plain.get("batch")
        box = (int(face[0]), int(face[1]), int(face[2]), int(face[3])) if face else None
        number = int(batch) if batch is not None else int(folder.name)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    return TrashEntry(folder, plain["key"], image_path, box, number) if image_path.is_file() else None
