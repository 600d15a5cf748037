"""A project: one folder of plain files that a person can read, back up, move, and open with another tool.

::

    project.json               trigger word, groups, face boxes and crops set by hand, where face crops came from
    images/<group>/NAME.jpg    the photos, with NAME.txt (UTF-8) beside each for its caption
    masks/<group>/NAME.png     optional; white is where the loss counts
    trash/<number>/            what was taken out, with entry.json saying where it was
    prepared/ runs/ thumbs/    made by the program; may be thrown away or kept

JSON, not TOML: Python reads TOML only from 3.11 on, and the WebUIs bring no reader.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge import atomic
from lora_forge.dataset.captions import read_caption
from lora_forge.dataset.hand import HandEdits, noted
from lora_forge.dataset.images import IMAGE_SUFFIXES
from lora_forge.dataset.manifest import stamp
from lora_forge.dataset.naming import parse_kohya, safe_stem
from lora_forge.dataset.project_file import (
    CROP_MODES,
    SCHEMA_VERSION,
    Box,
    Group,
    checked_trigger,
    parse_box,
    parse_group,
    read_values,
)
from lora_forge.errors import DatasetError

__all__ = ["DEFAULT_GROUP", "Box", "Group", "Photo", "Project", "caption_path"]

DEFAULT_GROUP = "photos"
_CHANGING = threading.Lock()  # reading and writing one project.json again must not be parted by another thread


@dataclass(frozen=True)
class Photo:
    """One photo. ``caption`` as read now. ``face``, ``crop``: where the face is and what part to keep, set by hand:
    (x, y, width, height) in px of the upright picture."""

    path: Path
    group: str
    caption: str
    mask_path: Path | None
    face: Box | None
    crop: Box | None = None


class Project:
    """A project folder. Changes are written at once, whole; what others wrote to it meanwhile is kept."""

    def __init__(self, root: Path, values: dict[str, Any]) -> None:
        self.root = root
        self._values = values
        self._edits = HandEdits(values.get("edits", {}))

    @classmethod
    def create(cls, root: Path, trigger_word: str = "") -> Project:
        """A new project in ``root``, which may exist but must not hold a project.

        Raises:
            DatasetError: there is a project already, or the folder can't be written.
        """
        root = Path(root)
        if (root / "project.json").exists():
            raise DatasetError("There is a project in {root} already.", "Open it, or choose another folder.", root=root)
        project = cls(root, {"schema_version": SCHEMA_VERSION, "trigger_word": "", "groups": [], "faces": {}})
        try:
            (root / "images" / DEFAULT_GROUP).mkdir(parents=True, exist_ok=True)
            project._write({**project._values, "trigger_word": checked_trigger(trigger_word)})
        except OSError as cause:
            raise DatasetError("{root} can't hold a project: {cause}.", root=root, cause=cause) from cause
        return project

    @classmethod
    def load(cls, root: Path) -> Project:
        """The project in ``root``.

        Raises:
            DatasetError: there is none, or its project.json is damaged or from a newer program.
        """
        root = Path(root)
        return cls(root, read_values(root))

    @classmethod
    def open(cls, root: Path, trigger_word: str = "") -> Project:
        """:meth:`load` where there is a project, else :meth:`create`."""
        return cls.load(root) if (Path(root) / "project.json").exists() else cls.create(root, trigger_word)

    @property
    def images_dir(self) -> Path:
        """Where the groups are."""
        return self.root / "images"

    @property
    def masks_dir(self) -> Path:
        """Where the masks are, laid out as the images."""
        return self.root / "masks"

    @property
    def trash_dir(self) -> Path:
        """What was taken out; see :mod:`lora_forge.dataset.trash`."""
        return self.root / "trash"

    @property
    def prepared_dir(self) -> Path:
        """Training-size copies made by :func:`lora_forge.dataset.prepare.prepare`."""
        return self.root / "prepared"

    @property
    def runs_dir(self) -> Path:
        """Where runs keep their state and journal."""
        return self.root / "runs"

    @property
    def trigger_word(self) -> str:
        """The word that calls the subject; may be empty."""
        return str(self._values["trigger_word"])

    @property
    def crop_mode(self) -> str:
        """How photos are cut where no crop was set by hand: ``middle``, ``subject`` (around the faces found) or
        ``none`` (as little as the sizes allow)."""
        return str(self._values.get("crop_mode", CROP_MODES[0]))

    @property
    def thumbs_dir(self) -> Path:
        """Small pictures for the page; see :mod:`lora_forge.dataset.thumbs`."""
        return self.root / "thumbs"

    @property
    def groups(self) -> tuple[Group, ...]:
        """Groups by name: those written in project.json, and every other folder in images/."""
        known = {group.name: group for group in map(parse_group, self._values["groups"])}
        if self.images_dir.is_dir():
            for folder in self.images_dir.iterdir():
                if folder.is_dir() and not folder.name.startswith(".") and folder.name not in known:
                    kohya = parse_kohya(folder.name)
                    known[folder.name] = Group(folder.name, kohya[0] if kohya else None)
        return tuple(known[name] for name in sorted(known))

    def group(self, name: str) -> Group:
        """The group called ``name``; one with nothing set when it is not there (yet)."""
        return next((group for group in self.groups if group.name == name), Group(name))

    def photos(self) -> tuple[Photo, ...]:
        """All photos, sorted by their place; pictures directly in images/ belong to the default group."""
        return tuple(self.photo(path) for path in self.photo_paths())

    def photo_paths(self) -> list[Path]:
        """Where all photos are, sorted by their place."""
        return sorted(self._image_paths(), key=lambda path: self.key(path))

    def photo(self, path: Path) -> Photo:
        """What is known of the picture at ``path``, which lies in images/."""
        key = self.key(path)
        mask = self.mask_place(path)
        box = self._values["faces"].get(key)  # set by hand in the file, or by a version that knew no content
        edit = self._edits.of(key, path)
        return Photo(
            path=path,
            group=self.group_name(path),
            caption=read_caption(caption_path(path)),
            mask_path=mask if mask.is_file() else None,
            face=edit.face or (parse_box(box) if box is not None else None),
            crop=edit.crop,
        )

    def key(self, path: Path) -> str:
        """A picture's place within images/, with forward slashes: its name in project.json and the manifest."""
        return path.relative_to(self.images_dir).as_posix()

    def group_name(self, path: Path) -> str:
        """The group of the picture at ``path``."""
        parts = path.relative_to(self.images_dir).parts
        return parts[0] if len(parts) > 1 else DEFAULT_GROUP

    def mask_place(self, path: Path) -> Path:
        """Where the mask of the picture at ``path`` belongs, there or not."""
        relative = path.relative_to(self.images_dir)
        if len(relative.parts) == 1:
            relative = Path(DEFAULT_GROUP) / relative
        return (self.masks_dir / relative).with_suffix(".png")

    def set_trigger_word(self, trigger_word: str) -> None:
        """Change the trigger word.

        Raises:
            DatasetError: it holds a comma or a line end, which captions are split on.
        """
        word = checked_trigger(trigger_word)
        self.update(lambda values: values.update(trigger_word=word))

    def set_group(self, group: Group) -> None:
        """Add a group or change its settings; its folder is made.

        Raises:
            DatasetError: the name can't be a folder's, or repeats is below 1.
        """
        if group.name != safe_stem(group.name):
            raise DatasetError("A group can't be called {name!r}.", "Leave out special characters.", name=group.name)
        if group.repeats is not None and group.repeats < 1:
            raise DatasetError("Repeats of {name} must be at least 1.", name=group.name)
        (self.images_dir / group.name).mkdir(parents=True, exist_ok=True)
        plain = {"name": group.name, "repeats": group.repeats, "is_prior": group.is_prior}
        if group.is_faces:
            plain["is_faces"] = True

        def change(values: dict[str, Any]) -> None:
            others = [other for other in values["groups"] if other.get("name") != group.name]
            values["groups"] = sorted([*others, plain], key=lambda other: str(other["name"]))

        self.update(change)

    def set_crop_mode(self, mode: str) -> None:
        """Change how photos without a crop of their own are cut; see :attr:`crop_mode`.

        Raises:
            DatasetError: there is no such way.
        """
        if mode not in CROP_MODES:
            raise DatasetError("There is no crop mode {mode!r}.", "Say one of {known}.", mode=mode, known=CROP_MODES)
        if mode != self.crop_mode:
            self.update(lambda values: values.update(crop_mode=mode))

    def set_face(self, path: Path, box: Box | None) -> None:
        """Remember where the face is in the picture at ``path``: (x, y, width, height) in upright px; None forgets.

        Remembered by content: see :mod:`lora_forge.dataset.hand`.

        Raises:
            DatasetError: the box has no area, or the picture can't be read.
        """
        if box is not None and (box[2] < 1 or box[3] < 1):
            raise DatasetError("The face box {box} has no area.", box=box)
        self._set_by_hand(path, face=box)

    def set_crop(self, path: Path, box: Box | None) -> None:
        """Remember what part of the picture at ``path`` to keep, as :meth:`set_face` remembers the face.

        Raises:
            DatasetError: the box has no area, or the picture can't be read.
        """
        if box is not None and (box[2] < 1 or box[3] < 1):
            raise DatasetError("The crop {box} has no area.", box=box)
        self._set_by_hand(path, crop=box)

    def forget_face_places(self, keys: Iterable[str]) -> None:
        """Drop face boxes that are remembered by place alone, for places that are empty now."""
        gone = {key for key in keys if key in self._values["faces"]}

        def change(values: dict[str, Any]) -> None:
            values["faces"] = {key: box for key, box in values["faces"].items() if key not in gone}

        if gone:
            self.update(change)

    def _set_by_hand(self, path: Path, **boxes: Box | None) -> None:
        key = self.key(path)
        try:
            content = stamp(path)
        except OSError as cause:
            raise DatasetError("{path} can't be read: {cause}.", path=path, cause=cause) from cause

        def change(values: dict[str, Any]) -> None:
            values["edits"] = noted(values["edits"], key, content, **boxes)
            if "face" in boxes:
                values["faces"].pop(key, None)

        self.update(change)

    def set_caption(self, path: Path, caption: str) -> None:
        """Write the caption of the picture at ``path`` beside it, UTF-8."""
        atomic.write_bytes(path.with_suffix(".txt"), (caption.strip() + "\n").encode("utf-8", errors="replace"))

    def _image_paths(self) -> Iterable[Path]:
        for folder, folders, names in os.walk(self.images_dir):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                    yield Path(folder) / name

    @property
    def cuts(self) -> tuple[dict[str, Any], ...]:
        """Where the face crops came from, as noted by :mod:`lora_forge.dataset.face_set`."""
        return tuple(self._values.get("cuts", ()))

    def update(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Read project.json again, change it, write it: two windows on one project do not undo each other.

        Raises:
            DatasetError: it is damaged, or can't be written.
        """
        try:
            with _CHANGING:
                values = read_values(self.root)
                change(values)
                self._write(values)
        except OSError as cause:
            raise DatasetError(
                "{path} can't be written: {cause}.",
                "Free some space, or check that the folder may be written.",
                path=self.root / "project.json",
                cause=cause,
            ) from cause

    def _write(self, values: dict[str, Any]) -> None:
        text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
        # Names whose bytes are not UTF-8 reach us as lone surrogates and are written back as those bytes.
        atomic.write_bytes(self.root / "project.json", text.encode("utf-8", errors="surrogateescape"))
        self._values = values
        self._edits = HandEdits(values.get("edits", {}))


def caption_path(image_path: Path) -> Path:
    """The caption of an image: NAME.txt; NAME.caption where only that is there."""
    text, other = image_path.with_suffix(".txt"), image_path.with_suffix(".caption")
    return other if other.is_file() and not text.is_file() else text
