"""The adapters' weights as they are saved and shown, which need not be those they are trained at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lora_forge.errors import TrainingError
from lora_forge.train.ema import Ema
from lora_forge.train.optimizers import Trained, has_modes, set_mode


@contextlib.contextmanager
def as_saved(trained: Sequence[Trained], optimizer: torch.optim.Optimizer, ema: Ema | None) -> Iterator[None]:
    """Inside, the adapters hold the moving average, or what the optimizer averages (schedule-free), if there is any.

    Afterwards they hold the very bits they had: going there and back by arithmetic would move them.
    """
    if ema is None and not has_modes(optimizer):
        yield
        return
    parameters = [t.parameter for t in trained]
    before = [parameter.detach().clone() for parameter in parameters]
    set_mode(optimizer, is_training=False)
    if ema is not None:
        _copy(ema.averages, parameters)
    try:
        yield
    finally:
        set_mode(optimizer, is_training=True)
        _copy(before, parameters)


def check_finite(trained: Sequence[Trained]) -> None:
    """Called before anything is saved.

    Raises:
        TrainingError: a weight is NaN or infinite.
    """
    bad = [t.name for t in trained if not bool(torch.isfinite(t.parameter).all())]
    if bad:
        raise TrainingError(
            "The weights are no longer finite ({count} adapters, such as {name}), so nothing was saved.",
            "Resume from the last state with a lower learning rate, or start again.",
            count=len(bad),
            name=bad[0],
        )


@torch.no_grad()
def _copy(source: Sequence[Tensor], target: Sequence[Tensor]) -> None:
    for parameter, values in zip(target, source, strict=True):
        parameter.copy_(values)
