"""``tags/journal.jsonl``: every edit with the texts before and after, one JSON object a line, oldest first.

::

    {"id": 7, "kind": "edit", "at": "...", "label": [template, values], "files": {place: [before, after]}}
    {"id": 7, "kind": "done"}           all its files are written
    {"id": 7, "kind": "void"}           it failed, and none is
    {"id": 8, "kind": "undo", "of": 7}  and "redo"; followed by done or void too

An edit is on the disk in the journal before its first caption changes; texts of large edits are packed. A line that is
damaged is passed over, a half one at the end too: it is cut off at the next edit, and kept in journal.damaged.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lora_forge import atomic
from lora_forge.dataset.tags.errors import TagError

Files = Mapping[str, "tuple[str | None, str | None]"]
Label = tuple[str, "dict[str, object]"]
_PLAIN_CHARS = 4000
_MOST_BYTES, _KEPT_BYTES = 16 << 20, 8 << 20


@dataclass
class Record:
    """One edit. ``state``: ``begun``, ``done`` or ``void``; ``is_undone`` while it is taken back."""

    number: int
    label: Label
    plain: dict[str, Any]
    state: str = "begun"
    is_undone: bool = False

    @property
    def files(self) -> Files:
        """Text before and after by place.

        Raises:
            TagError: the journal holds something else there.
        """
        try:
            found = self.plain["files"]
            if isinstance(found, str):
                found = json.loads(zlib.decompress(base64.b64decode(found)))
            return {str(place): (before, after) for place, (before, after) in found.items()}
        except (KeyError, TypeError, ValueError, zlib.error, AttributeError) as cause:
            raise TagError("The journal's record of this edit is damaged.", "It can't be taken back.") from cause


class Journal:
    """The journal of one project, read again when another program has written to it."""

    def __init__(self, root: Path) -> None:
        self.path = root / "tags" / "journal.jsonl"
        self._mark, self._size, self._good_size = (-1, 0, 0), 0, 0
        self._records: dict[int, Record] = {}
        self._done: list[Record] = []
        self._undone: list[Record] = []
        self._last = 0
        self._open: tuple[str, Record] | None = None
        self._owed = b""

    @property
    def last_done(self) -> Record | None:
        """What undo would take back."""
        return self._done[-1] if self._done else None

    @property
    def last_undone(self) -> Record | None:
        """What redo would do again."""
        return self._undone[-1] if self._undone else None

    @property
    def unfinished(self) -> tuple[str, Record] | None:
        """What was begun (``edit``, ``undo``, ``redo``) and never finished: the program was killed in the middle."""
        return self._open

    def read(self) -> None:
        """Look at the file again if it has changed.

        Raises:
            TagError: it can't be read.
        """
        try:
            mark = _mark(self.path)
            if mark == self._mark:
                return
            data = self.path.read_bytes() if mark[0] else b""
        except OSError as cause:
            raise TagError("{path} can't be read: {cause}.", path=self.path.name, cause=cause.strerror) from cause
        self._records, self._done, self._undone, self._last, self._open = {}, [], [], 0, None
        self._mark, self._size = mark, len(data)
        self._good_size = data.rfind(b"\n") + 1
        for plain in _lines(data[: self._good_size]):
            self._take(plain)

    def begin(self, kind: str, label: Label, files: Files, of: Record | None = None) -> int:
        """Write down what is about to be done, on the disk for certain; returns its number.

        Raises:
            OSError: it can't be written; the journal is as before.
        """
        plain: dict[str, Any] = {"id": self._last + 1, "kind": kind, "at": _now()}
        if of is not None:
            plain["of"] = of.number
        else:
            plain = {**plain, "label": list(label), "files": _packed(files)}
        self._append(plain, waits_for_disk=True)
        return int(plain["id"])

    def finish(self, number: int, is_done: bool) -> None:
        """Say that ``number`` is done, or void. Can't fail: what is missing is found out at the next start."""
        plain = {"id": number, "kind": "done" if is_done else "void"}
        try:
            self._append(plain, waits_for_disk=False)
        except OSError:
            self._owed += _line(plain)  # goes out with the next line that can be written
            self._take(plain)

    def _append(self, plain: dict[str, Any], waits_for_disk: bool) -> None:
        line = self._owed + _line(plain)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._tidy()
        with self.path.open("ab") as file:
            size = self._good_size
            try:
                file.write(line)
                file.flush()
                if waits_for_disk:
                    os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(size)
                raise
        self._mark, self._size, self._owed = _mark(self.path), size + len(line), b""
        self._good_size = self._size
        self._take(plain)

    def _tidy(self) -> None:
        """Put a half line at the end aside, and the oldest edits when there are too many."""
        if self._size > self._good_size:
            data = self.path.read_bytes()
            with (self.path.parent / "journal.damaged").open("ab") as file:
                file.write(data[self._good_size :] + b"\n")
            os.truncate(self.path, self._good_size)
        elif self._size > _MOST_BYTES and self._open is None:
            data = self.path.read_bytes()
            kept = data[data.find(b"\n", len(data) - _KEPT_BYTES) + 1 :]
            atomic.write_bytes(self.path, kept)
            self.read()

    def _take(self, plain: dict[str, Any]) -> None:
        """Bring the stacks up to date with one line."""
        kind, number = plain.get("kind"), plain["id"]
        if kind in ("edit", "undo", "redo") and self._open is not None:
            self._finish(*self._open)  # taking back what was not done does no harm, forgetting what was done would
            self._open = None
        if kind == "edit":
            record = Record(number, _label(plain), plain)
            self._records[number], self._last, self._open = record, max(number, self._last), ("edit", record)
        elif kind in ("undo", "redo") and plain.get("of") in self._records:
            self._last, self._open = max(number, self._last), (kind, self._records[plain["of"]])
        elif kind in ("done", "void") and self._open is not None:
            if kind == "done":
                self._finish(*self._open)
            self._open = None

    def _finish(self, kind: str, record: Record) -> None:
        if kind == "edit":
            self._done.append(record)
            self._undone.clear()
        elif kind == "undo" and record in self._done:
            self._done.remove(record)
            self._undone.append(record)
        elif kind == "redo" and record in self._undone:
            self._undone.remove(record)
            self._done.append(record)
        record.state, record.is_undone = "done", kind == "undo"


def _mark(path: Path) -> tuple[int, int, int]:
    """What tells that another program has written the file: size, time, inode; zeros where there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return 0, 0, 0
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _line(plain: dict[str, Any]) -> bytes:
    return json.dumps(plain, separators=(",", ":")).encode("ascii") + b"\n"


def _lines(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        with contextlib.suppress(ValueError, TypeError):
            plain = json.loads(line) if line.strip() else None
            if isinstance(plain, dict) and isinstance(plain.get("id"), int):
                yield plain


def _label(plain: dict[str, Any]) -> Label:
    found = plain.get("label")
    if isinstance(found, list) and len(found) == 2 and isinstance(found[0], str) and isinstance(found[1], dict):
        return found[0], found[1]
    return "", {}


def _packed(files: Files) -> Any:
    text = json.dumps(files, separators=(",", ":"))
    if len(text) <= _PLAIN_CHARS:
        return files
    return base64.b64encode(zlib.compress(text.encode("ascii"), 1)).decode("ascii")


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
