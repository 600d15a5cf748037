"""Type x family -> defaults. Starting points from what other trainers ship, not yet measured on real photographs.

What those agree on: a UNet rate of 1e-4 with rank 32, and ten saved epochs. Where they differ by ten times (text
encoder rate, alpha / rank), alpha and rate move together, because the effective rate scales with alpha / rank.
``toyworld`` and ``toyworld_hot`` are for the bundled drawn world, a model a hundred times smaller that wants other
rates; theirs are measured. Why each number is what it is: ``reasons.py``.
"""

from __future__ import annotations

from typing import Any

from lora_forge.config import Family
from lora_forge.errors import ConfigError
from lora_forge.presets.kinds import KINDS, repeats_for

_TOYWORLD: dict[str, Any] = {
    "epochs": 10,
    "repeats": 20,
    "batch_size": 4,
    "resolution_px": 64,
    "bucket_min_px": 64,
    "bucket_max_px": 64,
    "keep_tokens": 1,
    "shuffle_tags": True,
    "flip": False,
    "rank": 16,
    "alpha": 16.0,
    "learning_rate": 1.5e-3,
    "te_learning_rate": 5e-4,
    "schedule": "constant",
    "weight_decay": 0.01,
}
# Measured at seed 0: like her and obedient by epoch 5, no obedience from epoch 7, no likeness from epoch 8.
_TOYWORLD_HOT = {**_TOYWORLD, "repeats": 6, "rank": 8, "alpha": 8.0, "learning_rate": 8e-3, "te_learning_rate": 4e-3}


def preset(kind: str, family: Family, photos: int = 25) -> dict[str, Any]:
    """Values for :func:`lora_forge.config.from_dict`: defaults of ``kind`` on ``family`` for so many photos.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind == "toyworld":
        return dict(_TOYWORLD)
    if kind == "toyworld_hot":
        return dict(_TOYWORLD_HOT)
    if kind not in KINDS:
        raise ConfigError("There is no preset {kind!r}.", "Choose one of {kinds}.", kind=kind, kinds=", ".join(KINDS))
    return {**_shared(family), **_of_kind(kind, family), **_size(family), "repeats": repeats_for(kind, photos)}


def _shared(family: Family) -> dict[str, Any]:
    """What all kinds share. SDXL's text encoders are left alone, as most SDXL recipes do."""
    return {
        "epochs": 10,
        "batch_size": 1,
        "rank": 32,
        "alpha": 16.0,
        "learning_rate": 1e-4,
        "te_learning_rate": 0.0 if family is Family.SDXL else 5e-5,
        "schedule": "cosine",
        "optimizer": "adamw",
        "min_snr_gamma": 5.0,  # arXiv 2303.09556 and nearly every newer preset
        "noise_offset": 0.0,
        "keep_tokens": 1,
        "shuffle_tags": True,
        "flip": False,
        "clip_skip": 1,
    }


# The tutorial's own: what no photo shows must still be obeyed. A project's traits, once answered, take their place.
_SWAPPED = ("TRIGGER", "TRIGGER, white hair, red dress")


def _of_kind(kind: str, family: Family) -> dict[str, Any]:
    if kind == "person":
        return {"preview_prompts": list(_SWAPPED)}
    if kind == "anime":
        return {"flip": True, "clip_skip": 2 if family is Family.SD1 else 1, "preview_prompts": list(_SWAPPED)}
    if kind == "style":
        return {"flip": True, "caption_dropout": 0.05, **_wide(family)}
    if kind == "design":
        # texture and line live in the convolutions; half of the rank, as conv / linear stand in other trainers
        return {"caption_dropout": 0.05, "conv_rank": 16, "conv_alpha": 8.0, **_wide(family)}
    return {}


def _wide(family: Family) -> dict[str, Any]:
    """Rank and rates of what fills the whole picture: more room on SDXL, a text encoder that hardly moves."""
    rank, alpha = (64, 32.0) if family is Family.SDXL else (32, 32.0)
    return {"rank": rank, "alpha": alpha, "te_learning_rate": 0.0 if family is Family.SDXL else 1e-5}


def _size(family: Family) -> dict[str, Any]:
    """Resolution the family was made for. SDXL does not fit a 12 GB card without checkpointing; "auto" sees to it."""
    if family is Family.SDXL:
        return {"resolution_px": 1024, "bucket_min_px": 512, "bucket_max_px": 2048, "gradient_checkpointing": "auto"}
    if family is Family.SD2:
        return {"resolution_px": 768, "bucket_min_px": 384, "bucket_max_px": 1536}
    return {"resolution_px": 512, "bucket_min_px": 256, "bucket_max_px": 1024}
