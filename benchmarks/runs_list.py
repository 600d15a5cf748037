"""How long the list of runs takes: 100 runs of 50,000 steps each, asked for the first time and again.

python benchmarks/runs_list.py [--runs 100] [--steps 50000]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from lora_forge.dataset.project import Project
from lora_forge.jobs import JobBoard
from lora_forge.work.runs import RunList


def write_journal(path: Path, steps: int) -> None:
    """As the trainer writes it: a line a step, an epoch's end every thousand."""
    with path.open("w", encoding="utf-8") as file:
        for step in range(1, steps + 1):
            figures = {"loss": 0.0812345, "mse": 0.0798765, "window_mse": 0.0834567, "learning_rate": 1e-4}
            place = {"step": step, "total_steps": steps, "epoch": (step - 1) // 1000 + 1}
            rest = {"images_per_s": 3.21, "seconds_left": 123.4, "is_skipped": False, "memory_bytes": 7_000_000_000}
            file.write(json.dumps({"time": 1.7e9 + step, "event": "StepDone", **place, **figures, **rest}) + "\n")
            if step % 1000 == 0:
                ended = {"event": "EpochEnded", "epoch": step // 1000, "step": step, "validation_loss": 0.09}
                file.write(json.dumps({"time": 1.7e9 + step, **ended}) + "\n")


def build(root: Path, runs: int, steps: int) -> None:
    """A data root with one project; every journal has a file of its own."""
    project = Project.create(root / "anna")
    first = root / "journal.jsonl"
    write_journal(first, steps)
    raw = first.read_bytes()
    for number in range(runs):
        folder = project.runs_dir / f"run{number:03d}"
        folder.mkdir(parents=True)
        (folder / "journal.jsonl").write_bytes(raw)
        (folder / "config.json").write_text(json.dumps({"epochs": steps // 1000}), encoding="utf-8")
        asked = {
            "kind": "person",
            "values": {},
            "order": float(number + 1),
            "outcome": "done",
            "journal_bytes": len(raw),
        }
        (folder / "run.json").write_text(json.dumps(asked), encoding="utf-8")
        (folder / ".lock").touch()


def main() -> None:
    """Build, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=50_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        build(root, args.runs, args.steps)
        size = os.path.getsize(root / "journal.jsonl")
        print(f"{args.runs} runs of {args.steps} steps, {size / 1e6:.1f} MB a journal")
        board = JobBoard()
        for name in ("first", "again", "again"):
            start = time.perf_counter()
            rows = RunList(root, root / "Lora", board.snapshot()).rows("", "en")
            assert len(rows) == args.runs
            assert rows[0]["step"] == args.steps
            print(f"{name}: {(time.perf_counter() - start) * 1000:.1f} ms")


if __name__ == "__main__":
    main()
