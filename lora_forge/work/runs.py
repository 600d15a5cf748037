"""The runs of a data root: what they are, how far, and whether one can go on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge.dataset.project import Project
from lora_forge.errors import TrainingError
from lora_forge.lora_file.names import SUFFIX
from lora_forge.train.claim import is_claimed
from lora_forge.train.journal import FILE_NAME as JOURNAL
from lora_forge.work.journal_facts import JournalFacts, journal_facts
from lora_forge.work.packing import text_of_packed
from lora_forge.work.run_file import FILE_NAME as RUN_FILE
from lora_forge.work.run_file import order_of, read_run_file
from lora_forge.work.scrubbing import Scrubber
from lora_forge.work.settings import CONFIG_FILE
from lora_forge.work.trashing import to_trash

RESUMABLE = ("interrupted", "stopped", "failed")
_FILES_OF = re.compile(r"(.+)-(?:\d{6}|step\d{8})" + re.escape(SUFFIX))
_LIVE = {"running": "running", "waiting": "waiting", "stopping": "stopping"}


@dataclass(frozen=True)
class RunFacts:
    """One run as it is on the disk. ``asked``: its run.json, empty for one that an older program made."""

    project: str
    name: str
    folder: Path
    asked: Mapping[str, Any]
    journal: JournalFacts
    epochs: int
    is_claimed: bool

    @property
    def order(self) -> float:
        """Newest is highest; a clock that was set back changes nothing for runs that keep a run.json."""
        return order_of(self.asked) or self.journal.began_at or 0.0

    @property
    def state(self) -> str:
        """running, paused, interrupted, stopped, done or failed."""
        if self.is_claimed:
            return "paused" if self.journal.is_paused else "running"
        if self.journal.size_bytes > self._seen_bytes:  # the trainer wrote after our last note
            return self._ending or "interrupted"
        outcome = self.asked.get("outcome")
        return outcome if outcome in ("done", "stopped", "failed") else "interrupted"

    @property
    def has_config(self) -> bool:
        """Whether the trainer got hold of it: then it is resumed, else begun again."""
        return (self.folder / CONFIG_FILE).is_file()

    @property
    def _seen_bytes(self) -> int:
        size = self.asked.get("journal_bytes")
        return size if isinstance(size, int) else -1

    @property
    def _ending(self) -> str | None:
        outcome = (self.journal.ending or {}).get("outcome")
        return outcome if outcome in ("done", "stopped", "failed") else None

    def message(self, language: str) -> str:
        """Why it failed; empty where it did not."""
        if self.state != "failed":
            return ""
        if self.asked.get("error") is not None and self.journal.size_bytes <= self._seen_bytes:
            return text_of_packed(self.asked["error"], language)
        return str((self.journal.ending or {}).get("message") or "")

    @property
    def began_at(self) -> float | None:
        """Unix seconds of the first start."""
        began = self.asked.get("began_at")
        return float(began) if isinstance(began, (int, float)) else self.journal.began_at

    @property
    def ended_at(self) -> float | None:
        """Unix seconds of the end, never before the start; None while it is at work or was cut off."""
        if self.state not in ("stopped", "done", "failed"):
            return None
        ended = self.asked.get("ended_at")
        at = float(ended) if isinstance(ended, (int, float)) else self.journal.last_at
        return at if at is None or self.began_at is None else max(at, self.began_at)


def run_facts(run_dir: Path) -> RunFacts:
    """What is known of the run in ``run_dir``."""
    project = run_dir.parent.parent.name
    held, epochs = is_claimed(run_dir), _epochs(run_dir)
    return RunFacts(project, run_dir.name, run_dir, read_run_file(run_dir), journal_facts(run_dir), epochs, held)


def find_run(project: Project, name: str) -> RunFacts:
    """The run ``name`` of ``project``.

    Raises:
        TrainingError: there is none.
    """
    folder = project.runs_dir / name
    is_plain = bool(name) and Path(name).name == name and "\\" not in name and not name.startswith(".")
    if not is_plain or not _is_run(folder):
        raise TrainingError("This project has no run named {name}.", "Reload the list of runs.", name=name)
    return run_facts(folder)


def all_runs(data_root: Path, project: str = "") -> list[RunFacts]:
    """Every run, or those of one project; newest first."""
    found = [run_facts(folder) for folder in _folders(data_root, project)]
    return sorted(found, key=lambda run: (run.order, run.name), reverse=True)


def runs_of(project: Project) -> list[RunFacts]:
    """The runs of one project, wherever it lies; newest first."""
    root = project.root.resolve()
    return all_runs(root.parent, root.name)


def _folders(data_root: Path, project: str) -> Iterator[Path]:
    homes = [data_root / project] if project else _subfolders(data_root)
    for home in homes:
        if not home.is_symlink():
            yield from (folder for folder in _subfolders(home / "runs") if _is_run(folder))


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / one.name for one in entries if one.is_dir() and not one.name.startswith(".")]
    except OSError:
        return []


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (RUN_FILE, CONFIG_FILE, JOURNAL))


def _epochs(run_dir: Path) -> int:
    try:
        values = json.loads((run_dir / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0
    epochs = values.get("epochs") if isinstance(values, dict) else None
    return epochs if isinstance(epochs, int) else 0


class RunList:
    """The list that a page shows: what is on the disk, with what this process's own board knows of its run."""

    def __init__(self, data_root: Path, lora_dir: Path, live: Mapping[str, Any]) -> None:
        """``live``: the board's snapshot."""
        self._lora_dir, self._live = lora_dir, live
        self._data_root, self._scrub = data_root, Scrubber((data_root, lora_dir))
        self._saved: dict[Path, dict[str, list[str]]] = {}

    def rows(self, project: str, language: str, queued: Iterable[tuple[str, str]] = ()) -> list[dict[str, Any]]:
        """One plain object a run, newest first; ``queued``: (project, name) of those that wait to go on."""
        waiting = set(queued)
        rows = [self._row(run, language) for run in all_runs(self._data_root, project)]
        for row in rows:
            if (row["project"], row["name"]) in waiting and row["can_resume"]:
                row.update(state="queued", can_resume=False)
        return rows

    def _row(self, run: RunFacts, language: str) -> dict[str, Any]:
        journal, state = run.journal, self._state(run)
        return {
            "project": run.project,
            "name": run.name,
            "kind": str(run.asked.get("kind") or ""),
            "state": state,
            "step": journal.step,
            "total": journal.total,
            "epoch": journal.epoch,
            "epochs": run.epochs,
            "started_at": run.began_at,
            "ended_at": run.ended_at if state == run.state else None,
            "window_mse": journal.window_mse,
            "validation_loss": journal.validation_loss,
            "files": self._files(run),
            "message": self._scrub(run.message(language)) if state == run.state else "",
            "can_resume": state in RESUMABLE,
        }

    def _state(self, run: RunFacts) -> str:
        """As the board has it where the run is its own: it knows of the wait for the checkpoint and of a stop."""
        about = self._live.get("about")
        is_ours = about == {"project": run.project, "name": run.name}
        live = _LIVE.get(str(self._live.get("state"))) if is_ours else None
        if live is None:
            return run.state
        return "paused" if live == "running" and self._live.get("is_paused") else live

    def _files(self, run: RunFacts) -> list[str]:
        """Names of the run's LoRA files that are there now."""
        folder = run.asked.get("folder")
        if not run.asked:
            return [Path(path).name for path in run.journal.files if Path(path).is_file()]
        place = Path(str(run.asked["out_dir"])) if run.asked.get("out_dir") else self._lora_dir / str(folder or "")
        if place not in self._saved:
            self._saved[place] = _saved_files(place)
        return self._saved[place].get(run.name, [])


def _saved_files(folder: Path) -> dict[str, list[str]]:
    """Numbered LoRA files in ``folder`` by the name of their run."""
    found: dict[str, list[str]] = {}
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return found
    for name in names:
        match = _FILES_OF.fullmatch(name)
        if match:
            found.setdefault(match[1], []).append(name)
    return found


def remove_run(project: Project, name: str) -> Path:
    """Move the run's folder to the project's trash; its LoRA files stay where they are. Gives its new place.

    Raises:
        TrainingError: there is no such run, or it is at work.
        DatasetError: the folder can't be moved.
    """
    run = find_run(project, name)
    if run.is_claimed:
        raise TrainingError("The run {name} is at work already.", "Wait for its end, or stop it.", name=name)
    return to_trash(project, run.folder, "runs")
