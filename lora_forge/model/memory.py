"""About how much memory a run takes, before anything is started.

The figures are counted, not guessed: bytes that autograd keeps for a backward pass over the whole UNet with rank 16
adapters under bf16 autocast and fused attention, at 512 px (diffusers 0.42, torch 2.13: SD1.x 0.863 GiB, with
checkpointing 0.143; SDXL 1.590). They grow with the area of the picture (SD1.x at 256 px: 0.219 GiB).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lora_forge.config import Family, TrainConfig
from lora_forge.model.devices import free_memory_bytes, pick_device, short_name

GIB = 2**30
_AREA_PX = 512 * 512
_BYTES_A_TRAINED_WEIGHT = 16  # fp32: the weight, its gradient, and AdamW's two means
_ELSEWHERE_BYTES = GIB // 2  # a card's own context, and what single operations need for a moment


@dataclass(frozen=True)
class _Cost:
    """``weights``: of the whole checkpoint, in numbers. ``kept_bytes``: for backward at 512 x 512 px in 16 bits.
    ``checkpointed_bytes``: the same with gradient checkpointing. The rest are trained numbers for each rank, counted
    on diffusers' and transformers' own networks: ``targets`` of the UNet's transformers, the ``text`` encoders, and
    with a convolution rank the ``convs`` (by that rank) and ``shortcuts`` (1x1 and Linear, by the rank)."""

    weights: float
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
    Family.SD1: _Cost(1.07e9, 0.863 * GIB, 0.143 * GIB, _SD1_TARGETS, 165_888, 544_000, 82_880),
    Family.SD2: _Cost(1.29e9, 0.863 * GIB, 0.143 * GIB, _SD2_TARGETS, 423_936, 544_000, 82_880),
    Family.SDXL: _Cost(3.47e9, 1.590 * GIB, 0.134 * GIB, _SDXL_TARGETS, 903_168, 355_840, 58_560),
}


@dataclass(frozen=True)
class MemoryEstimate:
    """``needed_bytes`` in all, of which ``weights_bytes`` lie in memory already where the checkpoint is loaded.
    ``free_bytes``: what ``device`` could give now, None where it can't be told."""

    needed_bytes: int
    weights_bytes: int
    device: str
    free_bytes: int | None

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
    area = config.resolution_px**2 / _AREA_PX * config.batch_size
    kept = cost.checkpointed_bytes * 1.5 if config.gradient_checkpointing == "on" else cost.kept_bytes  # 1.5: one part anew
    trained = trained_numbers(family, config) * _BYTES_A_TRAINED_WEIGHT
    weights = cost.weights * width
    needed = weights + kept * area * width / 2 + trained + (0 if device.type == "cpu" else _ELSEWHERE_BYTES)
    return MemoryEstimate(int(needed), int(weights), short_name(device), free_memory_bytes(device))
