"""The rows of ``gpu.py`` that have a benchmark of their own: each is run as its command, and its figure is read from
the markdown that it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpu_table import line, mark
from trainers import ROOT


@dataclass(frozen=True)
class Row:
    """A figure in another benchmark's output: the cell number ``cell`` (the name is 0) of the ``nth`` table row whose
    name holds ``name``. ``reach``: as it is written; ``is_reached``: of the cell's first number."""

    what: str
    name: str
    cell: int
    reach: str
    is_reached: Callable[[float], bool]
    nth: int = 0

    def cells(self, printed: str) -> str:
        """The line of the main table."""
        rows = [[cell.strip(" *`") for cell in text.strip("| \n").split("|")] for text in printed.splitlines()]
        found = [row for row in rows if self.name in row[0] and len(row) > self.cell]
        text = found[self.nth][self.cell] if len(found) > self.nth else ""
        number = re.search(r"-?\d+(\.\d+)?", text)
        if number is None:
            return line(self.what, "failed", "", "", self.reach, "")
        return line(self.what, text, "", "", self.reach, mark(self.is_reached(float(number[0]))))


@dataclass(frozen=True)
class Other:
    """A benchmark, its options, and what of it stands in the main table."""

    file: str
    options: tuple[str, ...]
    rows: tuple[Row, ...]

    def run(self) -> str:
        """What it printed; or why nothing."""
        command = [sys.executable, str(ROOT / "benchmarks" / self.file), *self.options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
        return f"failed: {(done.stderr.strip() or 'no output').splitlines()[-1][:300]}"


def others(base: Path, precision: str, is_rehearsal: bool) -> tuple[Other, ...]:
    """Those that this checkout has. ``base``: an SD1.5 file."""
    device, px, photos = ("cpu", "64", "4") if is_rehearsal else ("cuda", "512", "1000")
    common = ("--base", str(base), "--device", device, "--precision", precision)
    start = "s from start to first step, checkpoint in memory, 24 photos; without encoding and a step"
    listed = (
        Other(
            "start.py",
            (*common, "--ahead", *(("--resolution", "128", "--photos", photos) if is_rehearsal else ())),
            (
                Row(f"{start}: first run of a program", "Start to first step", 2, "≤ 3 s", lambda value: value <= 3),
                Row(f"{start}: a later run", "Start to first step", 4, "≤ 3 s", lambda value: value <= 3),
            ),
        ),
        Other(
            "step_share.py",
            (*common[:4], "--resolution", px),
            (Row("share of the step outside the frozen UNet", "median", 3, "≤ 12 %", lambda value: value <= 12),),
        ),
        Other(
            "extra_copy.py",
            common,
            (Row("extra copy of the base weights", "beside them", 1, "0 bytes", lambda value: value == 0),),
        ),
        Other(
            "encoding.py",
            (*common, "--photos", photos, "--captions", photos, "--px", px),
            (
                Row(f"encoding {photos} photos, of the bare VAE's speed", "nothing cached", 4, "≥ 0.9", _most),
                Row(f"encoding {photos} captions, of the text encoder's", "nothing cached", 4, "≥ 0.9", _most, nth=1),
            ),
        ),
    )
    return tuple(other for other in listed if (ROOT / "benchmarks" / other.file).is_file())


def _most(share: float) -> bool:
    return share >= 0.9


def run_others(listed: Sequence[Other]) -> tuple[list[str], list[str]]:
    """(lines for the main table, what each printed under its command)."""
    lines, texts = [], []
    for other in listed:
        printed = other.run()
        print(f"{other.file}: done", file=sys.stderr, flush=True)
        lines += [row.cells(printed) for row in other.rows]
        texts.append(f"`{other.file}`\n\n{printed}")
    return lines, texts
