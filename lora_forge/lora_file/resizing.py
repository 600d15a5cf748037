"""A LoRA brought to a lower rank: each layer's best approximation (Eckart and Young), with its error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from lora_forge.errors import LoraFileError
from lora_forge.lora_file.algebra import Loss, loss_between, rounded
from lora_forge.lora_file.weights import LoraModule, LoraWeights


@dataclass(frozen=True, eq=False)
class Resized:
    """``loss``: against what went in, rounding to the file's dtype included. ``ranks``: least and most of a layer."""

    weights: LoraWeights
    loss: Loss
    ranks: tuple[int, int]


def resize(
    weights: Mapping[str, LoraModule],
    rank: int | None,
    keep_share: float | None,
    dtype: torch.dtype,
    each: Callable[[int, int], None] = lambda done, total: None,
) -> Resized:
    """Every layer at ``rank``, or at the least rank that keeps ``keep_share`` (0 to 1) of its Frobenius norm.

    Layers of no higher rank than that stay as they are. ``each(done, total)`` is called after every layer and may
    raise to stop.

    Raises:
        LoraFileError: neither or both are given, or one is out of range.
    """
    _check(rank, keep_share)
    made: LoraWeights = {}
    for done, (name, module) in enumerate(weights.items(), start=1):
        made[name] = reduce(module, rank, keep_share)
        each(done, len(weights))
    saved = rounded(made, dtype)
    ranks = [module.rank for module in saved.values()] or [0]
    return Resized(saved, loss_between(weights, saved), (min(ranks), max(ranks)))


def reduce(module: LoraModule, rank: int | None, keep_share: float | None = None) -> LoraModule:
    """One layer; the SVD is of a rank x rank matrix between the orthonormal parts of ``up`` and ``down``."""
    if rank is not None and rank >= module.rank:
        return module
    left, upper = torch.linalg.qr(module.up.double().flatten(1))
    right, lower = torch.linalg.qr(module.down.double().flatten(1).T)
    turn, values, back = torch.linalg.svd(upper @ lower.T * module.scale, full_matrices=False)
    kept = rank if rank is not None else _least_rank(values, float(keep_share or 1.0))
    if kept >= module.rank:
        return module
    root = values[:kept].sqrt()
    up, down = left @ (turn[:, :kept] * root), (root[:, None] * back[:kept]) @ right.T
    up_shape, down_shape = (*module.up.shape[:1], kept, *module.up.shape[2:]), (kept, *module.down.shape[1:])
    return LoraModule(down.reshape(down_shape).float(), up.reshape(up_shape).float(), float(kept))


def _least_rank(values: torch.Tensor, share: float) -> int:
    """The first rank whose values have ``share`` of the norm of all of them."""
    squares = values.square().cumsum(0)
    if float(squares[-1]) == 0.0:
        return 1
    enough = squares >= squares[-1] * share**2 * (1 - 1e-12)
    return int(enough.int().argmax()) + 1


def _check(rank: int | None, keep_share: float | None) -> None:
    if (rank is None) == (keep_share is None):
        raise LoraFileError("Choose a rank, or how much is to be kept.")
    if rank is not None and rank < 1:
        raise LoraFileError("A rank of {rank} can't be.", "Choose 1 or more.", rank=rank)
    if keep_share is not None and not 0 < keep_share <= 1:
        raise LoraFileError(
            "A share of {share} can't be kept.", "Choose one above 0 and up to 1.", share=f"{keep_share:g}"
        )
