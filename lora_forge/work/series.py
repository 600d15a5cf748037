"""What a run's journal says over its steps: the lines of a chart and the pictures of a strip.

A journal is read once and then followed: only what was added since is looked at. Long runs are thinned so that no peak
is lost. Steps that were done again after an interruption replace the earlier ones.
"""

from __future__ import annotations

import bisect
import functools
import json
import math
import threading
import zlib
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

import numpy as np
import numpy.typing as npt

from lora_forge.train.journal import FILE_NAME
from lora_forge.work.preview_list import PreviewList

TOLD = ("loss", "window_mse", "learning_rate")
LINES = (*TOLD, "objective")
LEAST_POINTS, MOST_POINTS = 16, 5000
_CHUNK_BYTES = 1 << 20
_KEPT_RUNS = 16
_WINDOW = 100  # steps, where a journal does not say how many an epoch has
_HEAD_BYTES = 4096

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


class RunSeries:
    """One run's journal, followed. Any thread may call any method."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir, self._lock = run_dir, threading.Lock()
        self._head = -1
        self._forget()

    def series(
        self,
        since: int = 0,
        points: int = 1200,
        revision: str = "",
        span: tuple[int, int] | None = None,
    ) -> dict[str, Any]:
        """The lines of the chart as plain JSON values, at most ``points`` steps of them.

        ``objective`` is the mean of ``loss`` over the last epoch's worth of steps, as ``window_mse`` is of the error.

        ``since``: only steps behind it, unless the journal was begun anew or wound back since ``revision`` was told;
        then ``is_new`` is true and everything comes. ``span``: only these steps, first and last, and one beyond on
        each side. Values that are not finite are None. ``total`` is what the run was planned for, ``first`` and
        ``last`` what it has done.
        """
        with self._lock:
            self._follow()
            now, steps = self._revision(), self._steps
            last = steps[-1] if steps else 0
            is_new = span is None and (since <= 0 or since > last or revision not in ("", now))
            low, high = self._range(0 if is_new else since, span)
            numbers = np.array(steps[low:high], dtype=np.int64)
            columns = [np.array(self._columns[name][low:high]) for name in TOLD]
            columns.append(running_mean(np.array(self._columns["loss"]), self._steps_per_epoch or _WINDOW)[low:high])
            from_step = since if span is None and not is_new else 0
            told: dict[str, Any] = {
                "revision": now,
                "since": from_step,
                "is_new": is_new,
                "first": steps[0] if steps else None,
                "last": last if steps else None,
                "total": self._total,
                "steps_per_epoch": self._steps_per_epoch,
                "validation": [[step, rounded(loss)] for step, loss in sorted(self._validation.items())],
                "epochs": [[step, epoch] for step, epoch in sorted(self._epochs.items())],
            }
        if from_step:  # what belongs to the last step may be told after it
            told["validation"] = [pair for pair in told["validation"] if pair[0] >= from_step]
            told["epochs"] = [pair for pair in told["epochs"] if pair[0] >= from_step]
        places = thinned(columns, min(max(points, LEAST_POINTS), MOST_POINTS))
        told["steps"] = [int(number) for number in numbers[places]]
        for name, column in zip(LINES, columns, strict=True):
            told[name] = [rounded(value) for value in column[places].tolist()]
        return told

    def previews(self) -> PreviewList:
        """The pictures drawn so far; a copy."""
        with self._lock:
            self._follow()
            return self._previews.copy()

    # ---------------------------------------------------------------- following

    def _forget(self) -> None:
        self._offset = self._rewinds = 0
        self._total: int | None = None
        self._steps_per_epoch: int | None = None
        self._steps: array[int] = array("q")
        self._columns: dict[str, array[float]] = {name: array("d") for name in TOLD}
        self._validation: dict[int, float] = {}
        self._epochs: dict[int, int] = {}
        self._previews = PreviewList()

    def _follow(self) -> None:
        """Read what was added; begin anew where the file is another one."""
        try:
            with (self._run_dir / FILE_NAME).open("rb") as file:
                head = zlib.crc32(file.readline(_HEAD_BYTES))
                size = file.seek(0, 2)
                if head != self._head or size < self._offset:
                    self._forget()
                    self._head = head
                file.seek(self._offset)
                rest = b""
                while chunk := file.read(_CHUNK_BYTES):
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        self._take(line)
                        self._offset += len(line) + 1
        except OSError:  # not begun yet, moved to the trash, or a disk that is away
            self._forget()
            self._head = -1

    def _revision(self) -> str:
        return f"{self._head & 0xFFFFFFFF:08x}-{self._rewinds}"

    def _range(self, since: int, span: tuple[int, int] | None) -> tuple[int, int]:
        if span is None:
            return bisect.bisect_right(self._steps, since), len(self._steps)
        low, high = bisect.bisect_left(self._steps, span[0]), bisect.bisect_right(self._steps, span[1])
        return max(0, low - 1), min(len(self._steps), high + 1)

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
        except ValueError:  # torn by a kill
            return
        take = _TAKERS.get(str(entry.get("event"))) if isinstance(entry, dict) else None
        if take is not None:
            take(self, entry)

    def _started(self, entry: Mapping[str, Any]) -> None:
        self._total, self._steps_per_epoch = _whole(entry, "total_steps"), _whole(entry, "steps_per_epoch")
        first = _whole(entry, "first_step")
        if first is not None:
            self._wind_back(first)
            self._previews.wind_back(first)

    def _stepped(self, entry: Mapping[str, Any]) -> None:
        step = _whole(entry, "step")
        if step is None:
            return
        if self._steps and step <= self._steps[-1]:
            self._wind_back(step)
        self._steps.append(step)
        for name in TOLD:
            self._columns[name].append(_number(entry, name))
        self._total = _whole(entry, "total_steps") or self._total

    def _wind_back(self, first: int) -> None:
        """Forget ``first`` and what came after it: it is done again."""
        keep = bisect.bisect_left(self._steps, first)
        self._validation = {step: loss for step, loss in self._validation.items() if step < first}
        self._epochs = {step: epoch for step, epoch in self._epochs.items() if step < first}
        if keep < len(self._steps):
            self._rewinds += 1
            del self._steps[keep:]
            for column in self._columns.values():
                del column[keep:]

    def _validated(self, entry: Mapping[str, Any]) -> None:
        step = _whole(entry, "step")
        if step is not None:
            self._validation[step] = _number(entry, "loss")

    def _epoch_ended(self, entry: Mapping[str, Any]) -> None:
        step, epoch = _whole(entry, "step"), _whole(entry, "epoch")
        if step is not None and epoch is not None:
            self._epochs[step] = epoch

    def _previewed(self, entry: Mapping[str, Any]) -> None:
        step, path = _whole(entry, "step"), entry.get("path")
        if step is None or not isinstance(path, str):
            return
        name = (PureWindowsPath if "\\" in path else PurePath)(path).name
        prompt, stamp = entry.get("prompt"), _number(entry, "time")
        self._previews.add(
            step,
            name,
            prompt if isinstance(prompt, str) else "",
            _whole(entry, "column"),
            0 if stamp != stamp else stamp,
        )


_TAKERS = {
    "StepDone": RunSeries._stepped,
    "RunStarted": RunSeries._started,
    "Validated": RunSeries._validated,
    "EpochEnded": RunSeries._epoch_ended,
    "PreviewMade": RunSeries._previewed,
}


@functools.lru_cache(maxsize=_KEPT_RUNS)
def series_of(run_dir: Path) -> RunSeries:
    """The one follower of the run in ``run_dir``; whether there is a journal yet shows when it is asked."""
    return RunSeries(run_dir)


# -------------------------------------------------------------------- thinning


def thinned(columns: Sequence[Floats], points: int) -> Places:
    """Places of at most ``points`` (16 or more) values that show every line of ``columns`` with its peaks, ascending.

    The lines are (steps,) long. The first jumps from step to step: half of the points are its lowest and highest value
    of each stretch. The others are smooth and share the rest. What is not finite is no peak.
    """
    count = len(columns[0])
    if count <= points:
        return np.arange(count)
    budget = points - 2
    stretches = [budget // 4] + [budget // (4 * max(1, len(columns) - 1))] * (len(columns) - 1)
    found = [extremes(column, max(1, some)) for column, some in zip(columns, stretches, strict=True)]
    return np.unique(np.concatenate([*found, np.array([0, count - 1])]))


def extremes(values: Floats, stretches: int) -> Places:
    """Places of the lowest and the highest of each of ``stretches`` equal parts; of a part without any finite value
    there may be any place."""
    width = math.ceil(len(values) / stretches)
    padded = np.full(width * math.ceil(len(values) / width), np.nan)
    padded[: len(values)] = values
    parts = padded.reshape(-1, width)
    is_finite = np.isfinite(parts)
    lowest = np.where(is_finite, parts, np.inf).argmin(axis=1)
    highest = np.where(is_finite, parts, -np.inf).argmax(axis=1)
    starts = np.arange(len(parts)) * width
    places: Places = np.minimum(np.concatenate([starts + lowest, starts + highest]), len(values) - 1)
    return places


def running_mean(values: Floats, window: int) -> Floats:
    """The mean of each value and the ``window`` - 1 before it (at the start of those there are), without what is not
    finite; NaN where nothing is."""
    is_finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(is_finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(is_finite)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - max(1, window))
    seen = counts[ends] - counts[starts]
    means: Floats = np.where(seen > 0, (sums[ends] - sums[starts]) / np.maximum(seen, 1), np.nan)
    return means


def rounded(value: float) -> float | None:
    """Six digits are more than a chart shows; None for what JSON has no number for."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _whole(entry: Mapping[str, Any], name: str) -> int | None:
    value = entry.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62 else None


def _number(entry: Mapping[str, Any], name: str) -> float:
    value = entry.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
