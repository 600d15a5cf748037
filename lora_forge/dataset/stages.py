"""Saying how far a stage is."""

from __future__ import annotations

import time

from lora_forge.events import Emit, Progress, StageDone, StageStarted


class Stage:
    """One named piece of work over ``total`` items; emits its beginning at once."""

    def __init__(self, emit: Emit, name: str, total: int) -> None:
        self._emit, self._name, self._total, self._done = emit, name, total, 0
        self._started_s = time.monotonic()
        emit(StageStarted(name, total))

    def advance(self) -> None:
        """One more item is done."""
        self._done += 1
        left_s = (time.monotonic() - self._started_s) / self._done * (self._total - self._done)
        self._emit(Progress(self._name, self._done, self._total, left_s))

    def finish(self, template: str, /, **values: object) -> None:
        """All is done; ``template`` is one sentence with places for its figures, the ``values``."""
        self._emit(StageDone(self._name, template, values))
