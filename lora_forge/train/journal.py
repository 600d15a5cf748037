"""A run's diary: every event as one line of JSON, written as it happens."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from lora_forge.events import Emit, Event, to_json

FILE_NAME = "journal.jsonl"


class Journal:
    """Appends events to ``run_dir/journal.jsonl`` and hands them on to ``emit``; a context manager.

    A line that a killed process left unfinished is closed off first; readers skip lines that are no JSON. When the
    disk refuses a line the run goes on: the diary is for people, the state for resuming.
    """

    def __init__(self, run_dir: Path, emit: Emit) -> None:
        self._path, self._emit = run_dir / FILE_NAME, emit
        self._file: IO[str] | None = None

    def __enter__(self) -> Journal:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        is_torn = _ends_mid_line(self._path)
        self._file = self._path.open("a", encoding="utf-8", newline="\n")
        if is_torn:
            self._file.write("\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __call__(self, event: Event) -> None:
        """Write the event with the time (Unix seconds), then pass it on."""
        if self._file is not None:
            line = {"time": round(time.time(), 3), **to_json(event)}
            try:
                self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
                self._file.flush()
            except OSError:
                self._file = None
        self._emit(event)


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
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            lines.append(entry)
    return lines
