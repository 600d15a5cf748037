"""About how much memory a run takes, before anything is started.

The figures are counted, not guessed: bytes that autograd keeps for a backward pass over the whole UNet with rank 16
adapters under bf16 autocast and fused attention, at 512 px (diffusers 0.42, torch 2.13: SD1.x 0.863 GiB, with
checkpointing 0.143; SDXL 1.590). They grow with the area of the picture (SD1.x at 256 px: 0.219 GiB).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from lora_forge.config import Family, TrainConfig
from lora_forge.model.devices import free_memory_bytes, pick_device, short_name
from lora_forge.ports import BorrowedModel

GIB = 2**30
_AREA_PX = 512 * 512
_BYTES_A_TRAINED_WEIGHT = 16  # fp32: the weight, its gradient, and AdamW's two means
_ELSEWHERE_BYTES = GIB // 2  # a card's own context, and what single operations need for a moment


@dataclass(frozen=True)
class _Cost:
    """``weights``: of the whole checkpoint, in numbers, and ``unet``: of it alone. ``kept_bytes``: for backward at
    512 x 512 px in 16 bits. ``checkpointed_bytes``: the same with gradient checkpointing. The rest are trained numbers
    for each rank, counted on diffusers' and transformers' own networks: ``targets`` of the UNet's transformers, the
    ``text`` encoders, and with a convolution rank the ``convs`` (by that rank) and ``shortcuts`` (1x1 and Linear, by
    the rank)."""

    weights: float
    unet: float
    kept_bytes: float
    checkpointed_bytes: float
    targets: Mapping[str, int]
    text: int
    convs: int
    shortcuts: int


_SD1_TARGETS = {"attention": 199_296, "feed_forward": 174_720, "projection": 49_920}
_SD2_TARGETS = {"attention": 207_488, "feed_forward": 174_720, "projection": 49_920}
_SDXL_TARGETS = {"attention": 1_451_520, "feed_forward": 1_164_800, "projection": 43_520}
_COSTS = {
    Family.SD1: _Cost(1.07e9, 0.860e9, 0.863 * GIB, 0.143 * GIB, _SD1_TARGETS, 165_888, 544_000, 82_880),
    Family.SD2: _Cost(1.29e9, 0.866e9, 0.863 * GIB, 0.143 * GIB, _SD2_TARGETS, 423_936, 544_000, 82_880),
    Family.SDXL: _Cost(3.47e9, 2.567e9, 1.590 * GIB, 0.134 * GIB, _SDXL_TARGETS, 903_168, 355_840, 58_560),
}


@dataclass(frozen=True)
class MemoryEstimate:
    """``needed_bytes`` in all, of which ``weights_bytes`` lie in memory already where the checkpoint is loaded.
    ``free_bytes``: what ``device`` could give now, None where it can't be told. ``is_checkpointed``: parts of a step
    are computed twice, as asked for or because the memory is short."""

    needed_bytes: int
    weights_bytes: int
    device: str
    free_bytes: int | None
    is_checkpointed: bool = False

    @property
    def fits(self) -> bool:
        """False only where it is known not to: the weights count as there."""
        return self.free_bytes is None or self.needed_bytes - self.weights_bytes <= self.free_bytes


def trained_numbers(family: Family, config: TrainConfig) -> int:
    """How many numbers a run with ``config`` trains on a full-size checkpoint of ``family``."""
    cost, count = _COSTS[family], 0
    if config.learning_rate > 0:
        count += sum(cost.targets[target] for target in config.targets) * config.rank
        if config.conv_rank:
            count += cost.convs * config.conv_rank + cost.shortcuts * config.rank
    if config.te_learning_rate > 0:
        count += cost.text * config.rank
    return count


def training_memory(family: Family, config: TrainConfig) -> MemoryEstimate:
    """What training with ``config`` on a checkpoint of ``family`` takes at its peak, on the device it would run on."""
    device, cost = pick_device(), _COSTS[family]
    width = 4 if device.type == "cpu" and config.precision in ("auto", "fp32") else 2
    free = free_memory_bytes(device)
    weights = cost.weights * width
    if config.base_storage == "fp8":
        weights -= cost.unet * (width - 1)
    trained = trained_numbers(family, config) * _BYTES_A_TRAINED_WEIGHT
    elsewhere = trained + (0 if device.type == "cpu" else _ELSEWHERE_BYTES)
    off, on = (_kept_bytes(cost, config, width, is_on) + elsewhere for is_on in (False, True))
    is_on = _is_checkpointed(config, family, device, off, free)
    return MemoryEstimate(int(weights + (on if is_on else off)), int(weights), short_name(device), free, is_on)


@dataclass(frozen=True)
class Checkpointing:
    """Whether a run computes parts of a step twice. ``needed_bytes``: what it takes beside the weights if it does not.
    ``free_bytes``: None where it can't be told."""

    is_on: bool
    needed_bytes: int
    free_bytes: int | None


def checkpointing(model: BorrowedModel, config: TrainConfig) -> Checkpointing:
    """What ``config`` means on the lent ``model`` with the memory that is free now; of networks of other sizes than
    their family's the activations are judged by their weights."""
    cost, device = _COSTS[model.info.family], model.device
    share = sum(parameter.numel() for parameter in model.unet.parameters()) / cost.unet
    needed = _kept_bytes(cost, config, model.dtype.itemsize, False) * share
    needed += trained_numbers(model.info.family, config) * share * _BYTES_A_TRAINED_WEIGHT
    needed += 0 if device.type == "cpu" else _ELSEWHERE_BYTES
    free = free_memory_bytes(device)
    if free is not None:  # a UNet that is lent from elsewhere is still to come
        free = max(0, free - sum(p.nbytes for p in model.unet.parameters() if p.device.type != device.type))
    return Checkpointing(_is_checkpointed(config, model.info.family, device, needed, free), int(needed), free)


def _kept_bytes(cost: _Cost, config: TrainConfig, width: int, is_checkpointed: bool) -> float:
    area = config.resolution_px**2 / _AREA_PX * config.batch_size
    kept = cost.checkpointed_bytes * 1.5 if is_checkpointed else cost.kept_bytes  # 1.5: one part anew
    return kept * area * width / 2


def _is_checkpointed(
    config: TrainConfig, family: Family, device: torch.device, needed: float, free: int | None
) -> bool:
    """What the setting means where a run takes ``needed`` bytes beside the weights without it."""
    if config.gradient_checkpointing != "auto":
        return config.gradient_checkpointing == "on"
    return device.type != "cpu" and family is Family.SDXL if free is None else needed > free
