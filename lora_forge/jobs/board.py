"""The board a page reads: one job at a time on a daemon thread, and everything said of it, ready for JSON."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lora_forge import events
from lora_forge.events import AnyCommand, Command, CommandBox, Emit, Event
from lora_forge.i18n import Said, Several, told
from lora_forge.jobs.failures import JobError, explain, lost
from lora_forge.jobs.sentences import WAIT_STAGE, Sentence, sentence_of

Work = Callable[[Emit, CommandBox], str]
OUTCOMES = ("done", "stopped")
ENDED = ("done", "stopped", "failed")
MOST_SENTENCES = 200


@dataclass
class _Job:
    """``state``: idle, waiting (for the host), running, stopping, done, stopped or failed."""

    number: int = 0
    title: str | Said = ""
    about: Mapping[str, str] = field(default_factory=dict)
    state: str = "idle"
    stage: str = ""
    step: int = 0
    total: int = 0
    epoch: int = 0
    loss: float | None = None
    window_mse: float | None = None
    learning_rate: float | None = None
    images_per_s: float | None = None
    memory_bytes: int | None = None
    seconds_left: float | None = None
    is_paused: bool = False
    started_at: float | None = None
    ended_at: float | None = None
    files: list[str] = field(default_factory=list)
    error: tuple[Sentence, Sentence] | None = None
    commands: CommandBox = field(default_factory=CommandBox)
    thread: threading.Thread | None = None

    @property
    def is_over(self) -> bool:
        return self.state == "idle" or self.state in ENDED


class JobBoard:
    """Starts work, tells it commands, and remembers what it said. Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._job = _Job()
        self._log: deque[tuple[int, Sentence]] = deque(maxlen=MOST_SENTENCES)
        self._spoken = 0

    def start(self, title: str | Said, work: Work, about: Mapping[str, str] | None = None) -> int:
        """Run ``work(emit, commands)`` on a daemon thread, which gives ``done`` or ``stopped``; the job's number.

        ``about``: what it works on, such as ``{"project": "anna", "name": "girl"}``; a page finds the run by it.

        Whatever it raises, a thrown SystemExit and full memory included, ends in the state ``failed`` with a sentence.

        Raises:
            JobError: another job is not over yet, or the system gives no thread.
        """
        with self._lock:
            self.check_free()
            before, job = self._job, _Job(self._job.number + 1, title, dict(about or {}), "running")
            job.started_at = time.time()
            job.thread = threading.Thread(target=self._run, args=(job, work), name="lora-forge-job", daemon=True)
            self._job = job
            try:
                job.thread.start()
            except RuntimeError as cause:
                self._job = before
                raise JobError("The system gives no thread for {title}: {cause}.", title=title, cause=cause) from cause
            self._say(Sentence("{title}: started.", {"title": title}))
            return job.number

    def check_free(self) -> None:
        """Nothing, if a job could be started now.

        Raises:
            JobError: one is not over yet.
        """
        with self._lock:
            self._find_lost()
            if not self._job.is_over:
                raise JobError(
                    "{title} is not over yet, and one job runs at a time.",
                    "Wait for its end, or stop it first.",
                    title=self._job.title,
                )

    def send(self, command: AnyCommand) -> None:
        """Tell the job something; it obeys between two steps.

        Raises:
            JobError: no job is running.
        """
        with self._lock:
            self._find_lost()
            job = self._job
            if job.is_over:
                raise JobError("Nothing is running.", "Start a run first.")
            job.commands.send(command)
            if command in (Command.STOP, Command.STOP_AND_SAVE) and job.state != "stopping":
                job.state = "stopping"
                self._say(Sentence("Stopping."))

    @property
    def is_busy(self) -> bool:
        """Whether a job is not over yet."""
        with self._lock:
            self._find_lost()
            return not self._job.is_over

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the present job's thread."""
        with self._lock:  # held by whoever starts one, until its thread is there
            thread = self._job.thread
        if thread is not None:
            thread.join(timeout_s)

    def snapshot(self, since: int = 0, language: str = "en") -> dict[str, Any]:
        """Everything a page shows, as plain JSON values.

        ``log`` has the last sentences with a number above ``since``, as ``{number, level, text}``; numbers rise for as
        long as the process lives. ``language``: ``en`` or ``zh``.
        """
        with self._lock:
            self._find_lost()
            job = self._job
            return {
                "job": job.number,
                "state": job.state,
                "title": told(job.title, language),
                "about": dict(job.about),
                "stage": job.stage,
                "step": job.step,
                "total": job.total,
                "epoch": job.epoch,
                "loss": _finite(job.loss),
                "window_mse": _finite(job.window_mse),
                "learning_rate": _finite(job.learning_rate),
                "images_per_s": _finite(job.images_per_s),
                "memory_bytes": job.memory_bytes,
                "seconds_left": _finite(job.seconds_left),
                "is_paused": job.is_paused,
                "started_at": job.started_at,
                "ended_at": job.ended_at,
                "files": list(job.files),
                "log": [
                    {"number": number, "level": said.level, "text": said.text(language)}
                    for number, said in self._log
                    if number > since
                ],
                "error": None if job.error is None else _error(job.error, language),
            }

    def _run(self, job: _Job, work: Work) -> None:
        """The whole life of the thread: nothing may leave it unsaid."""
        error: tuple[Sentence, Sentence] | None = None
        outcome = "failed"
        try:
            outcome = work(lambda event: self._take(job, event), job.commands)
            if outcome not in OUTCOMES:
                raise TypeError(f"the work gave {outcome!r}, not one of {OUTCOMES}")
        except BaseException as cause:  # noqa: BLE001 - a thread's edge: a page must learn of anything at all
            error = explain(cause)
        self._end(job, outcome if error is None else "failed", error)

    def _end(self, job: _Job, state: str, error: tuple[Sentence, Sentence] | None) -> None:
        with self._lock:
            job.state, job.error, job.ended_at = state, error, time.time()
            job.seconds_left, job.is_paused = None, False
            if error is not None:
                what, remedy = error
                both = Several(tuple(part for part in (what, remedy) if part.template), " ")
                self._say(Sentence("{text}", {"text": both}, "error"))
            elif state == "stopped":
                self._say(Sentence("{title}: stopped.", {"title": job.title}))
            else:
                self._say(Sentence("{title}: done.", {"title": job.title}))

    def _find_lost(self) -> None:
        """A thread can be killed where no line of ours catches it; then nobody but us can say so."""
        job = self._job
        if not job.is_over and job.thread is not None and not job.thread.is_alive():
            self._end(job, "failed", lost())

    def _take(self, job: _Job, event: Event) -> None:
        said = sentence_of(event)
        with self._lock:
            _note(job, event)
            if said is not None:
                self._say(said)

    def _say(self, said: Sentence) -> None:
        self._spoken += 1
        self._log.append((self._spoken, said))


def _note(job: _Job, event: Event) -> None:
    """What ``event`` changes in the figures."""
    if job.state in ("running", "waiting"):
        is_waiting = isinstance(event, events.StageStarted) and event.stage == WAIT_STAGE
        job.state = "waiting" if is_waiting else "running"
    if isinstance(event, events.StageStarted):
        job.stage, job.step, job.total, job.seconds_left = event.stage, 0, event.total, None
    elif isinstance(event, events.Progress):
        job.stage, job.step, job.total, job.seconds_left = event.stage, event.done, event.total, event.seconds_left
    elif isinstance(event, events.StepDone):
        job.stage, job.step, job.total, job.epoch = "train", event.step, event.total_steps, event.epoch
        job.loss, job.window_mse, job.learning_rate = event.loss, event.window_mse, event.learning_rate
        job.images_per_s, job.seconds_left = event.images_per_s, event.seconds_left
        job.memory_bytes = event.memory_bytes
    elif isinstance(event, events.LoraSaved):
        job.files.append(event.path.name)
    elif isinstance(event, (events.Paused, events.Resumed)):
        job.is_paused = isinstance(event, events.Paused)


def _error(error: tuple[Sentence, Sentence], language: str) -> dict[str, str]:
    what, remedy = error
    return {"what": what.text(language), "remedy": remedy.text(language) if remedy.template else ""}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
