"""From a step's gradients to new weights: the finite check, clipping, the optimizer.

Where the optimizer can be told on the device to leave a step out (torch's fused AdamW) nothing is read back in between,
so that the whole update can be recorded (see `captured`).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lora_forge.train.captured import Replays
from lora_forge.train.flat import Flat
from lora_forge.train.scaling import LossScaler


class Update:
    """Takes the gradient in ``flat`` to the weights and empties it.

    ``sums``: float32 (2,), the step's (loss, mse) on the device, added to by each batch. ``scaler``: its factor is in
    the gradient, not in the loss. Gradients are clipped to ``max_norm`` (0: not).
    """

    def __init__(self, flat: Flat, optimizer: torch.optim.Optimizer, scaler: LossScaler, max_norm: float) -> None:
        device = flat.parameters.device
        self._flat, self._optimizer, self._scaler, self._max_norm = flat, optimizer, scaler, max_norm
        self.sums = torch.zeros(2, device=device)
        self._told = torch.zeros(3, device=device)
        self.factor = torch.ones((), device=device)
        self.is_on_device = is_told_on_device(optimizer)
        # Torch would warn of the turns before the recording, which are meant.
        optimizer._warned_capturable_if_run_uncaptured = True  # type: ignore[attr-defined]
        self._rates = [torch.zeros((), device=device) for _ in optimizer.param_groups]

    def scale_loss(self) -> None:
        """Put the scaler's present factor where the backward pass takes it from."""
        self.factor.fill_(self._scaler.factor)

    def take(self) -> None:
        """Whole, without a look at any value; only :attr:`is_on_device`. A step that is not finite moves nothing."""
        norm = self._norm()
        is_bad = ~torch.isfinite(norm + self.sums[0])
        self._flat.gradient.mul_(self._clip(norm) / self.factor)
        optimizer: Any = self._optimizer
        optimizer.found_inf = is_bad.to(torch.float32)
        optimizer.step()
        self._tell(norm)

    def take_recorded(self, replays: Replays) -> None:
        """:meth:`take` by its recording, which reads the learning rates from tensors."""
        for rate, group in zip(self._rates, self._optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])
        replays.run("update", lambda _: self._take_by_tensors())

    def _take_by_tensors(self) -> None:
        """:meth:`take`, with torch's optimizer made to accept that it is being recorded."""
        optimizer = self._optimizer
        owners = [optimizer.defaults, *optimizer.param_groups]
        before = [{key: owner[key] for key in ("lr", "capturable")} for owner in owners]
        for owner in owners:
            owner["capturable"] = True
        for rate, group in zip(self._rates, optimizer.param_groups, strict=True):
            group["lr"] = rate
        try:
            self.take()
        finally:
            for owner, kept in zip(owners, before, strict=True):
                owner.update(kept)

    def take_by_hand(self) -> None:
        """The same for any optimizer; waits for the device to see whether the step is finite."""
        norm = self._norm()
        if math.isfinite(float(norm + self.sums[0])):
            self._flat.gradient.mul_(self._clip(norm) / self.factor)
            self._optimizer.step()
        self._tell(norm)

    def read(self) -> tuple[float, float, float]:
        """(loss, mse, gradient norm before clipping) of the step just taken; waits for the device."""
        loss, mse, norm = self._told.tolist()
        return loss, mse, norm / self._scaler.factor

    def _norm(self) -> Tensor:
        """Of the scaled gradient, float32 0-dim; not finite if any gradient is not."""
        norm: Tensor = torch.linalg.vector_norm(self._flat.gradient)
        return norm

    def _clip(self, norm: Tensor) -> Tensor:
        if not self._max_norm:
            return torch.ones_like(norm)
        return (self._max_norm / (norm / self.factor + 1e-6)).clamp(max=1.0)

    def _tell(self, norm: Tensor) -> None:
        self._told[:2].copy_(self.sums)
        self._told[2].copy_(norm)
        self.sums.zero_()
        self._flat.gradient.zero_()


def is_told_on_device(optimizer: torch.optim.Optimizer) -> bool:
    """Whether ``optimizer`` reads a ``found_inf`` beside its tensors, as torch's fused ones do for its GradScaler."""
    return isinstance(optimizer, torch.optim.AdamW) and bool(optimizer.defaults.get("fused"))
