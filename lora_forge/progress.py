"""Events as a person reads them in a terminal: one live line, and lines that stay for what matters.

Where the stream is no terminal (a log file, a pipe), live lines become a line every so often, not a flood.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import singledispatchmethod
from typing import TextIO

from lora_forge import events

BAR = 24
QUIET_S = 15.0  # seconds between two lines of progress where the stream is no terminal
LIVE_S = 0.1


class ProgressPrinter:
    """An ``Emit`` that writes to ``stream``."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._is_terminal = stream.isatty()
        self._live_length = 0
        self._last = -1e9
        self._epochs = 0
        self._drawing: tuple[str, int] = ("", 0)

    def __call__(self, event: events.Event) -> None:
        self._show(event)

    def line(self, text: str) -> None:
        """A line that stays."""
        self._wipe()
        self._stream.write(text + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the cursor on a line of its own."""
        if self._live_length:
            self._stream.write("\n")
            self._live_length = 0
            self._stream.flush()

    def _wipe(self) -> None:
        if self._live_length:
            self._stream.write("\r" + " " * self._live_length + "\r")
            self._live_length = 0

    def _live(self, text: str, is_last: bool = False) -> None:
        now = self._clock()
        if not is_last and now - self._last < (LIVE_S if self._is_terminal else QUIET_S):
            return
        self._last = now
        if not self._is_terminal:
            self.line(text)
            return
        self._wipe()
        self._stream.write(text)
        self._stream.flush()
        self._live_length = len(text)

    @singledispatchmethod
    def _show(self, event: events.Event) -> None:
        """Events without a line of their own stay silent."""

    @_show.register
    def _(self, event: events.StageStarted) -> None:
        if event.total:
            self.line(f"{event.stage}: {event.total} {event.unit}")
        else:
            self.line(f"{event.stage} ...")

    @_show.register
    def _(self, event: events.Progress) -> None:
        left = "" if event.seconds_left is None else f"  {duration(event.seconds_left)} left"
        is_last = event.done >= event.total and self._is_terminal
        self._live(f"{event.stage} {bar(event.done, event.total)} {event.done}/{event.total}{left}", is_last)

    @_show.register
    def _(self, event: events.StageDone) -> None:
        self.line(f"{event.stage}: {event.summary or 'done'}")

    @_show.register
    def _(self, event: events.Warned) -> None:
        self.line(f"warning: {event.message}")

    @_show.register
    def _(self, event: events.RunStarted) -> None:
        self._epochs = -(-event.total_steps // max(event.steps_per_epoch, 1))
        self.line(
            f"{event.name}: {event.photos} photos, {event.steps_per_epoch} steps an epoch, {event.total_steps} in all; "
            f"{event.trained_parameters / 1e6:.2f} M weights trained"
        )
        self.line(
            f"base: {event.family}, {event.prediction_type} ({event.prediction_source}); "
            f"{event.device}, {event.precision}"
        )
        if event.first_step > 1:
            self.line(f"going on from step {event.first_step}")

    @_show.register
    def _(self, event: events.StepDone) -> None:
        rate = "" if not event.images_per_s else f"  {event.images_per_s:.1f} images/s"
        skipped = "  (skipped: not finite)" if event.is_skipped else ""
        self._live(
            f"epoch {event.epoch}/{self._epochs or '?'} {bar(event.step, event.total_steps)} "
            f"step {event.step}/{event.total_steps}  loss {event.loss:.4f} (mean {event.window_mse:.4f}){rate}  "
            f"{duration(event.seconds_left)} left{skipped}"
        )

    @_show.register
    def _(self, event: events.EpochEnded) -> None:
        fixed = "" if event.validation_loss is None else f", validation {event.validation_loss:.4f}"
        self.line(f"epoch {event.epoch}: mean loss {event.window_mse:.4f}{fixed}")

    @_show.register
    def _(self, event: events.LoraSaved) -> None:
        self.line(f"saved {event.path.name} ({event.keys} keys, {size(event.size_bytes)})")

    @_show.register
    def _(self, event: events.PreviewMade) -> None:
        self.line(f"preview at step {event.step}: {event.path}")

    @_show.register
    def _(self, event: events.Paused) -> None:
        self.line(f"paused after step {event.step}")

    @_show.register
    def _(self, event: events.CellDrawn) -> None:
        text = f"grid {bar(event.done, event.total)} {event.done}/{event.total} cells"
        self._live(text, event.done >= event.total and self._is_terminal)

    @_show.register
    def _(self, event: events.GridSaved) -> None:
        self.line(f"grid of {event.columns} x {event.rows}: {event.path}")

    @_show.register
    def _(self, event: events.Recommended) -> None:
        self.line(event.sentence.text())

    @_show.register
    def _(self, event: events.RunEnded) -> None:
        done = {"done": "done", "stopped": "stopped, state saved", "failed": "failed"}.get(event.outcome, event.outcome)
        files = f", {len(event.files)} files" if event.files else ""
        extra = f": {event.message}" if event.message else ""
        self.line(f"{done} at step {event.step} of {event.total_steps}{files}{extra}")


def bar(done: int, total: int) -> str:
    """``[######......]``, ASCII because Windows consoles may have no blocks."""
    filled = BAR * min(done, total) // total if total > 0 else 0
    return "[" + "#" * filled + "." * (BAR - filled) + "]"


def duration(seconds: float) -> str:
    """``8 s``, ``3:07`` (minutes), ``2:05:00`` (hours)."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: float) -> str:
    """``18 MB`` and so on, decimal units as file managers show them."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
