"""The loop: steps, what happens between them, and when it ends. No framework, no hidden state."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lora_forge.config import TrainConfig
from lora_forge.errors import TrainingError
from lora_forge.events import (
    AnyCommand,
    Command,
    CommandBox,
    Emit,
    EpochEnded,
    NewPrompts,
    Paused,
    Resumed,
    StageDone,
    StepDone,
    Warned,
)
from lora_forge.i18n import word
from lora_forge.train.batches import BatchPlan, Step
from lora_forge.train.preview_share import PreviewBudget
from lora_forge.train.ranks import Ranks, Word
from lora_forge.train.step import Figures

MAX_SKIPPED_IN_A_ROW = 10
# A loss scale that starts too high takes one skipped step for each halving: 2**16 down to 2**-4.
MAX_SKIPPED_WITH_SCALER = 20
PAUSE_LOOK_S = 1.0
TIMED_STEPS = 50
_NOTHING_YET = word("Nothing was learned yet, so there is no file to save: the first step is not done.")
_SELDOM = word(
    "A preview takes {seconds} s and all of them may take {share} % of the run's time, so some are left out; "
    "the last one and those you ask for are drawn."
)


class Stepping(Protocol):
    """Takes one optimizer step (``step.Stepper``)."""

    def run(self, batches: Step, step: int, total_steps: int, upcoming: Step = ()) -> Figures: ...


class Keeping(Protocol):
    """Saves and shows what there is after a step (``saving.Keeper``)."""

    def save_epoch(self, epoch: int, counters: Counters) -> None: ...

    def save_between_epochs(self, epoch: int, counters: Counters) -> None: ...

    def save_state(self, counters: Counters) -> None: ...

    def preview(self, step: int, is_asked: bool = False) -> None: ...

    def use_prompts(self, prompts: Sequence[str]) -> None: ...

    def validate(self, epoch: int, step: int) -> float | None: ...


@dataclass
class Counters:
    """How far a run is. ``window``: the mse of the last epoch's worth of steps; ``skipped``: skipped in a row."""

    step: int
    window: deque[float]
    skipped: int = 0
    durations_s: deque[float] = field(default_factory=lambda: deque(maxlen=TIMED_STEPS))

    @property
    def window_mse(self) -> float:
        """Mean of the window, as kohya's LossRecorder: what "a loss of 0.07 to 0.09" refers to."""
        return sum(self.window) / len(self.window) if self.window else float("nan")


def total_steps(config: TrainConfig, steps_per_epoch: int) -> int:
    """Where a run ends."""
    planned = config.epochs * steps_per_epoch
    return min(planned, config.max_steps) if config.max_steps else planned


class Loop:
    """Runs ``plan`` from the step after ``counters.step`` to the end or to a command.

    ``memory_bytes``: read once a step, for :class:`StepDone`.
    """

    def __init__(
        self,
        config: TrainConfig,
        plan: BatchPlan,
        stepper: Stepping,
        keeper: Keeping,
        counters: Counters,
        commands: CommandBox,
        emit: Emit,
        max_skipped: int = MAX_SKIPPED_IN_A_ROW,
        name_of: Callable[[int], str] = str,
        ranks: Ranks | None = None,
    ) -> None:
        self._config, self._plan, self._stepper, self._keeper = config, plan, stepper, keeper
        self.counters, self._commands, self._emit = counters, commands, emit
        self._max_skipped, self._name_of, self._ranks = max_skipped, name_of, ranks or Ranks()
        self.memory_bytes: Callable[[], int | None] = lambda: None
        self.total = total_steps(config, plan.steps_per_epoch)
        self.budget = PreviewBudget(config.preview_share, max(1, len(config.preview_prompts)))
        self._epoch, self._steps, self._is_seldom_said = 0, list[Step](), False

    def run(self) -> str:
        """Gives ``done`` or ``stopped``.

        Raises:
            TrainingError: too many steps in a row were not finite, or something could not be saved.
        """
        while self.counters.step < self.total:
            if self._ends_here():
                return "stopped"
            self._take_step(self.counters.step + 1)
            self._after_step(self.counters.step)
        return "done"

    def _take_step(self, step: int) -> None:
        began = time.perf_counter()
        batches = self._batches(step)
        figures = self._stepper.run(batches, step, self.total, self._upcoming(step + 1))
        counters = self.counters
        counters.step = step
        counters.durations_s.append(time.perf_counter() - began)
        counters.skipped = counters.skipped + 1 if figures.is_skipped else 0
        if not figures.is_skipped:
            counters.window.append(figures.mse)
        self._tell(figures)
        if counters.skipped >= self._max_skipped:
            self._give_up(figures, batches)

    def _batches(self, step: int) -> Step:
        epoch = self._epoch_of(step)
        if epoch != self._epoch:
            self._epoch, self._steps = epoch, self._plan.epoch(epoch)
        return self._steps[(step - 1) % self._plan.steps_per_epoch]

    def _upcoming(self, step: int) -> Step:
        """The batches of a step that is still to come, if it is in this epoch."""
        is_in_epoch = step <= self.total and self._epoch_of(step) == self._epoch
        return self._batches(step) if is_in_epoch else ()

    def _epoch_of(self, step: int) -> int:
        return (step - 1) // self._plan.steps_per_epoch + 1

    def _tell(self, figures: Figures) -> None:
        counters = self.counters
        mean_s = sum(counters.durations_s) / len(counters.durations_s)
        self._emit(
            StepDone(
                step=counters.step,
                total_steps=self.total,
                epoch=self._epoch_of(counters.step),
                loss=figures.loss,
                mse=figures.mse,
                window_mse=counters.window_mse,
                learning_rate=figures.learning_rate,
                images_per_s=figures.images / max(counters.durations_s[-1], 1e-9),
                seconds_left=mean_s * (self.total - counters.step),
                is_skipped=figures.is_skipped,
                memory_bytes=self.memory_bytes(),
            )
        )

    def _give_up(self, figures: Figures, batches: Step) -> None:
        images = sorted({self._name_of(visit.image) for batch in batches for visit in batch.visits})
        raise TrainingError(
            "{count} steps in a row were not finite (loss {loss:g}, gradient {gradient:g}; last images: {images}). "
            "The weights have not been touched by them.",
            "Resume from the last state with a lower learning rate or in fp32, or look at those images.",
            count=self.counters.skipped,
            loss=figures.loss,
            gradient=figures.gradient_norm,
            images=", ".join(images[:5]),
        )

    def _after_step(self, step: int) -> None:
        config, keeper = self._config, self._keeper
        if step == self.total or step % self._plan.steps_per_epoch == 0:
            self._end_epoch(self._epoch_of(step), step)
        elif config.state_every_steps and step % config.state_every_steps == 0:
            keeper.save_state(self.counters)
        if config.preview_every_steps and (step % config.preview_every_steps == 0 or step == self.total):
            self._preview(step)

    def _preview(self, step: int) -> None:
        """Draw the preview that is due, unless it takes more of the run's time than it may; that is said once."""
        if step == self.total or self.budget.allows():
            with self.budget.drawing():
                self._keeper.preview(step)
        elif not self._is_seldom_said:
            self._is_seldom_said = True
            values = {"seconds": round(self.budget.last_s, 1), "share": f"{self._config.preview_share * 100:g}"}
            self._emit(StageDone("preview", _SELDOM, values))

    def _end_epoch(self, epoch: int, step: int) -> None:
        if epoch % self._config.save_every_epochs == 0 or step == self.total:
            self._keeper.save_epoch(epoch, self.counters)
        loss = self._keeper.validate(epoch, step)
        # The state comes last: a run killed before it repeats the epoch's end, one killed after it has all of it.
        self._keeper.save_state(self.counters)
        self._emit(EpochEnded(epoch, step, self.counters.window_mse, loss))

    def _ends_here(self) -> bool:
        """Whether any process of the run was told to stop; the writer saves when it was not the one that was told."""
        is_told = self._is_told_to_stop()
        ends = self._ranks.meet(Word.STOP if is_told else Word.GO_ON, self.counters.step) is Word.STOP
        if ends and not is_told:
            self._save(is_always=False)
        return ends

    def _is_told_to_stop(self) -> bool:
        while (command := self._commands.take()) is not None:
            if self._obeys_stop(command) or (command is Command.PAUSE and self._is_stopped_in_pause()):
                return True
        return False

    def _is_stopped_in_pause(self) -> bool:
        """Wait until told to go on (False) or to stop (True); the state is saved first, in case nobody comes back."""
        self._keeper.save_state(self.counters)
        with self.budget.aside():
            self._emit(Paused(self.counters.step))
            while (command := self._commands.take(PAUSE_LOOK_S)) is not Command.RESUME:
                if command is not None and self._obeys_stop(command):
                    return True
        self._emit(Resumed(self.counters.step))
        return False

    def _obeys_stop(self, command: AnyCommand) -> bool:
        """Do what the command says; whether it ends the run."""
        if isinstance(command, NewPrompts):
            self._keeper.use_prompts(command.prompts)
        elif command is Command.PREVIEW_NOW:
            with self.budget.aside():
                self._keeper.preview(self.counters.step, is_asked=True)
        elif command is Command.SAVE_NOW and self.counters.step == 0:
            self._emit(Warned(_NOTHING_YET))
        elif command in (Command.SAVE_NOW, Command.STOP_AND_SAVE):
            self._save(is_always=command is Command.SAVE_NOW)
        return command in (Command.STOP, Command.STOP_AND_SAVE)

    def _save(self, is_always: bool) -> None:
        """A file between the epochs (at an epoch's end its own file is there, if one ``is_always`` wanted), a state."""
        counters = self.counters
        if is_always or counters.step % self._plan.steps_per_epoch != 0:
            self._keeper.save_between_epochs(self._epoch_of(max(counters.step, 1)), counters)
        self._keeper.save_state(counters)
