"""``run.json`` in a run's folder: what was asked for, and how the last attempt at it ended.

The journal tells what the trainer did; this file covers what comes before and after it (photos prepared, the
checkpoint waited for, the host looked at), and keeps an error in a form that can be said in any language.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_forge import atomic
from lora_forge.i18n import Several
from lora_forge.jobs.failures import explain
from lora_forge.train.journal import FILE_NAME as JOURNAL
from lora_forge.work.packing import packed

FILE_NAME = "run.json"
_TICK_S = 0.001


@dataclass
class Attempt:
    """One go at a run. Whoever makes it sets ``outcome`` to ``done`` or ``stopped``."""

    outcome: str = "done"
    values: dict[str, Any] = field(default_factory=dict)


def read_run_file(run_dir: Path) -> dict[str, Any]:
    """What the file says; empty where there is none that can be read."""
    try:
        values = json.loads((run_dir / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


@contextlib.contextmanager
def attempt(run_dir: Path, asked: Mapping[str, Any]) -> Iterator[Attempt]:
    """Note in ``run_dir`` that a run is begun, and, whatever happens, how it ended.

    ``asked``: kind, values, folder and so on, kept for whoever wants to do it again. A disk that takes no note stops
    no run: the journal tells most of it too.
    """
    before = read_run_file(run_dir)
    now = time.time()
    made = Attempt(
        values={
            "version": 1,
            **asked,
            "began_at": before.get("began_at", now),
            "order": max(now, newest_order(run_dir) + _TICK_S),
            "journal_bytes": _size(run_dir / JOURNAL),
            "outcome": None,
            "ended_at": None,
            "error": None,
        }
    )
    _write(run_dir, made.values)
    try:
        yield made
    except BaseException as cause:
        what, remedy = explain(cause, is_traced=False)
        both = Several(tuple(part for part in (what, remedy) if part.template), " ")
        is_told = isinstance(cause, KeyboardInterrupt)
        _end(run_dir, made.values, "stopped" if is_told else "failed", None if is_told else packed(both))
        raise
    _end(run_dir, made.values, made.outcome, None)


def newest_order(run_dir: Path) -> float:
    """The highest ``order`` of all runs of the projects here: a new one is above, even where the clock was set back."""
    here = run_dir.parent.parent.parent
    return max((order_of(read_run_file(path.parent)) for path in here.glob(f"*/runs/*/{FILE_NAME}")), default=0.0)


def order_of(values: Mapping[str, Any]) -> float:
    """By which runs are sorted; 0 where there is none."""
    order = values.get("order")
    return float(order) if isinstance(order, (int, float)) else 0.0


def _end(run_dir: Path, values: dict[str, Any], outcome: str, error: Any) -> None:
    ended_at = max(time.time(), float(values["began_at"]))
    ending = {"outcome": outcome, "ended_at": ended_at, "error": error, "journal_bytes": _size(run_dir / JOURNAL)}
    _write(run_dir, {**values, **ending})


def _write(run_dir: Path, values: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        atomic.write_json(run_dir / FILE_NAME, values)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
