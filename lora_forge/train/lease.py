"""The lent model while a run changes it: frozen, in the wanted mode, and afterwards exactly as it came."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from lora_forge.ports import BorrowedModel

_MODE_NAMES = ("training", "gradient_checkpointing", "_gradient_checkpointing_func")


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
        with torch.inference_mode(False), torch.enable_grad():
            for network in networks:
                network.eval()
            for parameter, requires_grad in flags:
                if requires_grad:
                    parameter.requires_grad_(False)
            if use_checkpointing:
                # diffusers before 0.32 recomputes only in training mode; SD's UNet has nothing else that minds it.
                model.unet.train()
                model.unet.enable_gradient_checkpointing()
            yield
    finally:
        for module, mode in modes:
            _restore_mode(module, mode)
        for parameter, requires_grad in flags:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)


def _mode_of(module: nn.Module) -> dict[str, Any]:
    return {name: vars(module)[name] for name in _MODE_NAMES if name in vars(module)}


def _restore_mode(module: nn.Module, mode: dict[str, Any]) -> None:
    for name in _MODE_NAMES:
        if name in mode:
            setattr(module, name, mode[name])
        elif name in vars(module):
            delattr(module, name)
