"""One run from the tab: prepare, wait for the checkpoint, train, check each file, and leave the host as it was."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_forge.config import TrainConfig
from lora_forge.dataset.manifest import PrepareSettings
from lora_forge.dataset.prepare import prepare
from lora_forge.dataset.prepared import PreparedSet
from lora_forge.dataset.project import Project
from lora_forge.errors import LoraForgeError, MissingPartError, TrainingError
from lora_forge.events import CommandBox, Emit, Event, LoraSaved, Progress, StageDone, StageStarted, StepDone, Warned
from lora_forge.i18n import Said, Several, some_of, word
from lora_forge.ports import BaseInfo, Desk, GaveUpError, Traces, stored_as
from lora_forge.train.claim import claimed
from lora_forge.work.again import preparing_again
from lora_forge.work.planning import RunRequest, out_dir, plan, settled
from lora_forge.work.requests import noted
from lora_forge.work.run_file import attempt, read_run_file
from lora_forge.work.speeds import Lent, SpeedWatch

if TYPE_CHECKING:
    from lora_forge.train.run import RunResult

_MOST_NAMED = 5
_UNUSED = word("{host} leaves {unused} of {keys} keys of {file} unused: {named}.")
_CANT_SHOW = word("Whether the host is left as it was can't be shown: {problem}")
_SAME = word("The host is as it was, bit for bit: {count} marks are equal ({parts}).")
_CHANGED = word("The host is not as it was. Changed: {changed}.")
_CHANGED_MEANWHILE = word(
    "The host is not as it was. Changed: {changed}. Pictures that were made meanwhile move these too."
)
_PARTS = (word("random"), word("picture"))  # what marks are of; unet, vae and torch are called so in every language
_ASPECTS = (
    *(word("weights"), word("dtypes"), word("devices"), word("modes")),
    *(word("gradients"), word("hooks"), word("forwards")),
)


class _StoppedError(Exception):
    """A stop was asked for before the first step."""


def run(desk: Desk, request: RunRequest, emit: Emit, commands: CommandBox) -> RunResult:
    """Do the whole run and give what it wrote.

    A stop is obeyed between two photos while they are prepared, at once while we wait for the checkpoint, and
    between two steps. Files are written to the host's Lora folder; each is looked at with the host's own
    loader as soon as it is there. With ``request.prove`` what the host was like is compared with what it is like
    after the run, a failed one too, and the log says what came of it.

    Raises:
        LoraForgeError: as :func:`plan`, ``Desk.borrow`` and :func:`lora_forge.train.run.train` do.
        MissingPartError: a library that training needs is absent.
    """
    train_result = _train_result()
    plan(desk, request)
    with _alone(request):
        config = settled(desk, request)  # another program may have begun and ended it since
        with attempt(request.run_dir, noted(request, read_run_file(request.run_dir))) as made:
            result = _run(desk, request, config, emit, commands, train_result)
            made.outcome = result.outcome
            return result


@contextlib.contextmanager
def _alone(request: RunRequest) -> Iterator[None]:
    """Hold the run's folder from now on, the preparation and the wait for the checkpoint included."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(claimed(request.run_dir, hands_on=True))
        except TrainingError as cause:
            raise TrainingError(
                "The run {name} is at work already.", "Wait for its end, or stop it.", name=request.name
            ) from cause
        yield


def _run(
    desk: Desk,
    request: RunRequest,
    config: TrainConfig,
    emit: Emit,
    commands: CommandBox,
    train_result: type[RunResult],
) -> RunResult:
    try:
        prepared = _prepare(request, config, emit, commands)
        before = _look(desk, request, emit)
        _stop_if_asked(commands)
    except _StoppedError:
        return train_result("stopped", (), 0)
    try:
        return _borrow_and_train(desk, request, config, prepared, emit, commands)
    except GaveUpError:
        return train_result("stopped", (), 0)
    finally:
        if before is not None:
            _compare(desk, request, before, emit)


def _train_result() -> type[RunResult]:
    """The trainer, imported now: a missing library is said before a person waits for anything."""
    try:
        from lora_forge.train.run import RunResult
    except ImportError as cause:
        raise MissingPartError(
            "Training needs {part}, which can't be imported: {cause}.",
            "Install it with the button in the tab's list of missing parts.",
            part=cause.name or "a library",
            cause=cause,
        ) from cause
    return RunResult


def _prepare(request: RunRequest, config: TrainConfig, emit: Emit, commands: CommandBox) -> PreparedSet:
    def emit_or_stop(event: Event) -> None:
        emit(event)
        if isinstance(event, Progress):
            _stop_if_asked(commands)

    return prepare(Project.load(request.project), PrepareSettings.from_config(config), emit_or_stop)


def _stop_if_asked(commands: CommandBox) -> None:
    if commands.asks_to_stop():
        raise _StoppedError


def _borrow_and_train(
    desk: Desk, request: RunRequest, config: TrainConfig, prepared: PreparedSet, emit: Emit, commands: CommandBox
) -> RunResult:
    from lora_forge.train.run import RunResult, train

    planned = desk.info()
    emit(StageStarted("wait", 0))
    with stored_as(desk, config.base_storage), desk.borrow(config.name, commands.asks_to_stop) as model:
        if commands.asks_to_stop():
            return RunResult("stopped", (), 0)
        emit(StageDone("wait"))
        _check_same(planned, model.info)
        watch = SpeedWatch(_Watch(desk, config.name, emit), desk.data_root(), request.run_dir, Lent.of(model))
        again = preparing_again(request.project, watch, commands)
        return train(
            model, prepared, config, request.run_dir, out_dir(desk, request), watch, commands,
            resume=request.resume, prepare_again=again,
        )  # fmt: skip


def _check_same(planned: BaseInfo, lent: BaseInfo) -> None:
    if (planned.name, planned.family) != (lent.name, lent.family):
        raise TrainingError(
            "While the run waited, the checkpoint was changed from {planned} ({old}) to {lent} ({new}).",
            "Start it again for this one, or load the other one first.",
            planned=planned.name,
            old=planned.family.value,
            lent=lent.name,
            new=lent.family.value,
        )


@dataclass
class _Watch:
    """An ``Emit`` between the trainer and the board: moves the host's bar, and has each new file looked at."""

    desk: Desk
    name: str
    emit: Emit

    def __call__(self, event: Event) -> None:
        self.emit(event)
        if isinstance(event, StepDone):
            text = f"LoRA Forge: {self.name}, epoch {event.epoch}, loss {event.window_mse:.4f}"
            self.desk.report(event.step, event.total_steps, text)
        elif isinstance(event, Progress):
            self.desk.report(event.done, event.total, f"LoRA Forge: {self.name}, {event.stage}")
        elif isinstance(event, LoraSaved):
            self._check(event)

    def _check(self, saved: LoraSaved) -> None:
        try:
            unused = self.desk.check_loads(saved.path)
        except Exception as cause:  # noqa: BLE001 - the host's own code; the run is not to die of its complaint
            values = {"host": self.desk.name, "file": saved.path.name, "problem": _problem(cause)}
            self.emit(Warned("{host} could not look at {file}: {problem}", values))
            return
        if unused:
            counts = {"unused": len(unused), "keys": saved.keys, "named": some_of(unused, _MOST_NAMED)}
            self.emit(Warned(_UNUSED, {"host": self.desk.name, "file": saved.path.name, **counts}))


def _look(desk: Desk, request: RunRequest, emit: Emit) -> Traces | None:
    """What the host is like before the run; None when nothing is to be proven, or it can't be."""
    if request.prove == "off":
        return None
    emit(StageStarted("prove", 0))
    try:
        return desk.traces(with_picture=request.prove == "picture")
    except Exception as problem:  # noqa: BLE001 - the host's own code; the run can do without the proof
        emit(Warned(_CANT_SHOW, {"problem": _problem(problem)}))
        return None


def _compare(desk: Desk, request: RunRequest, before: Traces, emit: Emit) -> None:
    """Say whether the host is as it was; never raises, since it may follow another error."""
    emit(StageStarted("prove", 0))
    try:
        after = desk.traces(with_picture=request.prove == "picture")
    except Exception as problem:  # noqa: BLE001 - the run's own error is the one to be heard
        emit(Warned(_CANT_SHOW, {"problem": _problem(problem)}))
        return
    changed = before.differences(after)
    if changed:
        has_excuse = all(name.startswith("random") for name in changed)
        named = Several(tuple(_mark(name) for name in changed))
        emit(Warned(_CHANGED_MEANWHILE if has_excuse else _CHANGED, {"changed": named}))
        return
    emit(StageDone("prove", _SAME, _compared(before, after)))


def _compared(before: Traces, after: Traces) -> dict[str, object]:
    """What :data:`_SAME` tells: 36 marks, of which random 3, torch 15, unet 6, picture."""
    both = [name for name in before.marks if name in after.marks]
    parts = Counter(name.partition(":")[0] for name in both)
    return {"count": len(both), "parts": Several(tuple(_counted(part, count) for part, count in parts.items()))}


def _counted(part: str, count: int) -> Said:
    return _part(part) if count == 1 else Said("{part} {count}", {"part": _part(part), "count": count})


def _mark(name: str) -> Said:
    """The name of a mark, ``unet: weights``, in words that can be said; what is torch's own stays as it is."""
    part, _, aspect = name.partition(": ")
    if not aspect:
        return _part(part)
    return Said("{part}: {aspect}", {"part": _part(part), "aspect": Said(aspect) if aspect in _ASPECTS else aspect})


def _part(part: str) -> Said:
    return Said(part) if part in _PARTS else Said("{part}", {"part": part})


def _problem(cause: BaseException) -> object:
    return cause if isinstance(cause, LoraForgeError) else f"{type(cause).__name__}: {cause}"
