"""One optimizer step: forward and backward of its batches, checks, update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lora_forge.config import TrainConfig
from lora_forge.ports import BorrowedModel
from lora_forge.train import objective
from lora_forge.train.batches import Batch, Step
from lora_forge.train.ema import Ema
from lora_forge.train.examples import Examples, predict
from lora_forge.train.network import Network
from lora_forge.train.objective import Objective
from lora_forge.train.optimizers import Trained, set_rates
from lora_forge.train.scaling import LossScaler, gradient_norm, rescale_gradients


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
    ) -> None:
        """``ends``: steps at which the run was done before it was made longer."""
        self._ends = ends
        self._model, self._network, self._optimizer = model, network, optimizer
        self._examples, self._config = examples, config
        self._objective = Objective.of(config, model.info.prediction_type)
        # A copy, because a host may have made it in inference mode, where autograd can't follow.
        self._alphas_cumprod = model.alphas_cumprod.to(model.device, copy=True)
        self._parameters = [t.parameter for t in trained]
        self.ema = Ema(self._parameters, config.ema_decay) if config.ema_decay else None
        self.scaler = LossScaler(is_on=model.dtype == torch.float16)

    def run(self, batches: Step, step: int, total_steps: int) -> Figures:
        """Take step number ``step`` (from 1); its gradient is that of the mean over all images of its batches.

        The device is waited for once, when losses and norm are read together: whether to update hangs on them.
        """
        rate = set_rates(self._optimizer, self._config, step, total_steps, self._ends)
        images = sum(len(batch.visits) for batch in batches)
        sums = torch.zeros(2, device=self._model.device)
        for micro, batch in enumerate(batches):
            self._network.use_dropout(step, micro)
            sums += self._backward(batch, 1 / images)
        self._network.use_dropout(None)
        loss, mse, norm = torch.cat([sums, gradient_norm(self._parameters).to(sums)[None]]).tolist()
        figures = Figures(loss, mse, norm / self.scaler.factor, rate, images)
        self._update(figures, norm, step)
        self._optimizer.zero_grad(set_to_none=True)
        return figures

    def _backward(self, batch: Batch, share: float) -> Tensor:
        """Add this batch's part of the step's gradient; gives its part of (loss, mse), on the device."""
        inputs = self._examples.of(batch.visits)
        acp = self._alphas_cumprod
        noisy = objective.add_noise(inputs.latents, inputs.noise, inputs.timesteps, acp)
        kind = self._objective.prediction_type
        wanted = objective.target(kind, inputs.latents, inputs.noise, inputs.timesteps, acp)
        prediction = predict(self._model, noisy, inputs)
        losses = self._objective.losses(prediction, wanted, inputs.timesteps, acp, inputs.weights, inputs.masks)
        loss = losses.objective.sum() * share
        (loss * self.scaler.factor).backward()  # type: ignore[no-untyped-call]
        return torch.stack([loss.detach(), losses.mse.sum() * share])

    def _update(self, figures: Figures, scaled_norm: float, step: int) -> None:
        if not figures.is_skipped:
            rescale_gradients(self._parameters, scaled_norm, self.scaler.factor, self._config.max_grad_norm)
            self._optimizer.step()
            if self._config.max_norm:
                self._network.apply_max_norm(self._config.max_norm)
            if self.ema is not None:
                self.ema.update(self._parameters, step)
        # An overflow of the loss scale is the gradient's affair; a loss that is itself not finite says nothing of it.
        if math.isfinite(figures.loss):
            self.scaler.update(not figures.is_skipped)
