"""Watch a program from outside: CPU seconds, anonymous memory and the moments of its step lines.

Linux only (``/proc``). Works on any program that prints its steps, so two trainers are measured by one ruler and
neither is changed.
"""

from __future__ import annotations

import os
import re
import resource
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

OURS_STEP = r'"event": ?"StepDone"[^}]*?"step": ?(\d+)'
KOHYA_STEP = r"steps:[^\r\n]*?\| ?(\d+)/\d+ \["
NO_STEPS = "(?!)(0)"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Mark:
    """A step line as it was seen: wall and CPU seconds since the start of the program; the most anonymous memory
    (bytes) that was seen since the step line before it."""

    step: int
    wall_s: float
    cpu_s: float
    peak_anon: int = 0


@dataclass
class Measured:
    """What one run cost. Memory in bytes; ``steps`` in the order seen, each step once."""

    name: str
    exit_code: int = -1
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_anon: int = 0
    steps: list[Mark] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    tail: str = ""

    def cpu_per_step(self, after: int = 1) -> list[float]:
        """CPU seconds of the steps behind number ``after``; the first always warms up."""
        return [b.cpu_s - a.cpu_s for a, b in self._neighbours(after)]

    def wall_per_step(self, after: int = 1) -> list[float]:
        """Wall seconds of the steps behind number ``after``."""
        return [b.wall_s - a.wall_s for a, b in self._neighbours(after)]

    def median_cpu(self, after: int = 1) -> float:
        """Median CPU seconds a step."""
        return statistics.median(self.cpu_per_step(after))

    def mean_cpu(self, after: int = 1) -> float:
        """CPU seconds a step, all of them behind ``after`` together: for steps that a clock tick is too coarse for."""
        first, last = self.mark(after), self.steps[-1]
        return (last.cpu_s - first.cpu_s) / (last.step - first.step)

    def steps_per_s(self, after: int, block: int = 10) -> float:
        """Steps a wall second behind step ``after``: the median block of ``block`` steps, so that neither what comes
        between two steps now and then (a saved file) nor two lines read at once count."""
        marks = [mark for mark in self.steps if mark.step >= after]
        size = min(block, max(len(marks) - 1, 1))
        pairs = zip(marks[::size], marks[size::size], strict=False)
        return statistics.median((b.step - a.step) / max(b.wall_s - a.wall_s, 1e-9) for a, b in pairs)

    def peak_anon_after(self, step: int) -> int:
        """The most anonymous memory behind step number ``step``."""
        return max((mark.peak_anon for mark in self.steps if mark.step > step), default=0)

    def mark(self, step: int) -> Mark:
        """When step number ``step`` was done."""
        return next(mark for mark in self.steps if mark.step == step)

    def _neighbours(self, after: int) -> list[tuple[Mark, Mark]]:
        pairs = zip(self.steps, self.steps[1:], strict=False)
        return [(a, b) for a, b in pairs if b.step == a.step + 1 and a.step >= after]


def clean_environment(threads: int) -> dict[str, str]:
    """This process's, with no hub, no buffering, so many threads."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    number = str(threads)
    return {
        **kept,
        "OMP_NUM_THREADS": number,
        "MKL_NUM_THREADS": number,
        "OPENBLAS_NUM_THREADS": number,
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }


def gigabytes(number: float) -> str:
    """Bytes for people."""
    return f"{number / 1e9:.2f} GB"


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its finished children.

    Raises:
        OSError: the process is gone.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(value) for value in fields[11:15]) / TICKS


def anonymous_bytes(pid: int) -> int:
    """RssAnon of a process: memory that is its own, not file pages that the kernel may drop.

    Raises:
        OSError: the process is gone.
    """
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def watch(
    name: str,
    command: Sequence[str],
    step_pattern: str,
    *,
    environment: Mapping[str, str],
    log: Path,
    cwd: Path | None = None,
    every_s: float = 0.02,
) -> Measured:
    """Run ``command`` to its end and measure it.

    ``step_pattern``: its first group is the number of the step that was just finished.
    """
    measured, peak = Measured(name), _Peak()
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            list(command), cwd=cwd, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        reader = threading.Thread(
            target=_read, args=(process, re.compile(step_pattern.encode()), measured, peak, start, sink), daemon=True
        )
        reader.start()
        _sample(process, measured, peak, every_s)
        reader.join()
    measured.exit_code = process.wait()
    measured.wall_s = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    measured.cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    measured.tail = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n")[-3000:]
    return measured


class _Peak:
    """The most since it was last taken."""

    value = 0

    def take(self) -> int:
        taken, self.value = self.value, 0
        return taken


def _read(
    process: subprocess.Popen[bytes],
    pattern: re.Pattern[bytes],
    measured: Measured,
    peak: _Peak,
    start: float,
    sink: BinaryIO,
) -> None:
    """Stamp every new step number as soon as its line arrives."""
    assert process.stdout is not None
    pending = b""
    while chunk := os.read(process.stdout.fileno(), 65536):
        sink.write(chunk)
        sink.flush()
        pending += chunk
        for found in pattern.finditer(pending):
            step = int(found[1])
            if step > (measured.steps[-1].step if measured.steps else 0):
                cpu_s = _cpu_or_last(process.pid, measured)
                measured.steps.append(Mark(step, time.monotonic() - start, cpu_s, peak.take()))
        pending = pending[-400:]


def _cpu_or_last(pid: int, measured: Measured) -> float:
    try:
        return cpu_seconds(pid)
    except OSError:
        return measured.cpu_s


def _sample(process: subprocess.Popen[bytes], measured: Measured, peak: _Peak, every_s: float) -> None:
    while process.poll() is None:
        try:
            anonymous = anonymous_bytes(process.pid)
            measured.cpu_s = max(measured.cpu_s, cpu_seconds(process.pid))
        except OSError:
            break
        measured.peak_anon = max(measured.peak_anon, anonymous)
        peak.value = max(peak.value, anonymous)
        time.sleep(every_s)
