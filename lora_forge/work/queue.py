"""Runs that wait their turn: kept in DATA_ROOT/queue.json, begun one after the other as the board falls free.

What was left waiting when the program ended is held until a person lets it go: a WebUI that is started again does not
begin to train by itself. A run that fails does not stop the others; one that can't begin keeps its place and says why.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from lora_forge.errors import LoraForgeError, TrainingError
from lora_forge.i18n import Said
from lora_forge.jobs import JobBoard, JobError
from lora_forge.ports import Desk
from lora_forge.work.packing import packed
from lora_forge.work.planning import RunRequest, plan
from lora_forge.work.queue_file import Entry, QueueFile
from lora_forge.work.running import run

_LOOK_S = 0.5
T = TypeVar("T")


class RunQueue:
    """One process's hand on the queue. Any thread may call any method; other processes may change the file too."""

    def __init__(self, desk: Desk, board: JobBoard) -> None:
        self._desk, self._board = desk, board
        self._lock = threading.RLock()
        self._is_held: bool | None = None
        self._pump: threading.Thread | None = None
        self._changed = threading.Event()

    @property
    def is_held(self) -> bool:
        """Whether nothing is begun until :meth:`go`."""
        with self._lock:
            if self._is_held is None:
                self._is_held = bool(self._file.read())
            return self._is_held

    def entries(self) -> list[Entry]:
        """What waits, first to be begun first."""
        with self._lock:
            self.is_held  # noqa: B018 - what was there before this process added anything is held
            return self._file.read()

    def find(self, number: str) -> Entry:
        """The entry with that id.

        Raises:
            TrainingError: it is not in the queue any more.
        """
        return _found(self.entries(), number)

    def submit(self, request: RunRequest, *, may_wait: bool) -> tuple[str, str]:
        """Begin the run now, or let it wait where one is going: ``started`` or ``queued``, and an id.

        Of several that are asked for at once under one name exactly one is taken.

        Raises:
            LoraForgeError: as :func:`plan`; or the name is taken by one that runs or waits.
            JobError: another job is not over yet, and this one may not wait.
        """
        if not may_wait:
            self._board.check_free()
        with self._lock:
            self._check_new([request], self.entries())
            has_others = not self.is_held and any(entry.problem is None for entry in self.entries())
            if not has_others or not may_wait:
                try:
                    return "started", str(self._start(request))
                except JobError:
                    if not may_wait:
                        raise
            (number,) = self.add([request])
            return "queued", number

    def add(self, requests: Sequence[RunRequest]) -> list[str]:
        """Put all of them at the end of the queue, or none; their ids.

        Raises:
            LoraForgeError: as :func:`plan`; or a name is taken by one that runs or waits.
        """
        with self._lock:
            self._check_new(requests, self.entries())
            numbers = self._change(lambda file: file.append(requests))
        self._wake()
        return numbers

    def move(self, number: str, index: int) -> None:
        """Put an entry at place ``index`` (0 is next)."""

        def moved(entries: list[Entry]) -> list[Entry]:
            entry = _found(entries, number)
            others = [one for one in entries if one is not entry]
            at = min(max(index, 0), len(others))
            return [*others[:at], entry, *others[at:]]

        self._rewrite(moved)

    def edit(self, number: str, change: Callable[[RunRequest], RunRequest]) -> None:
        """Put what ``change`` gives in the place of an entry's request.

        Raises:
            LoraForgeError: as :func:`plan`; or it is not in the queue any more.
        """
        with self._lock:
            entry = self.find(number)
            request = change(entry.request)
            others = [one for one in self.entries() if one.id != number]
            self._check_new([request], others)

            def edited(entries: list[Entry]) -> list[Entry]:
                _found(entries, number)
                return [replace(one, request=request, problem=None) if one.id == number else one for one in entries]

            self._rewrite(edited)

    def duplicate(self, number: str) -> str:
        """The same once more, right behind it, under the next free name; its id.

        Raises:
            LoraForgeError: as :func:`plan`; or it is not in the queue any more.
        """
        with self._lock:
            request = replace(self.find(number).request, resume=False)
            request = replace(request, name=self._free_name(request))
            self._check_new([request], self.entries())
            (made,) = self._change(lambda file: file.append([request]))
            index = [entry.id for entry in self.entries()].index(number)
            self.move(made, index + 1)
        return made

    def remove(self, number: str) -> None:
        """Take an entry out."""

        def left(entries: list[Entry]) -> list[Entry]:
            entry = _found(entries, number)
            return [one for one in entries if one is not entry]

        self._rewrite(left)

    def hold(self) -> None:
        """Begin nothing more; what runs goes on."""
        with self._lock:
            self._is_held = True

    def go(self) -> None:
        """Begin what waits, what could not begin before included."""
        with self._lock:
            self._is_held = False
            if any(entry.problem is not None for entry in self._file.read()):
                self._rewrite(lambda entries: [replace(one, problem=None) for one in entries])
        self._wake()

    @property
    def _file(self) -> QueueFile:
        return QueueFile(self._desk.data_root())

    def _change(self, change: Callable[[QueueFile], T]) -> T:
        with self._lock, self._file.locked() as file:
            return change(file)

    def _rewrite(self, change: Callable[[list[Entry]], list[Entry]]) -> None:
        self._change(lambda file: file.write(change(file.read())))
        self._wake()

    def _check_new(self, requests: Sequence[RunRequest], entries: Sequence[Entry]) -> None:
        """Each can be planned, and none has the name of another that runs or waits."""
        taken = [_name(entry.request) for entry in entries]
        about = self._board.snapshot()["about"] if self._board.is_busy else {}
        for request in requests:
            if about == about_of(request):
                raise TrainingError(
                    "The run {name} is at work already.", "Wait for its end, or stop it.", name=request.name
                )
            if _name(request) in taken:
                raise TrainingError(
                    "A run named {name} waits in the queue already.",
                    "Change that one, or choose another name.",
                    name=request.name,
                )
            taken.append(_name(request))
            plan(self._desk, request)

    def _free_name(self, request: RunRequest) -> str:
        for number in range(2, 1000):
            name = f"{request.name}-{number}"
            try:
                self._check_new([replace(request, name=name)], self.entries())
            except LoraForgeError:
                continue
            return name
        return f"{request.name}-copy"

    def _start(self, request: RunRequest) -> int:
        desk, about = self._desk, about_of(request)
        return self._board.start(request.name, lambda emit, commands: run(desk, request, emit, commands).outcome, about)

    def _wake(self) -> None:
        """See to it that somebody looks whether one can begin."""
        with self._lock:
            self._changed.set()
            if self._pump is None and not self.is_held and self._next(self._file.read()) is not None:
                self._pump = threading.Thread(target=self._work, name="lora-forge-queue", daemon=True)
                self._pump.start()

    def _work(self) -> None:
        """Begin one after the other until none is left or the queue is held."""
        while self._is_waiting():
            self._changed.wait(_LOOK_S)

    def _is_waiting(self) -> bool:
        """Begin the next if it can; whether there is more to wait for."""
        with self._lock:
            self._changed.clear()
            try:
                if not self.is_held and self._next(self._file.read()) is not None:
                    if not self._board.is_busy:
                        self._begin_next()
                    return True
            except (LoraForgeError, OSError):  # the file is held or can't be read or written for the moment
                return True
            self._pump = None
            return False

    def _begin_next(self) -> None:
        """The first that can begin leaves the queue once it has begun; killed in between, it is still there."""
        with self._file.locked() as file:
            entries = file.read()
            entry = self._next(entries)
            if entry is None:
                return
            try:
                plan(self._desk, entry.request)
                self._start(entry.request)
            except JobError:  # somebody else's job was quicker: later
                return
            except Exception as cause:  # noqa: BLE001 - the queue's thread: whatever is wrong is said in its line
                file.write([replace(one, problem=_problem(cause)) if one is entry else one for one in entries])
                return
            file.write([one for one in entries if one is not entry])

    @staticmethod
    def _next(entries: Sequence[Entry]) -> Entry | None:
        return next((entry for entry in entries if entry.problem is None), None)


_QUEUES: weakref.WeakKeyDictionary[JobBoard, RunQueue] = weakref.WeakKeyDictionary()
_MAKING = threading.Lock()


def queue_of(desk: Desk, board: JobBoard) -> RunQueue:
    """The one queue of ``board``; like it, it outlives the host's Reload UI."""
    with _MAKING:
        if board not in _QUEUES:
            _QUEUES[board] = RunQueue(desk, board)
        return _QUEUES[board]


def about_of(request: RunRequest) -> Mapping[str, str]:
    """What the board says a run is about."""
    return {"project": request.project.name, "name": request.name}


def _name(request: RunRequest) -> tuple[str, str]:
    """Two of these are one: all projects share the host's Lora folder."""
    return request.folder.casefold(), request.name.casefold()


def _found(entries: Sequence[Entry], number: str) -> Entry:
    for entry in entries:
        if entry.id == number:
            return entry
    raise TrainingError("That run is not in the queue any more.", "Reload the list of runs.")


def _problem(cause: Exception) -> Any:
    known = isinstance(cause, LoraForgeError)
    return (
        packed(cause) if known else packed(Said("{kind}: {cause}", {"kind": type(cause).__name__, "cause": str(cause)}))
    )
