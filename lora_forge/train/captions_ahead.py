"""Captions that change from visit to visit, encoded a stretch of steps ahead, so that the text encoders need not stay.

SDXL's take 1.5 GiB of a card. What a visit's caption will be follows from the seed, so it can be said before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lora_forge.config import Family, TrainConfig
from lora_forge.model.residence import TEXT, Residence
from lora_forge.ports import BorrowedModel
from lora_forge.train.batches import BatchPlan, Step
from lora_forge.train.examples import Examples
from lora_forge.train.loop import Stepping
from lora_forge.train.step import Figures

STRETCH = 64  # captions: 20 MB of SDXL's embeddings, and half a minute or more of its steps
STRETCH_ON_CPU = 16  # nobody waits long for the first step


def is_worthwhile(model: BorrowedModel, config: TrainConfig) -> bool:
    """Whether text encoders are sent away between the stretches: on a card large ones, if they are not trained."""
    if config.te_learning_rate or not model.residence.can_leave(TEXT):
        return False
    if model.residence.is_in_file:
        return config.encode_ahead != "off"  # then few captions are kept
    return model.info.family is Family.SDXL


@dataclass
class CaptionsAhead:
    """A stepper that sees to the captions first."""

    stepper: Stepping
    plan: BatchPlan
    examples: Examples
    residence: Residence
    _known_to: int = 0
    _epoch: int = 0
    _steps: Sequence[Step] = ()

    def run(self, batches: Step, step: int, total_steps: int, upcoming: Step = ()) -> Figures:
        """As :meth:`lora_forge.train.step.Stepper.run`."""
        if step >= self._known_to:
            self._encode_from(step, total_steps)
        return self.stepper.run(batches, step, total_steps, upcoming)

    def _encode_from(self, step: int, total: int) -> None:
        """The captions of the steps from ``step`` on; that of the last is asked for while the one before runs."""
        captions = [""]  # what fills up a shorter caption's batch
        most = STRETCH_ON_CPU if self.residence.is_in_file else STRETCH
        while len(captions) <= most and step <= total:
            captions += [self.examples.caption(visit) for batch in self._step(step) for visit in batch.visits]
            self._known_to, step = step, step + 1
        self.examples.warm(captions)
        self.residence.rest()

    def _step(self, step: int) -> Step:
        epoch, index = divmod(step - 1, self.plan.steps_per_epoch)
        if epoch + 1 != self._epoch:
            self._epoch, self._steps = epoch + 1, self.plan.epoch(epoch + 1)
        return self._steps[index]
