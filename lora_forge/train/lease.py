"""The lent model while a run changes it: frozen, in the wanted mode, and afterwards exactly as it came."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from lora_forge.ports import BorrowedModel

_MODE_NAMES = ("training", "gradient_checkpointing", "_gradient_checkpointing_func")
_RECOMPUTED = ("ResnetBlock2D", "BasicTransformerBlock")  # diffusers' own choice of what to compute anew


@contextlib.contextmanager
def training_lease(model: BorrowedModel, use_checkpointing: bool) -> Iterator[None]:
    """Freeze every network of ``model``, in eval mode, the UNet with gradient checkpointing if asked for.

    Gradients are recorded inside, whatever mode the calling thread is in (WebUI threads sit in no_grad or
    inference_mode). On leaving, whatever happened, modes and flags are as before.
    """
    networks = [model.unet, model.vae, *(tower.module for tower in model.text_towers)]
    modes = [(module, _mode_of(module)) for network in networks for module in network.modules()]
    flags = [(parameter, parameter.requires_grad) for network in networks for parameter in network.parameters()]
    try:
        with torch.inference_mode(False), torch.enable_grad(), contextlib.ExitStack() as stack:
            for network in networks:
                network.eval()
            for parameter, requires_grad in flags:
                if requires_grad:
                    parameter.requires_grad_(False)
            if use_checkpointing:
                stack.enter_context(recomputed_blocks(model.unet))
            yield
    finally:
        for module, mode in modes:
            _restore_mode(module, mode)
        for parameter, requires_grad in flags:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)


@contextlib.contextmanager
def recomputed_blocks(unet: nn.Module) -> Iterator[None]:
    """Keep of each residual and transformer block of ``unet`` its inputs alone, and compute it again for backward.

    Done here and not by diffusers, so that no release looks at a random generator (the blocks draw nothing): a step
    that reads one can't be captured in a CUDA graph, and diffusers before 0.32 wants training mode for it.
    """
    blocks = [module for module in unet.modules() if type(module).__name__ in _RECOMPUTED]
    before = [vars(block).get("forward") for block in blocks]
    for block in blocks:
        block.forward = functools.partial(_computed_again, block.forward)
    try:
        yield
    finally:
        for block, forward in zip(blocks, before, strict=True):
            if forward is None:
                vars(block).pop("forward", None)
            else:
                block.forward = forward


def _computed_again(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    call = functools.partial(forward, **kwargs)
    return checkpoint(call, *args, use_reentrant=False, preserve_rng_state=False)


def _mode_of(module: nn.Module) -> dict[str, Any]:
    return {name: vars(module)[name] for name in _MODE_NAMES if name in vars(module)}


def _restore_mode(module: nn.Module, mode: dict[str, Any]) -> None:
    for name in _MODE_NAMES:
        if name in mode:
            setattr(module, name, mode[name])
        elif name in vars(module):
            delattr(module, name)
