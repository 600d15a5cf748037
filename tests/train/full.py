"""Memory that is full, for real: an allocation that the system refuses, at a stage of the lent model's work."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from lora_forge.ports import BorrowedModel

STAGES = ("encode", "text", "forward", "backward", "optimizer", "save")


def allocate_too_much() -> None:
    """What torch itself raises on a CPU: ``DefaultCPUAllocator: can't allocate memory``."""
    torch.empty(2**58, dtype=torch.uint8)


class Fuse:
    """Lets ``calls`` calls pass, fails ``times`` times, and lets all later ones pass."""

    def __init__(self, calls: int = 0, times: int = 1) -> None:
        self._calls, self._times = calls, times

    def __call__(self, *_: Any) -> None:
        self._calls -= 1
        if self._calls < 0 and self._times > 0:
            self._times -= 1
            allocate_too_much()

    @property
    def is_blown(self) -> bool:
        return self._times == 0


@contextlib.contextmanager
def full_at(model: BorrowedModel, stage: str, fuse: Callable[..., None]) -> Iterator[None]:
    """``fuse`` is called at every passage of ``stage``."""
    with contextlib.ExitStack() as stack:
        if stage == "encode":
            stack.callback(model.vae.encoder.register_forward_hook(lambda *_: fuse()).remove)
        elif stage == "text":
            stack.callback(model.text_towers[0].module.register_forward_hook(lambda *_: fuse()).remove)
        elif stage == "forward":
            stack.callback(model.unet.register_forward_pre_hook(lambda *_: fuse()).remove)
        elif stage == "backward":
            stack.callback(model.unet.register_forward_hook(lambda *found: _in_backward(found[-1][0], fuse)).remove)
        elif stage == "optimizer":
            stack.callback(register_optimizer_step_pre_hook(lambda *_: fuse()).remove)
        elif stage == "preview":
            stack.callback(model.vae.decoder.register_forward_hook(lambda *_: fuse()).remove)
        elif stage == "save":
            stack.enter_context(_FullAtHalf(fuse))
        else:
            raise ValueError(stage)
        yield


def _in_backward(answer: torch.Tensor, fuse: Callable[..., None]) -> None:
    if answer.requires_grad:
        answer.register_hook(lambda _: fuse())


class _FullAtHalf(TorchDispatchMode):
    """LoRA files are written in float16: the copies of a save are the only ones to it."""

    def __init__(self, fuse: Callable[..., None]) -> None:
        super().__init__()
        self._fuse = fuse

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (kwargs or {}).get("dtype") is torch.float16:
            self._fuse()
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def small_card(model: BorrowedModel, most_latents: int) -> Iterator[None]:
    """A UNet that has room for so many latent pixels (4 channels each) with gradients, whatever they are a batch of."""

    def look(_module: Any, args: Any, *_: Any) -> None:
        sample = args[0]
        if torch.is_grad_enabled() and sample.shape[0] * sample.shape[2] * sample.shape[3] > most_latents:
            allocate_too_much()

    handle = model.unet.register_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()
