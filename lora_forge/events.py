"""What a run says (events) and what it can be told (commands). Plain data: no torch, no screen.

An event is a frozen dataclass; :func:`to_json` gives the object that ``--json`` prints, with its class name in
``event``. Sentences are templates with values, so that a page can say them in its own language; the terminal,
``--json`` and the journal have the English. Commands go through a :class:`CommandBox`, which a worker looks into
between steps.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from lora_forge.errors import LoraForgeError
from lora_forge.i18n import Said, Several, Text
from lora_forge.i18n.reasons import reason


@dataclass(frozen=True)
class Event:
    """Base of all events."""

    def to_dict(self) -> dict[str, Any]:
        """Its fields, sentences in English."""
        return {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}


@dataclass(frozen=True)
class StageStarted(Event):
    """A named piece of work begins: ``import``, ``prepare``, ``encode``, ``train``, ``grid``, ``score``."""

    stage: str
    total: int
    unit: str = "images"


@dataclass(frozen=True)
class Progress(Event):
    """``done`` of ``total`` in ``stage``; ``seconds_left`` is None until there is something to judge by."""

    stage: str
    done: int
    total: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class StageDone(Event):
    """A stage ended; ``template`` is one sentence with its figures, or empty."""

    stage: str
    template: str = ""
    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The sentence in English."""
        return Said(self.template, self.values).text()

    def to_dict(self) -> dict[str, Any]:
        return {"stage": self.stage, "summary": self.summary}


@dataclass(frozen=True)
class Warned(Event):
    """Something a person should know; the work goes on. An error among ``values`` is said with its remedy."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """The sentence in English."""
        return Said(self.template, self.values).text()

    def to_dict(self) -> dict[str, Any]:
        return {"message": self.message}


@dataclass(frozen=True)
class RunStarted(Event):
    """Training begins (or goes on from ``first_step`` - 1). ``is_checkpointed``: parts of a step are computed twice."""

    name: str
    family: str
    prediction_type: str
    prediction_source: Said
    device: str
    precision: str
    photos: int
    steps_per_epoch: int
    total_steps: int
    first_step: int
    trained_parameters: int
    is_checkpointed: bool = False


@dataclass(frozen=True)
class StepDone(Event):
    """One optimizer step. ``loss`` is the objective, ``mse`` the raw unweighted error of this step,
    ``window_mse`` its mean over the last epoch's worth of steps (what 0.07-0.09 refers to). ``memory_bytes``: the most
    that was in use since the step before it, on the card (torch's) or of the process on a CPU; None if unknown."""

    step: int
    total_steps: int
    epoch: int
    loss: float
    mse: float
    window_mse: float
    learning_rate: float
    images_per_s: float
    seconds_left: float
    is_skipped: bool = False
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Validated(Event):
    """The validation loss after ``step`` steps; step 0 is the base checkpoint alone, with which the others compare."""

    epoch: int
    step: int
    loss: float


@dataclass(frozen=True)
class EpochEnded(Event):
    """``validation_loss``: same images, noise and timesteps every epoch; None when it is off."""

    epoch: int
    step: int
    window_mse: float
    validation_loss: float | None


@dataclass(frozen=True)
class LoraSaved(Event):
    """A numbered file was written and read back; ``NAME-stepNNNNNNNN`` when it was saved between two epochs."""

    path: Path
    epoch: int
    step: int
    keys: int
    size_bytes: int


@dataclass(frozen=True)
class StateSaved(Event):
    """The run can be resumed from ``step``."""

    path: Path
    step: int


@dataclass(frozen=True)
class PreviewMade(Event):
    """A picture drawn during training, without a LoRA in ``column`` 0; all columns of a run have one seed.

    Column 0 is told of when it is new: at the first preview, and when the prompt of column 1 was changed.
    """

    path: Path
    step: int
    prompt: str
    column: int = 1


@dataclass(frozen=True)
class Paused(Event):
    """The run waits after ``step``."""

    step: int


@dataclass(frozen=True)
class Resumed(Event):
    """The run goes on after ``step``."""

    step: int


@dataclass(frozen=True)
class CellDrawn(Event):
    """One cell of a grid is there."""

    epoch: int
    strength: float
    done: int
    total: int


@dataclass(frozen=True)
class CellScored(Event):
    """The pictures of one cell were looked at by the judges."""

    epoch: int
    strength: float


@dataclass(frozen=True)
class GridSaved(Event):
    """A labelled grid picture was written."""

    path: Path
    columns: int
    rows: int


@dataclass(frozen=True)
class Recommended(Event):
    """The cell to keep, and why, in one sentence."""

    epoch: int
    strength: float
    sentence: Said


@dataclass(frozen=True)
class RunEnded(Event):
    """``outcome``: ``done``, ``stopped`` (state saved) or ``failed``."""

    outcome: str
    step: int
    total_steps: int
    files: tuple[Path, ...] = ()
    message: str = ""


Emit = Callable[[Event], None]


def to_json(event: Event) -> dict[str, Any]:
    """The event as plain JSON values: paths as text, tuples as lists, the class name under ``event``."""
    return {"event": type(event).__name__, **{name: _plain(value) for name, value in event.to_dict().items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, (Path, Said, Several)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no NaN, and a browser's parser refuses it
    return value


def kept(value: object) -> object:
    """A sentence's value as it can be kept, and said in any language, for as long as a page may ask.

    Errors become sentences; of anything else that is no text, number or truth only the words stay: an exception would
    keep the frames it came through, and with them the model.
    """
    if isinstance(value, Said):
        return Said(value.template, {name: kept(inner) for name, inner in value.values.items()})
    if isinstance(value, Several):
        return Several(tuple(kept(part) for part in value.parts), value.between)
    if isinstance(value, LoraForgeError):
        values = {name: kept(inner) for name, inner in value.values.items()}
        return Several(tuple(Said(part, values) for part in (value.what, value.remedy) if part), " ")
    if isinstance(value, OSError):
        return reason(value)
    return value if isinstance(value, (int, float, str)) else str(value)


def text_of(value: object) -> Text:
    """``value`` as a text: an error with its remedy, a finished sentence with its braces and all."""
    made = kept(value)
    return made if isinstance(made, (Said, Several)) else Said("{text}", {"text": made})


class Command(Enum):
    """What a run can be told; obeyed between two steps."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP_AND_SAVE = "stop_and_save"
    STOP = "stop"
    SAVE_NOW = "save_now"
    PREVIEW_NOW = "preview_now"


@dataclass(frozen=True)
class NewPrompts:
    """A command: what the previews show from the next one on; the first is drawn without the LoRA too. ``TRIGGER``
    stands for the trigger word; none at all is the trigger word alone."""

    prompts: tuple[str, ...]


AnyCommand = Command | NewPrompts


class CommandBox:
    """Commands on their way to a run. Any thread may send; the run's thread takes."""

    def __init__(self) -> None:
        self._waiting: deque[AnyCommand] = deque()
        self._changed = threading.Condition()

    def send(self, command: AnyCommand) -> None:
        """Queue a command."""
        with self._changed:
            self._waiting.append(command)
            self._changed.notify_all()

    def take(self, timeout_s: float = 0.0) -> AnyCommand | None:
        """The oldest command, waiting for one up to ``timeout_s`` seconds; None when there is none."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting), timeout=timeout_s)
            return self._waiting.popleft() if self._waiting else None

    def has(self, *commands: AnyCommand) -> bool:
        """Whether one of ``commands`` is waiting; nothing is taken."""
        with self._changed:
            return any(command in self._waiting for command in commands)

    def asks_to_stop(self) -> bool:
        """Whether a stop is waiting: for work within a step or before the first one."""
        return self.has(Command.STOP, Command.STOP_AND_SAVE)
