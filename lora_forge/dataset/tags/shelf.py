"""What the captions of a project say now: kept in memory, compared with the disk by time and size."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lora_forge.dataset.captions import clean_text
from lora_forge.dataset.project import DEFAULT_GROUP
from lora_forge.dataset.tags import disk
from lora_forge.dataset.tags.errors import TagError
from lora_forge.dataset.tags.texts import Caption, lock_of, parse
from lora_forge.dataset.tags.tokens import count_tags

DISK = ""
"""Who changed a caption, when it was no page of ours."""


@dataclass
class CaptionFile:
    """One caption. ``raw``: what is in the .txt, None when there is none (``caption`` may then come from a .caption).
    ``revision``: when it last changed, ``by`` whom; ``revision_before``: when somebody else than that last did."""

    place: str
    raw: str | None = None
    stamp: disk.Stamp | None = None
    caption: Caption = field(default_factory=lambda: parse(""))
    keys: list[str] = field(default_factory=list)
    problem: TagError | None = None
    revision: int = 0
    by: str = DISK
    revision_before: int = 0
    is_other: bool = False

    @property
    def group(self) -> str:
        parts = self.place.split("/")
        return parts[1] if len(parts) > 2 else DEFAULT_GROUP

    def tokens(self, trigger_word: str) -> int:
        """CLIP tokens of what is trained on: the tags, with the trigger word in front where it is missing."""
        tags = self.caption.tags
        if trigger_word and not lock_of(tags, trigger_word):
            word = " ".join(trigger_word.split())
            tags = (word, *(tag for tag in tags if tag.casefold() != word.casefold()))
        return count_tags(tags)

    def is_newer(self, base: int, client: str) -> bool:
        """Whether somebody else than ``client`` has changed it since ``base``."""
        return (self.revision_before if client and self.by == client else self.revision) > base

    def take(self, raw: str | None, stamp: disk.Stamp | None, revision: int, by: str) -> None:
        """Hold another text."""
        self.raw, self.stamp, self.caption = raw, stamp, parse(clean_text(raw or ""))
        self.problem, self.is_other = None, False
        self.mark(revision, by)

    def mark(self, revision: int, by: str) -> None:
        """Note that ``by`` changed it."""
        if by != self.by or not by:
            self.revision_before = max(self.revision_before, self.revision)
        self.revision, self.by = revision, by


class Shelf:
    """All captions by their place, and the photos' places by key."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.files: dict[str, CaptionFile] = {}
        self.places: dict[str, str] = {}
        self.gone: dict[str, int] = {}

    def refresh(self, revision: int) -> bool:
        """Bring everything up to date with the disk; what changed gets ``revision``. True when anything did.

        Raises:
            TagError: a folder can't be listed.
        """
        found = disk.find(self._root)
        changed = False
        if found.photos != self.places:
            changed = True
            self._list(found.photos, revision)
        for place, file in self.files.items():
            stamp = found.stamps.get(place)
            if stamp != file.stamp or (place in found.others) != file.is_other:
                changed |= self._read(file, stamp, place in found.others, revision)
        return changed

    def _list(self, photos: Mapping[str, str], revision: int) -> None:
        for key in self.places.keys() - photos.keys():
            self.gone[key] = revision
        files: dict[str, CaptionFile] = {}
        for key, place in photos.items():
            if place not in files:
                files[place] = self.files.get(place) or CaptionFile(place, revision=revision)
                files[place].keys = []
            files[place].keys.append(key)
            if key not in self.places:
                files[place].mark(revision, DISK)
                self.gone.pop(key, None)
        self.files, self.places = files, dict(photos)

    def _read(self, file: CaptionFile, stamp: disk.Stamp | None, is_other: bool, revision: int) -> bool:
        """Read one caption again; False when its text is the same."""
        path = os.path.join(self._root, file.place)
        old = (file.raw, file.caption, file.problem is None)
        raw, problem = "", None
        try:
            if stamp is not None:
                raw, stamp = disk.read(path[: -len(".txt")] + ".caption" if is_other else path)
        except FileNotFoundError:  # taken away this moment
            stamp = None
        except TagError as cause:
            problem = cause
        file.stamp, file.problem, file.is_other = stamp, problem, is_other
        file.raw = None if stamp is None or is_other else raw
        if clean_text(raw) != file.caption.text:
            file.caption = parse(clean_text(raw))
        if old == (file.raw, file.caption, file.problem is None):
            return False
        file.mark(revision, DISK)
        return True

    def file_of(self, key: str) -> CaptionFile | None:
        """The caption of a photo."""
        place = self.places.get(key)
        return self.files[place] if place is not None else None

    def of_keys(self, keys: Iterable[str]) -> list[CaptionFile]:
        """The captions of photos, each once."""
        return list({self.places[key]: self.files[self.places[key]] for key in keys}.values())
