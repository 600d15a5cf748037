"""One optimizer step: forward and backward of its batches, checks, update."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch

from lora_forge.config import TrainConfig
from lora_forge.events import Emit
from lora_forge.model.devices import empty_cache, free_memory_bytes
from lora_forge.model.graphs import recorder_for, records
from lora_forge.ports import BorrowedModel
from lora_forge.train import objective
from lora_forge.train.batches import Step
from lora_forge.train.captured import Replays, Tensors
from lora_forge.train.draws import Visit
from lora_forge.train.ema import Ema
from lora_forge.train.examples import Examples, Inputs, predict
from lora_forge.train.network import Network
from lora_forge.train.objective import Objective
from lora_forge.train.optimizers import Trained, set_rates
from lora_forge.train.ranks import Ranks
from lora_forge.train.scaling import LossScaler
from lora_forge.train.update import Update

ROOM_BYTES = 3 * 2**30
"""What a preview may want of a card beside what is recorded."""


@dataclass(frozen=True)
class Figures:
    """What a step came to: means over its images, the gradient's norm before clipping, the UNet's rate.

    ``is_skipped``: something was not finite, and the weights stayed as they were.
    """

    loss: float
    mse: float
    gradient_norm: float
    learning_rate: float
    images: int

    @property
    def is_skipped(self) -> bool:
        return not (math.isfinite(self.loss) and math.isfinite(self.gradient_norm))


def is_recordable(device: torch.device, config: TrainConfig) -> bool:
    """Whether steps are recorded on ``device`` (see `captured`): text that is learned comes with a graph of its own,
    and silenced ranks are drawn on the CPU."""
    return config.graphs == "auto" and not config.te_learning_rate and not config.rank_dropout and records(device)


class Stepper:
    """Turns batches into updates of the adapters."""

    def __init__(
        self,
        model: BorrowedModel,
        network: Network,
        trained: Sequence[Trained],
        optimizer: torch.optim.Optimizer,
        examples: Examples,
        config: TrainConfig,
        ends: Sequence[int] = (),
        ranks: Ranks | None = None,
        emit: Emit = lambda event: None,
    ) -> None:
        """``ends``: steps at which the run was done before it was made longer."""
        self._ends, self._ranks = ends, ranks or Ranks()
        self._model, self._network, self._optimizer = model, network, optimizer
        self._examples, self._config = examples, config
        self._objective = Objective.of(config, model.info.prediction_type)
        # A copy, because a host may have made it in inference mode, where autograd can't follow.
        self._alphas_cumprod = model.alphas_cumprod.to(model.device, copy=True)
        parameters = [t.parameter for t in trained]
        self._parameters = parameters
        self.ema = Ema(parameters, config.ema_decay) if config.ema_decay else None
        self.scaler = LossScaler(is_on=model.dtype == torch.float16)
        self._update = Update(network.flat, optimizer, self.scaler, config.max_grad_norm)
        found = recorder_for(model.device) if is_recordable(model.device, config) else None
        self._replays = Replays(found, self._addresses, emit)
        self._ahead: dict[tuple[Visit, ...], Inputs] = {}

    def run(self, batches: Step, step: int, total_steps: int, upcoming: Step = ()) -> Figures:
        """Take step number ``step`` (from 1); its gradient is that of the mean over all images of its batches.

        The device is waited for once, when the figures are read. Meanwhile a card's ``upcoming`` batches are made.
        """
        rate = set_rates(self._optimizer, self._config, step, total_steps, self._ends)
        images = sum(len(batch.visits) for batch in batches)
        share = torch.full((), 1 / images, device=self._model.device)
        self._update.scale_loss()
        for micro, visits in self._own(batches):
            rows = self._ranks.share(range(len(batches[micro].visits)), micro)
            self._network.use_dropout(step, micro, rows)
            inputs = self._ahead.pop(visits, None) or self._examples.of(visits, batches[micro].visits)
            if self._model.residence is not None:
                self._model.residence.rest()  # what encoded them has nothing more to do
            self._replays.run("batch", self._backward, (*inputs.tensors(), share))
        self._network.use_dropout(None)
        self._ranks.add_up(self._network.flat.gradient, self._update.sums, mark=step)
        self._move()
        self._prepare(upcoming)
        loss, mse, norm = self._update.read()
        figures = Figures(loss, mse, norm, rate, images)
        self._follow_up(figures, step)
        return figures

    def make_room(self) -> None:
        """Something else needs the card's memory for a while, such as a preview: let go of what is kept for speed."""
        free = free_memory_bytes(self._model.device)
        if free is not None and free < ROOM_BYTES:
            self._let_go()

    def close(self) -> None:
        """Let go of all that is kept for speed."""
        self._ahead.clear()
        self._let_go()

    def _let_go(self) -> None:
        """Recordings have memory of their own, which nobody else can use until it is handed back."""
        if self._replays.forget():
            empty_cache(self._model.device)

    def _backward(self, tensors: Tensors) -> None:
        """Add a batch's part of the step's gradient and of its (loss, mse). Recorded: no look at any value here."""
        *found, share = tensors
        assert share is not None
        inputs, acp, kind = Inputs.of_tensors(found), self._alphas_cumprod, self._objective.prediction_type
        noisy = objective.add_noise(inputs.latents, inputs.noise, inputs.timesteps, acp)
        wanted = objective.target(kind, inputs.latents, inputs.noise, inputs.timesteps, acp)
        with self._network.flat.working(self._model.dtype):
            prediction = predict(self._model, noisy, inputs)
            losses = self._objective.losses(prediction, wanted, inputs.timesteps, acp, inputs.weights, inputs.masks)
            loss = losses.objective.sum() * share
            (loss * self._update.factor).backward()  # type: ignore[no-untyped-call]
        self._update.sums.add_(torch.stack([loss.detach(), losses.mse.sum() * share]))

    def _move(self) -> None:
        if not self._update.is_on_device:
            self._update.take_by_hand()
        elif self._replays.is_on:
            self._update.take_recorded(self._replays)
        else:
            self._update.take()

    def _prepare(self, upcoming: Step) -> None:
        """The next step's batches, while the card is at work on this one; a CPU is at work itself."""
        if self._model.device.type != "cpu" and not self._network.trains_text:
            self._ahead = {
                visits: self._examples.of(visits, upcoming[micro].visits) for micro, visits in self._own(upcoming)
            }

    def _own(self, batches: Step) -> list[tuple[int, tuple[Visit, ...]]]:
        """What this process computes of the step, with the numbers of the batches."""
        shares = [(micro, tuple(self._ranks.share(batch.visits, micro))) for micro, batch in enumerate(batches)]
        return [(micro, visits) for micro, visits in shares if visits]

    def _follow_up(self, figures: Figures, step: int) -> None:
        if not figures.is_skipped:
            if self._config.max_norm:
                self._network.apply_max_norm(self._config.max_norm)
            if self.ema is not None:
                self.ema.update(self._parameters, step)
        # An overflow of the loss scale is the gradient's affair; a loss that is itself not finite says nothing of it.
        if math.isfinite(figures.loss):
            self.scaler.update(not figures.is_skipped)

    def _addresses(self) -> Hashable:
        """Where the weights lie that a recording reads."""
        return tuple(parameter.data_ptr() for parameter in self._model.unet.parameters())
