"""Sizes of adapters and of what lies between two of them, without ever making the full matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from lora_forge.lora_file.weights import LoraModule, LoraWeights

_SAVED = (torch.float16, torch.bfloat16, torch.float32)


@dataclass(frozen=True)
class Loss:
    """Relative Frobenius errors, 0 to 1: of all layers together, and of the layer that lost most."""

    whole: float
    worst: float
    worst_layer: str = ""


def squared_norm(up: torch.Tensor, down: torch.Tensor) -> float:
    """The squared Frobenius norm of ``up @ down`` in float64: the trace of two rank x rank products."""
    wide, tall = down.double().flatten(1), up.double().flatten(1)
    return max(0.0, float(((tall.T @ tall) * (wide @ wide.T)).sum()))


def norm(module: LoraModule) -> float:
    """The Frobenius norm of :meth:`LoraModule.delta`."""
    return abs(module.scale) * math.sqrt(squared_norm(module.up, module.down))


def distance(first: LoraModule | None, second: LoraModule | None) -> float:
    """The Frobenius norm of the difference of two deltas; where one is missing, of the other.

    Exact to about 1e-7 of the larger one, which is below what float16 rounds.
    """
    if first is None or second is None:
        return norm(first or second) if first or second else 0.0  # type: ignore[arg-type]
    down = torch.cat([first.down.double(), second.down.double()], dim=0)
    up = torch.cat([first.up.double().flatten(1) * first.scale, second.up.double().flatten(1) * -second.scale], dim=1)
    return math.sqrt(squared_norm(up, down))


def loss_between(before: Mapping[str, LoraModule], after: Mapping[str, LoraModule]) -> Loss:
    """What ``after`` lacks of ``before``."""
    lost, total, worst, layer = 0.0, 0.0, 0.0, ""
    for name in dict.fromkeys((*before, *after)):
        size = norm(before[name]) if name in before else 0.0
        gap = distance(before.get(name), after.get(name))
        lost, total = lost + gap**2, total + size**2
        share = gap / size if size else float(gap > 0)
        if share > worst:
            worst, layer = share, name
    return Loss(math.sqrt(lost / total) if total else float(lost > 0), worst, layer)


def dtype_of(weights: LoraWeights) -> torch.dtype:
    """In what a file with these is saved: their own dtype, float32 where there are several or none that we write."""
    found = {tensor.dtype for module in weights.values() for tensor in (module.down, module.up)}
    return found.pop() if len(found) == 1 and found <= set(_SAVED) else torch.float32


def rounded(weights: Mapping[str, LoraModule], dtype: torch.dtype) -> LoraWeights:
    """As a reader finds them once they were saved in ``dtype``, alpha too."""
    return {
        name: LoraModule(
            module.down.to(dtype), module.up.to(dtype), float(torch.tensor(module.alpha, dtype=torch.float64).to(dtype))
        )
        for name, module in weights.items()
    }
