"""A strength made part of a file, so that strength 1 draws what that strength drew.

A LoRA is linear in its strength, so one factor on ``up``, on ``down`` or on ``alpha`` does it exactly. What is saved is
rounded to the file's dtype: for each layer the factor goes where that loses least (alpha 16 times 0.75 is 12 on the
nose; where alpha would round, the many roundings of a matrix do not add up as the one of a number does).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from lora_forge.errors import LoraFileError
from lora_forge.lora_file.algebra import dtype_of, norm, squared_norm
from lora_forge.lora_file.weights import LoraModule, LoraWeights

MOST_STRENGTH = 4.0


def bake(weights: LoraWeights, strength: float, dtype: torch.dtype | None = None) -> LoraWeights:
    """``strength`` times ``weights``, as it will be in a file of ``dtype`` (the weights' own).

    Raises:
        LoraFileError: the strength is 0 or out of range.
    """
    if not (0 < abs(strength) <= MOST_STRENGTH):
        raise LoraFileError(
            "A strength of {strength} can't be baked in.",
            "Choose one above 0, up to {most}.",
            strength=f"{strength:g}",
            most=f"{MOST_STRENGTH:g}",
        )
    if strength == 1.0:
        return dict(weights)
    kind = dtype or dtype_of(weights)
    return {name: min(_ways(module, strength, kind), key=lambda way: way[0])[1] for name, module in weights.items()}


def _ways(module: LoraModule, strength: float, dtype: torch.dtype) -> Iterator[tuple[float, LoraModule]]:
    """(Frobenius error of the delta, the layer) for each place of the factor."""
    wanted = module.alpha * strength
    alpha = float(torch.tensor(wanted, dtype=torch.float64).to(dtype))
    off = abs(alpha - wanted) / abs(module.alpha) if module.alpha else 0.0
    yield _error(off * norm(module)), LoraModule(module.down, module.up, alpha)
    for part in ("up", "down"):
        exact = getattr(module, part).double() * strength
        scaled = exact.to(dtype)
        gap = scaled.double() - exact
        pair = (gap, module.down) if part == "up" else (module.up, gap)
        up, down = (scaled, module.down) if part == "up" else (module.up, scaled)
        yield _error(abs(module.scale) * math.sqrt(squared_norm(*pair))), LoraModule(down, up, module.alpha)


def _error(value: float) -> float:
    return value if math.isfinite(value) else math.inf
