"""Nothing is deleted: a photo that is taken out moves to trash/ with its caption and mask, and can come back."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge import atomic
from lora_forge.dataset.images import IMAGE_SUFFIXES
from lora_forge.dataset.naming import free_stem, taken_stems
from lora_forge.dataset.project import Box, Project, caption_path
from lora_forge.errors import DatasetError


@dataclass(frozen=True)
class TrashEntry:
    """One photo in the trash. ``key``: where it was within images/. ``image_path``: where it is now."""

    folder: Path
    key: str
    image_path: Path
    face: Box | None


def take_out(project: Project, path: Path) -> TrashEntry:
    """Move the photo at ``path`` with its caption, mask and face box to the trash.

    The entry is written first and the photo moved before the rest: killed anywhere in between, nothing is lost.

    Raises:
        DatasetError: the photo is not there or can't be moved.
    """
    if not path.is_file():
        raise DatasetError("{path} is not there.", "Reload the list of photos.", path=path)
    face, caption, mask = project.photo(path).face, caption_path(path), project.mask_place(path)
    try:
        folder = _new_folder(project.trash_dir)
        entry = {"key": project.key(path), "face": face}
        text = json.dumps(entry, ensure_ascii=False).encode("utf-8", errors="surrogateescape")
        atomic.write_bytes(folder / "entry.json", text)
        is_shared = _has_sibling(path)
        os.replace(path, folder / path.name)
        _move(caption, folder / caption.name, is_shared)
        _move(mask, folder / "mask" / mask.name, is_shared)
    except OSError as cause:
        raise DatasetError("{path} can't be moved to the trash: {cause}.", path=path, cause=cause) from cause
    if face is not None:
        project.set_face(path, None)
    return TrashEntry(folder, project.key(path), folder / path.name, face)


def trashed(project: Project) -> tuple[TrashEntry, ...]:
    """What is in the trash, oldest first; folders without a readable entry or photo are left out."""
    folders = project.trash_dir.iterdir() if project.trash_dir.is_dir() else ()
    numbered = sorted((int(folder.name), folder) for folder in folders if folder.name.isdecimal())
    found = (_read_entry(folder) for _, folder in numbered)
    return tuple(entry for entry in found if entry is not None)


def put_back(project: Project, entry: TrashEntry) -> Path:
    """Move a trashed photo back where it was and return its path; under a new name when its place is taken.

    Raises:
        DatasetError: it is not in the trash any more, or can't be moved.
    """
    place = project.images_dir / entry.key
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        is_free = not place.exists() and not _has_sibling(place)
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
    if entry.face is not None:
        project.set_face(target, entry.face)
    return target


def _clear(folder: Path) -> None:
    """Remove an emptied entry; a caption or mask whose place was taken meanwhile stays where it is."""
    (folder / "entry.json").unlink()
    for part in (folder / "mask", folder):
        with contextlib.suppress(OSError):
            part.rmdir()


def _new_folder(trash_dir: Path) -> Path:
    trash_dir.mkdir(parents=True, exist_ok=True)
    number = max((int(path.name) for path in trash_dir.iterdir() if path.name.isdecimal()), default=0)
    while True:
        number += 1
        try:
            (trash_dir / f"{number:04d}").mkdir()
            return trash_dir / f"{number:04d}"
        except FileExistsError:  # another window took the number
            continue


def _has_sibling(path: Path) -> bool:
    """Whether another picture has the same stem, and with it the same caption and mask."""
    others = (other for other in path.parent.iterdir() if other.stem == path.stem and other.name != path.name)
    return any(other.suffix.lower() in IMAGE_SUFFIXES for other in others)


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
        image_path = folder / Path(plain["key"]).name
        face = plain["face"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    box = (int(face[0]), int(face[1]), int(face[2]), int(face[3])) if face else None
    return TrashEntry(folder, plain["key"], image_path, box) if image_path.is_file() else None
