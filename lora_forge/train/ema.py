"""Exponential moving average of the adapters' weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def effective_decay(decay: float, step: int) -> float:
    """``decay``, held back in the first steps so that the zeros of the start are forgotten: (1 + n) / (10 + n)."""
    return min(decay, (1 + step) / (10 + step))


class Ema:
    """Averages of ``parameters``, float32, on their device."""

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self.decay = decay
        self.averages = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self, parameters: Sequence[Tensor], step: int) -> None:
        """Take in the weights after ``step`` (from 1)."""
        torch._foreach_lerp_(self.averages, [p.detach() for p in parameters], 1 - effective_decay(self.decay, step))
