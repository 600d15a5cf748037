"""A run's diary: every event as one line of JSON, written as it happens."""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from lora_forge.events import Emit, Event, Warned, to_json
from lora_forge.i18n import word
from lora_forge.i18n.reasons import reason

FILE_NAME = "journal.jsonl"
_NOT_WRITTEN = word(
    "The run's log {file} can't be written ({cause}). The run goes on; what happens meanwhile is missing from its log."
)


class Journal:
    """Appends events to ``run_dir/journal.jsonl`` and hands them on to ``emit``; a context manager.

    A line that a killed process or a full disk left unfinished is closed off first; readers skip lines that are no
    JSON. When the disk refuses a line, that is said once and the run goes on, and the next line is tried again: the
    diary is for people, the state for resuming. A diary that was removed is begun again.
    """

    def __init__(self, run_dir: Path, emit: Emit) -> None:
        self._path, self._emit = run_dir / FILE_NAME, emit
        self._file: io.FileIO | None = None
        self._is_open = self._is_torn = self._is_said = False

    def __enter__(self) -> Journal:
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self._close()

    def __call__(self, event: Event) -> None:
        """Write the event with the time (Unix seconds), then pass it on."""
        if self._is_open:
            line = {"time": round(time.time(), 3), **to_json(event)}
            problem = self._append((json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape"))
            if problem is not None and not self._is_said:
                self._is_said = True
                self._emit(Warned(_NOT_WRITTEN, {"file": os.fspath(self._path), "cause": reason(problem)}))
        self._emit(event)

    def _append(self, line: bytes) -> OSError | None:
        """Straight to the system, without a buffer that would hold back what was refused; gives what went wrong."""
        try:
            file = self._opened()
            if self._is_torn:
                line = b"\n" + line
            self._is_torn = True
            written = file.write(line)
            while written is not None and 0 < written < len(line):  # the disk took a part: the next try says why
                line = line[written:]
                written = file.write(line)
            self._is_torn = False
        except OSError as cause:
            return cause
        return None

    def _opened(self) -> io.FileIO:
        if self._file is not None and not self._path.exists():
            self._close()
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._is_torn = _ends_mid_line(self._path)
            self._file = io.FileIO(self._path, "ab")
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # network disks may complain only now
                self._file.close()
            self._file = None


def _ends_mid_line(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def read_journal(run_dir: Path) -> list[dict[str, Any]]:
    """Every whole line of a run's journal, oldest first; empty when there is none."""
    path = run_dir / FILE_NAME
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):  # a prompt may hold other line ends
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            lines.append(entry)
    return lines
