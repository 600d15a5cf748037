"""DATA_ROOT/queue.json: read whole, written whole, changed by one process at a time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge import atomic
from lora_forge.errors import DatasetError, TrainingError
from lora_forge.train.claim import claimed
from lora_forge.work.planning import RunRequest
from lora_forge.work.requests import asked, request_of, with_values

FILE_NAME = "queue.json"
_LOCK_DIR = ".queue"


@dataclass(frozen=True)
class Entry:
    """One run that waits. ``problem``: why it could not begin, packed; None where nothing is known against it."""

    id: str
    request: RunRequest
    problem: Any = None


class QueueFile:
    """The queue of ``data_root``. A damaged file is moved aside, not overwritten."""

    def __init__(self, data_root: Path) -> None:
        self._root, self._path = data_root, data_root / FILE_NAME

    def read(self) -> list[Entry]:
        """What waits, in order."""
        entries = self._values().get("entries")
        found = (self._entry(plain) for plain in entries) if isinstance(entries, list) else ()
        return [entry for entry in found if entry is not None]

    @contextlib.contextmanager
    def locked(self) -> Iterator[QueueFile]:
        """Hold the file against other processes.

        Raises:
            TrainingError: another one does not let go of it.
        """
        try:
            with claimed(self._root / _LOCK_DIR):
                yield self
        except TrainingError as cause:
            if "run_dir" not in cause.values:
                raise
            raise TrainingError("Another program is changing the queue.", "Try again in a moment.") from cause

    def write(self, entries: Sequence[Entry]) -> None:
        """Put ``entries`` in the place of what is there."""
        self._write(entries, self._number())

    def append(self, requests: Sequence[RunRequest]) -> list[str]:
        """Put new entries at the end; their ids, which are never given twice."""
        first = self._number()
        made = [Entry(str(first + index), with_values(request)) for index, request in enumerate(requests)]
        self._write([*self.read(), *made], first + len(made))
        return [entry.id for entry in made]

    def _write(self, entries: Sequence[Entry], number: int) -> None:
        plain = [
            {
                "id": entry.id,
                "project": entry.request.project.name,
                "name": entry.request.name,
                **asked(entry.request),
                "problem": entry.problem,
            }
            for entry in entries
        ]
        atomic.write_json(self._path, {"version": 1, "next": number, "entries": plain})

    def _number(self) -> int:
        values = self._values()
        number, entries = values.get("next"), self.read()
        known = [int(entry.id) for entry in entries if entry.id.isdecimal()]
        return max([number if isinstance(number, int) else 1, *(one + 1 for one in known)])

    def _values(self) -> dict[str, Any]:
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as cause:
            raise DatasetError("The queue can't be read: {cause}.", cause=cause.strerror or cause) from cause
        except ValueError:
            with contextlib.suppress(OSError):
                self._path.replace(self._path.with_name(f"{FILE_NAME}.damaged"))
            return {}
        return values if isinstance(values, dict) else {}

    def _entry(self, plain: Any) -> Entry | None:
        if not isinstance(plain, dict) or not isinstance(plain.get("name"), str):
            return None
        try:
            request = request_of(self._root, str(plain.get("project")), plain["name"], plain)
        except DatasetError:
            return None
        return Entry(str(plain.get("id")), request, plain.get("problem"))
