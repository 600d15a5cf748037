"""Found faces, kept by the photo's content and the detector: checkup/faces.json in the project."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from lora_forge.dataset.faces.face import Detector, Face
from lora_forge.dataset.files import write_quickly
from lora_forge.dataset.images import read_image

FOLDER = "checkup"
_VERSION = 1


def content_of(path: Path) -> str:
    """SHA-256 of the file, hex: what results are kept by, so that a renamed photo keeps them.

    Raises:
        OSError: it can't be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


class FaceMemory:
    """The faces of a project's photos by ``detector``; a photo is looked at once. Thread-safe."""

    def __init__(self, project_dir: Path, detector: Detector) -> None:
        self.detector = detector
        self._path = Path(project_dir) / FOLDER / "faces.json"
        self._lock = threading.Lock()
        self._faces = _read(self._path, detector.id)
        self._is_changed = False

    def faces(self, path: Path, image: Callable[[], Image.Image] | None = None, content: str = "") -> list[Face]:
        """The faces in the photo at ``path``, the largest first; ``image`` reads it and ``content`` names it where
        that is not the whole file.

        Raises:
            UnreadableImageError: it is no picture.
            MissingPartError: the detector fails.
            OSError: the file can't be read.
        """
        if not self.detector.finds:
            return []
        content = content or content_of(path)
        with self._lock:
            if content not in self._faces:
                self._faces[content] = self.detector.detect(image() if image else read_image(path))
                self._is_changed = True
            return self._faces[content]

    def save(self) -> None:
        """Write what is new; nothing where nothing is.

        Raises:
            OSError: the disk is full or the folder can't be written.
        """
        with self._lock:
            if not self._is_changed:
                return
            plain = {content: [face.to_json() for face in faces] for content, faces in self._faces.items()}
            text = json.dumps({"version": _VERSION, "detector": self.detector.id, "faces": plain})
            write_quickly(self._path, lambda temporary: _write(temporary, text))
            self._is_changed = False


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _read(path: Path, detector_id: str) -> dict[str, list[Face]]:
    """What was kept; nothing when it is another detector's, damaged or not there."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if plain["version"] == _VERSION and plain["detector"] == detector_id:
            return {content: [Face.from_json(one) for one in faces] for content, faces in plain["faces"].items()}
    return {}
