"""The ladder: what makes a run need less memory, the least harmful first. Plain settings, no torch.

The first three rungs leave what is learned as it is: checkpointing computes the same numbers twice, batches of one
summed over as many are the same mean, and what is read from the disk is what was kept. A lower resolution is another
run in all but name, so it comes last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_forge.config import TrainConfig
from lora_forge.i18n import Said, word

CHECKPOINTING, BATCH_ONE, SMALL_CACHE, RESOLUTION = "checkpointing", "batch_one", "small_cache", "resolution"
NO_PREVIEWS = "no_previews"
_SHARE = 0.8  # of the side: two thirds of the area
_STEP_PX = 64
_LEAST_PX = 256  # below this Stable Diffusion draws no picture worth learning from
_LEAST_TINY_PX, _MOST_TINY_PX = 64, 128  # for checkpoints that are tiny from the start

_CHECKPOINTING = word("Gradient checkpointing: about a third slower, the result is the same.")
_BATCH_ONE = word(
    "One picture at a time, {accumulation} of them summed into a step: slower, as many pictures a step as before."
)
_SMALL_CACHE = word("Encoded photos and captions are read from the disk instead of being kept in memory.")
_NO_PREVIEWS = word("No previews: the run is as good, it just can't be watched.")
_RESOLUTION = word("{lower} px instead of {resolution}: less detail is learned.")


@dataclass(frozen=True)
class Rung:
    """``changes``: the settings that go with it. ``sentence``: what it costs."""

    id: str
    sentence: Said
    changes: Mapping[str, Any]


def rungs(config: TrainConfig, stage: str = "") -> tuple[Rung, ...]:
    """What is left to take with ``config``, in order.

    ``stage``: where the memory was full; photos are encoded one by one without gradients, so that only what is kept and
    their size matter there; nor has a preview a batch, but it can be done without.
    """
    found = [_small_cache(config), _resolution(config)]
    if stage == "preview":
        found = [_no_previews(config), _resolution(config)]
    elif stage != "encode":
        found = [_checkpointing(config), _batch_one(config), *found]
    return tuple(rung for rung in found if rung is not None)


def lower_px(config: TrainConfig) -> int | None:
    """The next lower resolution: about 0.8 of the side in whole steps; None where it would be of no use."""
    step, least = _STEP_PX, _LEAST_PX
    if config.resolution_px <= _LEAST_PX:
        step, least = config.bucket_step_px, _LEAST_TINY_PX
        if config.resolution_px > _MOST_TINY_PX:
            return None
    lower = int(config.resolution_px * _SHARE) // step * step
    return max(lower, least) if max(lower, least) < config.resolution_px else None


def _checkpointing(config: TrainConfig) -> Rung | None:
    if config.gradient_checkpointing == "on":
        return None
    return Rung(CHECKPOINTING, Said(_CHECKPOINTING), {"gradient_checkpointing": "on"})


def _batch_one(config: TrainConfig) -> Rung | None:
    if config.batch_size == 1:
        return None
    accumulation = config.batch_size * config.gradient_accumulation
    changes = {"batch_size": 1, "gradient_accumulation": accumulation}
    return Rung(BATCH_ONE, Said(_BATCH_ONE, {"accumulation": accumulation}), changes)


def _small_cache(config: TrainConfig) -> Rung | None:
    return None if config.encode_ahead == "off" else Rung(SMALL_CACHE, Said(_SMALL_CACHE), {"encode_ahead": "off"})


def _no_previews(config: TrainConfig) -> Rung | None:
    return Rung(NO_PREVIEWS, Said(_NO_PREVIEWS), {"preview_every_steps": 0}) if config.preview_every_steps else None


def _resolution(config: TrainConfig) -> Rung | None:
    lower = lower_px(config)
    if lower is None:
        return None
    values = {"lower": lower, "resolution": config.resolution_px}
    return Rung(RESOLUTION, Said(_RESOLUTION, values), {"resolution_px": lower})
