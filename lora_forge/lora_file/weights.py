"""The adapters of a LoRA as plain tensors, and their form as the keys of a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from lora_forge.errors import LoraFileError

DOWN, UP, ALPHA = "lora_down.weight", "lora_up.weight", "alpha"


@dataclass(frozen=True, eq=False)
class LoraModule:
    """One adapted layer: ``y += (alpha / rank) * up(down(x))``.

    ``down``: (rank, in) of a Linear, (rank, in, kh, kw) of a convolution. ``up``: (out, rank) or (out, rank, 1, 1).
    """

    down: torch.Tensor
    up: torch.Tensor
    alpha: float

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def delta(self) -> torch.Tensor:
        """What this adds to the layer's weight at strength 1: float32, (out, in) or (out, in, kh, kw)."""
        down, up = self.down.float(), self.up.float()
        flat = up.flatten(1) @ down.flatten(1)
        return self.scale * flat.reshape(up.shape[0], *down.shape[1:])


LoraWeights = dict[str, LoraModule]
"""Adapters by kohya name without suffix, e.g. ``lora_unet_mid_block_attentions_0_proj_in``."""


def to_tensors(weights: Mapping[str, LoraModule], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The tensors of a file, on the CPU, contiguous, all of ``dtype``, alpha too (as kohya saves)."""
    tensors: dict[str, torch.Tensor] = {}
    for name, module in weights.items():
        tensors[f"{name}.{DOWN}"] = _plain(module.down, dtype)
        tensors[f"{name}.{UP}"] = _plain(module.up, dtype)
        tensors[f"{name}.{ALPHA}"] = torch.tensor(module.alpha, dtype=dtype)
    return tensors


def from_tensors(tensors: Mapping[str, torch.Tensor]) -> LoraWeights:
    """Adapters from the tensors of a file; a missing alpha means a scale of 1, as for every reader.

    Raises:
        LoraFileError: keys of another kind, half an adapter, or shapes that don't fit together.
    """
    parts: dict[str, dict[str, torch.Tensor]] = {}
    unknown = []
    for key, tensor in tensors.items():
        name, _, suffix = key.partition(".")
        if name.startswith("lora_") and suffix in (DOWN, UP, ALPHA):
            parts.setdefault(name, {})[suffix] = tensor
        else:
            unknown.append(key)
    if unknown:
        raise LoraFileError(
            "{count} keys are of no kind this program knows, such as {some}.",
            "Only LoRA and LoCon adapters in kohya's format can be read.",
            count=len(unknown),
            some=some_of(unknown),
        )
    return {name: _module(name, found) for name, found in parts.items()}


def combine(loras: Iterable[tuple[Mapping[str, LoraModule], float]]) -> LoraWeights:
    """Several LoRAs, each at its strength, as one: the ranks lie side by side and the scales go into ``up``.

    Exactly the sum of the parts; float32; every alpha equals its rank.
    """
    stacks: dict[str, list[tuple[LoraModule, float]]] = {}
    for weights, strength in loras:
        for name, module in weights.items():
            stacks.setdefault(name, []).append((module, strength))
    return {name: _stack(stack) for name, stack in stacks.items()}


def some_of(keys: Iterable[str], count: int = 3) -> str:
    """The first few of ``keys``, in order, for a message."""
    return ", ".join(sorted(keys)[:count])


def _stack(stack: list[tuple[LoraModule, float]]) -> LoraModule:
    down = torch.cat([module.down.float() for module, _ in stack], dim=0)
    up = torch.cat([module.up.float() * (module.scale * strength) for module, strength in stack], dim=1)
    return LoraModule(down, up, float(down.shape[0]))


def _plain(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.detach().to(device="cpu", dtype=dtype, copy=True).contiguous()


def _module(name: str, found: Mapping[str, torch.Tensor]) -> LoraModule:
    down, up = found.get(DOWN), found.get(UP)
    if down is None or up is None:
        raise LoraFileError("The adapter {name} has no {missing}.", name=name, missing=UP if down is not None else DOWN)
    if down.dim() not in (2, 4) or up.dim() not in (2, 4) or up.shape[1] != down.shape[0]:
        raise LoraFileError(
            "The two halves of the adapter {name} don't fit: down is {down}, up is {up}.",
            name=name,
            down=tuple(down.shape),
            up=tuple(up.shape),
        )
    alpha = found.get(ALPHA)
    return LoraModule(down, up, float(down.shape[0]) if alpha is None else float(alpha))
