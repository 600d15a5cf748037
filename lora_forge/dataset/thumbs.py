"""Small pictures for the page, made once and kept in the project's thumbs/ under the photo's content.

::

    thumbs/SHA256[:32].jpg    at most 256 px
    thumbs/index.json         {place in the project: [size in bytes, mtime in ns, width, height, sha256]}

The index spares opening a photo while its size and time stay. All of it can be thrown away.
"""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge.dataset import files
from lora_forge.dataset.images import UnreadableImageError, read_size, read_small
from lora_forge.dataset.manifest import sha256_of
from lora_forge.i18n import Text
from lora_forge.i18n.reasons import reason

SIDE_PX = 256
_SAVE_EVERY_S = 2.0
_BEHIND = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lora-forge-thumbs")
_KNOWN: dict[Path, Thumbs] = {}
_KNOWN_LOCK = threading.Lock()


@dataclass(frozen=True)
class Look:
    """What is known of a picture's file. ``width``, ``height``: upright, in px; 0 where ``problem`` says why it can't
    be read. ``sha256``: of its bytes, empty until all of it was read."""

    size_bytes: int
    mtime_ns: int
    width: int = 0
    height: int = 0
    sha256: str = ""
    problem: Text | None = None

    @property
    def stamp(self) -> str:
        """Changes with the file; names a small picture in an address, so that a browser may keep it."""
        return f"{self.size_bytes:x}-{self.mtime_ns:x}"


def thumbs_of(root: Path) -> Thumbs:
    """The one :class:`Thumbs` of the project in ``root`` in this process."""
    with _KNOWN_LOCK:
        if root not in _KNOWN:
            _KNOWN[root] = Thumbs(root)
        return _KNOWN[root]


class Thumbs:
    """Small pictures of one project. Any thread may call any method."""

    def __init__(self, root: Path) -> None:
        self._root, self.folder = root, root / "thumbs"
        self._lock = threading.Lock()
        self._looks = _load(self.folder / "index.json")
        self._saved_at, self._is_dirty, self._waiting = time.monotonic(), False, set[str]()

    def look(self, path: Path) -> Look:
        """What is known of the picture at ``path`` without opening it.

        Raises:
            OSError: it is not there.
        """
        stat = path.stat()
        place = self._place(path)
        with self._lock:
            known = self._looks.get(place)
        if known is not None and (known.size_bytes, known.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
            return known
        return Look(stat.st_size, stat.st_mtime_ns)

    def picture(self, path: Path) -> bytes:
        """The small picture of the one at ``path`` as JPEG, made now where it is not kept. A disk that can't be written
        is no reason not to show it.

        Raises:
            UnreadableImageError: it is gone, damaged, or of a kind that has no reader here.
        """
        try:
            look = self.look(path)
            if look.sha256:
                return self._file(look.sha256).read_bytes()
        except FileNotFoundError:  # the photo, which read_small says in words, or its small picture
            pass
        except OSError:
            pass
        return self._make(path)

    def size(self, path: Path) -> tuple[int, int]:
        """The upright (width, height) in px of the picture at ``path``, for certain.

        Raises:
            UnreadableImageError: as :meth:`picture`.
            OSError: it is not there.
        """
        if not self.look(path).sha256:
            self._make(path)
        look = self.look(path)
        return look.width, look.height

    def measure(self, path: Path) -> Look:
        """The look of the picture at ``path``, its size read from the file's head where it is not known.

        Raises:
            OSError: it is not there.
        """
        look = self.look(path)
        if look.width or look.problem:
            return look
        try:
            width, height = read_size(path)
            return self._note(path, Look(look.size_bytes, look.mtime_ns, width, height))
        except UnreadableImageError as cause:
            return self._note(path, Look(look.size_bytes, look.mtime_ns, problem=cause.reason))

    def measure_behind(self, paths: Iterable[Path]) -> None:
        """:meth:`measure` on a thread of its own, in the given order; what waits already is not asked for twice."""
        for path in paths:
            place = self._place(path)
            with self._lock:
                if place in self._waiting:
                    continue
                self._waiting.add(place)
            _BEHIND.submit(self._measure_one, place, path)
        _BEHIND.submit(self.save)

    def save(self) -> None:
        """Write the index where it has changed. It is a memory only: a disk that can't be written loses nothing."""
        with self._lock:
            if not self._is_dirty:
                return
            self._is_dirty, self._saved_at = False, time.monotonic()
            photos = {  # without problems: a reader that is missing now may be there tomorrow
                place: [look.size_bytes, look.mtime_ns, look.width, look.height, look.sha256]
                for place, look in self._looks.items()
            }
        text = json.dumps({"version": 1, "photos": photos}, ensure_ascii=False)
        with contextlib.suppress(OSError):
            self._write(self.folder / "index.json", text.encode("utf-8", errors="surrogateescape"))

    def _make(self, path: Path) -> bytes:
        try:
            stat = path.stat()
            image, (width, height) = read_small(path, SIDE_PX)
            sha256 = sha256_of(path)
        except UnreadableImageError as cause:
            with contextlib.suppress(OSError):
                self._note(path, Look(stat.st_size, stat.st_mtime_ns, problem=cause.reason))
            raise
        except OSError as cause:
            raise UnreadableImageError(path, "{cause}", cause=reason(cause)) from cause
        file = io.BytesIO()
        image.save(file, format="JPEG", quality=85)
        with contextlib.suppress(OSError):
            self._write(self._file(sha256), file.getvalue())
        self._note(path, Look(stat.st_size, stat.st_mtime_ns, width, height, sha256))
        if time.monotonic() - self._saved_at > _SAVE_EVERY_S:
            _BEHIND.submit(self.save)
        return file.getvalue()

    def _measure_one(self, place: str, path: Path) -> None:
        try:
            with contextlib.suppress(OSError):
                self.measure(path)
        finally:
            with self._lock:
                self._waiting.discard(place)

    def _note(self, path: Path, look: Look) -> Look:
        with self._lock:
            self._looks[self._place(path)], self._is_dirty = look, True
        return look

    def _place(self, path: Path) -> str:
        """As other systems would write it, so that an index moves with its project."""
        own = self._root.parts
        parts = path.parts
        return "/".join(parts[len(own) :] if parts[: len(own)] == own else parts)

    def _file(self, sha256: str) -> Path:
        return self.folder / f"{sha256[:32]}.jpg"

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        def write(temporary: Path) -> None:
            temporary.write_bytes(content)

        files.write_quickly(path, write)


def _load(path: Path) -> dict[str, Look]:
    try:
        values: dict[str, Any] = json.loads(path.read_bytes().decode("utf-8", errors="surrogateescape"))
        plain = values["photos"] if values["version"] == 1 else {}
        return {place: Look(int(a), int(b), int(c), int(d), str(e)) for place, (a, b, c, d, e) in plain.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
