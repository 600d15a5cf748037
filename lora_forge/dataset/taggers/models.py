"""Taggers on disk: a folder with ``model.onnx`` and its list, whoever put it there.

Known ones lie in a folder called by their id; any other folder with a model and a list counts too, by its own name.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from lora_forge.dataset.taggers.errors import TaggerError
from lora_forge.dataset.taggers.labels import CHARACTER, GENERAL, Label, read_csv, read_mapping, read_thresholds
from lora_forge.dataset.taggers.tagger import Thresholds

Layout = Literal["wd", "pixai", "cl"]
MODEL, CSV, MAPPING, STAGES, THRESHOLDS = (
    "model.onnx", "selected_tags.csv", "tag_mapping.json", "preprocess.json", "thresholds.csv",
)  # fmt: skip
_MAKERS = {
    "wd": Thresholds(0.35, 0.85),
    "pixai": Thresholds(0.30, 0.85),
    "cl": Thresholds(0.55, 0.60),
}
_SAMPLES, _SAMPLE_BYTES = 16, 1 << 16
_SCHEME = b"1"  # changes when photos come to be prepared otherwise


@dataclass(frozen=True)
class TaggerFolder:
    """One tagger in ``folder``. ``layout``: whose way of preparing photos it wants."""

    id: str
    folder: Path
    layout: Layout

    @property
    def model_path(self) -> Path:
        """The network."""
        return self.folder / MODEL

    @property
    def size_bytes(self) -> int:
        """Of the network."""
        return self.model_path.stat().st_size

    @property
    def fingerprint(self) -> str:
        """20 hex digits of the files' content; kept by size and time, so that asking often costs nothing.

        Raises:
            TaggerError: a file can't be read.
        """
        try:
            files = [path for path in (self.model_path, *self._lists()) if path.is_file()]
            return _fingerprint(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files))
        except OSError as cause:
            raise TaggerError("{folder} can't be read: {cause}.", folder=self.folder, cause=cause) from cause

    def labels(self) -> tuple[Label, ...]:
        """Its tags, in the order of its outputs.

        Raises:
            TaggerError: the list can't be read.
        """
        path = self.folder / (MAPPING if self.layout == "cl" else CSV)
        return _labels(path, path.stat().st_mtime_ns if path.is_file() else 0)

    def thresholds(self) -> Thresholds:
        """What its maker advises: ``thresholds.csv`` where it is there, else what is known of the family."""
        own, known = read_thresholds(self.folder / THRESHOLDS), _MAKERS[self.layout]
        return Thresholds(own.get(GENERAL, known.general), own.get(CHARACTER, known.character))

    def _lists(self) -> Iterator[Path]:
        for name in (MAPPING,) if self.layout == "cl" else (CSV, STAGES):
            yield self.folder / name


def find_taggers(roots: Sequence[Path]) -> list[TaggerFolder]:
    """Taggers in ``roots`` and one level below, the first of an id counting; one half copied is none."""
    found: dict[str, TaggerFolder] = {}
    for root in roots:
        for folder in (root, *_folders(root)):
            tagger = tagger_in(folder)
            if tagger is not None:
                found.setdefault(tagger.id, tagger)
    return sorted(found.values(), key=lambda tagger: tagger.id)


def tagger_in(folder: Path) -> TaggerFolder | None:
    """The tagger whose files lie directly in ``folder``, if any."""
    if not (folder / MODEL).is_file():
        return None
    if (folder / MAPPING).is_file():
        return TaggerFolder(folder.name, folder, "cl")
    if not (folder / CSV).is_file():
        return None
    is_pixai = (folder / STAGES).is_file() or "ips" in _columns(folder / CSV)
    return TaggerFolder(folder.name, folder, "pixai" if is_pixai else "wd")


def _columns(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, ValueError, csv.Error):
        return []


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


@lru_cache(maxsize=16)
def _labels(path: Path, stamp_ns: int) -> tuple[Label, ...]:
    return read_mapping(path) if path.name == MAPPING else read_csv(path)


@lru_cache(maxsize=64)
def _fingerprint(files: tuple[tuple[Path, int, int], ...]) -> str:
    """A gigabyte takes seconds to hash whole, so of a large file sixteen places count, with its size."""
    digest = hashlib.sha256(_SCHEME)
    for path, size, _ in files:
        digest.update(f"{path.name} {size} ".encode())
        step = max(size // _SAMPLES, _SAMPLE_BYTES)
        with path.open("rb") as file:
            for start in (*range(0, size, step), max(size - _SAMPLE_BYTES, 0)):
                file.seek(start)
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:20]
