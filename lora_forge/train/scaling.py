"""Gradients between backward and the optimizer: loss scaling for fp16, the finite check, clipping.

Our own scaler, because torch's is bound to one device kind in the versions hosts ship, and because its whole state is
two numbers that a resumed run can restore.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class LossScaler:
    """Dynamic loss scale (arXiv 1710.03740, section 3.2): halved on overflow, doubled after a calm stretch.

    Off (scale 1, never changed) unless the network computes in fp16.
    """

    is_on: bool
    scale: float = 65536.0
    calm_steps: int = 0
    growth_interval: int = 2000

    @property
    def factor(self) -> float:
        """What the loss is multiplied with before backward."""
        return self.scale if self.is_on else 1.0

    def update(self, is_finite: bool) -> None:
        """Take in whether this step's gradients were finite."""
        if not self.is_on:
            return
        if not is_finite:
            self.scale, self.calm_steps = self.scale / 2, 0
            return
        self.calm_steps += 1
        if self.calm_steps == self.growth_interval:
            self.scale, self.calm_steps = self.scale * 2, 0


def gradient_norm(parameters: Sequence[Tensor]) -> Tensor:
    """L2 norm of all gradients together, float32 scalar on their device; not finite if any gradient is not."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm


@torch.no_grad()
def rescale_gradients(parameters: Sequence[Tensor], norm: float, scale: float, max_norm: float) -> float:
    """Undo the loss scale and clip to ``max_norm`` (0: off) in one pass; ``norm`` is that of the scaled gradients.

    Returns:
        The norm without the loss scale, before clipping.
    """
    true_norm = norm / scale
    factor = 1.0 / scale
    if max_norm and true_norm > max_norm:
        factor *= max_norm / (true_norm + 1e-6)
    gradients = [p.grad for p in parameters if p.grad is not None]
    if factor != 1.0 and gradients:
        torch._foreach_mul_(gradients, factor)
    return true_norm
