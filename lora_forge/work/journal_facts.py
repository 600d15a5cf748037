"""How far a run is, from the two ends of its journal: 50,000 lines are never read for a list."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge.train.journal import FILE_NAME

_HEAD_BYTES = 1 << 14
_TAIL_BYTES = 1 << 19  # some two thousand steps: an epoch's end is nearly always among them
_MOST_KEPT = 1000
_Key = tuple[int, int]


@dataclass(frozen=True)
class JournalFacts:
    """``began_at``, ``last_at``: times of the first and last line (Unix seconds). ``ending``: the last line where that
    is a run's end. ``files``: names that the tail tells of. ``size_bytes`` 0: there is no journal."""

    size_bytes: int = 0
    began_at: float | None = None
    last_at: float | None = None
    step: int = 0
    total: int = 0
    epoch: int = 0
    window_mse: float | None = None
    validation_loss: float | None = None
    is_paused: bool = False
    ending: dict[str, Any] | None = None
    files: tuple[str, ...] = ()


_KEPT: OrderedDict[str, tuple[_Key, JournalFacts]] = OrderedDict()


def journal_facts(run_dir: Path) -> JournalFacts:
    """What the journal in ``run_dir`` says now; read again only when it changed."""
    path = run_dir / FILE_NAME
    try:
        stat = path.stat()
        key, name = (stat.st_size, stat.st_mtime_ns), str(path)
        known = _KEPT.get(name)
        if known is not None and known[0] == key:
            return known[1]
        facts = _read(path, stat.st_size)
    except OSError:
        return JournalFacts()
    _KEPT[name] = (key, facts)
    while len(_KEPT) > _MOST_KEPT:
        _KEPT.popitem(last=False)
    return facts


def tail_lines(run_dir: Path, most_bytes: int = _TAIL_BYTES) -> list[dict[str, Any]]:
    """The whole lines at the journal's end, oldest first."""
    try:
        with (run_dir / FILE_NAME).open("rb") as file:
            raw = _tail(file, os.fstat(file.fileno()).st_size, most_bytes)
    except OSError:
        return []
    found = (_parsed(line) for line in raw.split(b"\n"))
    return [line for line in found if line is not None]


def head_lines(run_dir: Path, most_bytes: int = _TAIL_BYTES) -> list[dict[str, Any]]:
    """The whole lines at the journal's beginning, oldest first."""
    try:
        with (run_dir / FILE_NAME).open("rb") as file:
            raw = file.read(most_bytes)
    except OSError:
        return []
    found = (_parsed(line) for line in raw.split(b"\n"))
    return [line for line in found if line is not None]


def _read(path: Path, size: int) -> JournalFacts:
    with path.open("rb") as file:
        head = _parsed(file.read(_HEAD_BYTES).split(b"\n", 1)[0])
        tail = _tail(file, size, _TAIL_BYTES)
    step = _last(tail, "StepDone") or {}
    started = _last(tail, "RunStarted") or {}
    validation = _last(tail, "Validated") or _last(tail, "EpochEnded") or {}
    whole, _, torn = tail.rpartition(b"\n")
    end = _parsed(whole.rpartition(b"\n")[2])
    ending = end if end is not None and not torn and end.get("event") == "RunEnded" else None
    return JournalFacts(
        size_bytes=size,
        began_at=_number((head or {}).get("time")),
        last_at=_number((end or {}).get("time")),
        step=int(_number(step.get("step")) or _number((ending or {}).get("step")) or 0),
        total=int(_number(step.get("total_steps")) or _number(started.get("total_steps")) or 0),
        epoch=int(_number(step.get("epoch")) or 0),
        window_mse=_number(step.get("window_mse")),
        validation_loss=_number(validation.get("loss", validation.get("validation_loss"))),
        is_paused=tail.rfind(_mark("Paused")) > max(tail.rfind(_mark("Resumed")), tail.rfind(_mark("StepDone"))),
        ending=ending,
        files=_files(tail, ending),
    )


def _tail(file: Any, size: int, most_bytes: int) -> bytes:
    """The end of the file from the beginning of a line on."""
    start = max(0, size - most_bytes)
    file.seek(start)
    raw: bytes = file.read()
    return raw if start == 0 else raw[raw.find(b"\n") + 1 :]


def _mark(event: str) -> bytes:
    """As the journal writes it. Quotes inside a text are escaped, so this stands nowhere else."""
    return f'"event": "{event}"'.encode()


def _last(tail: bytes, event: str) -> dict[str, Any] | None:
    at = tail.rfind(_mark(event))
    if at < 0:
        return None
    end = tail.find(b"\n", at)
    return _parsed(tail[tail.rfind(b"\n", 0, at) + 1 : end if end >= 0 else len(tail)])


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return plain if isinstance(plain, dict) else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _files(tail: bytes, ending: dict[str, Any] | None) -> tuple[str, ...]:
    paths = list((ending or {}).get("files") or ())
    at = tail.find(_mark("LoraSaved"))
    while at >= 0:
        end = tail.find(b"\n", at)
        line = _parsed(tail[tail.rfind(b"\n", 0, at) + 1 : end if end >= 0 else len(tail)])
        paths += [line["path"]] if line is not None and isinstance(line.get("path"), str) else []
        at = tail.find(_mark("LoraSaved"), end) if end >= 0 else -1
    return tuple(dict.fromkeys(path for path in paths if isinstance(path, str)))
