"""Remembered scores: one small file a photo and model, by content, so that sliders need no model and a photo that was
renamed or imported again is not looked at twice.

``tags/scores/FINGERPRINT/SHA256.json`` holds ``[[tag, category, score], ...]``, the best first, what is above 0.05;
``tags/scores/photos.json`` what each photo's content was when its size and time were those.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lora_forge.dataset.files import write_quickly
from lora_forge.dataset.project import Project
from lora_forge.dataset.taggers.labels import Label
from lora_forge.dataset.taggers.picking import FLOOR, Scored

_BLOCK = 1 << 20


def scores_dir(project: Project) -> Path:
    """Where they are."""
    return project.root / "tags" / "scores"


class Contents:
    """SHA-256 of photos, remembered by key, size and time. One for a piece of work; :meth:`save` at its end."""

    def __init__(self, project: Project) -> None:
        self._project, self._path = project, scores_dir(project) / "photos.json"
        self._known = _read(self._path)
        self._is_changed = False

    def of(self, key: str) -> str:
        """Of the photo called ``key``.

        Raises:
            OSError: it is gone or can't be read.
        """
        path = self._project.images_dir / key
        facts = path.stat()
        stamp = [facts.st_size, facts.st_mtime_ns]
        kept = self._known.get(key)
        if isinstance(kept, list) and len(kept) == 3 and kept[:2] == stamp:
            return str(kept[2])
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        self._known[key] = [*stamp, digest.hexdigest()]
        self._is_changed = True
        return digest.hexdigest()

    def save(self) -> None:
        """Remember what was read.

        Raises:
            OSError: the disk is full or the folder can't be written.
        """
        if self._is_changed:
            _write(self._path, {**_read(self._path), **self._known})
            self._is_changed = False


class ScoreCache:
    """The scores that one model gave, by the photos' content."""

    def __init__(self, project: Project, fingerprint: str) -> None:
        self._folder = scores_dir(project) / fingerprint

    def get(self, content: str) -> list[Scored] | None:
        """What is remembered of a photo; None when nothing is."""
        path = self._folder / f"{content}.json"
        try:
            return _load(path, path.stat().st_mtime_ns)
        except (OSError, ValueError, TypeError):
            return None  # not there, or torn: it is made again

    def put(self, content: str, labels: Sequence[Label], scores: npt.NDArray[np.float32]) -> list[Scored]:
        """Remember ``scores`` (L,) of a photo; returns what :meth:`get` will.

        Raises:
            OSError: the disk is full or the folder can't be written.
        """
        falling = np.argsort(-scores, kind="stable")
        above = falling[scores[falling] > FLOOR].tolist()
        found = [Scored(labels[index], round(float(scores[index]), 4)) for index in above]
        _write(self._folder / f"{content}.json", [[one.label.name, one.label.category, one.score] for one in found])
        return found


@lru_cache(maxsize=4096)
def _load(path: Path, stamp_ns: int) -> list[Scored]:
    rows = json.loads(path.read_bytes())
    return [Scored(Label(str(name), str(category)), float(score)) for name, category, score in rows]


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, value: object) -> None:
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_quickly(path, write)
