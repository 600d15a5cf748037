"""A checkpoint in memory becomes a model to train on and to draw with."""

from __future__ import annotations

from pathlib import Path

import torch

from lora_forge.config import BaseStorage, Family, PredictionType
from lora_forge.model.read import Checkpoint, read_checkpoint
from lora_forge.model.recast import store_in_fp8
from lora_forge.model.residence import convert
from lora_forge.model.schedule import alphas_cumprod
from lora_forge.model.views import build_text_towers, build_unet, build_vae
from lora_forge.ports import BaseInfo, BorrowedModel


def open_model(
    path: Path,
    device: torch.device,
    dtype: torch.dtype,
    prediction_type: PredictionType | None = None,
    zero_terminal_snr: bool | None = None,
    base_storage: BaseStorage = "as_lent",
) -> BorrowedModel:
    """Read the checkpoint at ``path`` and build it on ``device``; None takes what the file says.

    SDXL's VAE overflows in float16 on many pictures, so it is kept in float32 there.

    Raises:
        CheckpointError: the file can't be used; the message says what it is.
        ConfigError: eight bits are asked for and can't be had here.
    """
    checkpoint = read_checkpoint(path, dtype, maps=device.type == "cpu")
    checkpoint.facts = checkpoint.facts.override(prediction_type, zero_terminal_snr)
    return build_model(checkpoint, device, base_storage)


def build_model(checkpoint: Checkpoint, device: torch.device, base_storage: BaseStorage = "as_lent") -> BorrowedModel:
    """Modules on the checkpoint's own tensors, moved to ``device`` if they lie elsewhere.

    With ``fp8`` the UNet's weights go there in eight bits, and compute in the type they were read in.

    Raises:
        ConfigError: eight bits can't be had here.
    """
    facts, tensors = checkpoint.facts, checkpoint.tensors
    unet = build_unet(tensors, facts)
    dtype = unet.dtype
    if base_storage == "fp8":
        store_in_fp8(unet, device)
    unet = unet.to(device)
    vae = build_vae(tensors, facts)
    towers = build_text_towers(tensors, facts)
    if checkpoint.dtype is not None:
        for module in (vae, *(tower.module for tower in towers)):
            convert(module, checkpoint.dtype)
    vae = vae.to(device)
    if facts.family is Family.SDXL and vae.dtype is torch.float16:
        vae = vae.float()
    for tower in towers:
        tower.module.to(device)
    return BorrowedModel(
        info=base_info(checkpoint),
        unet=unet,
        vae=vae,
        text_towers=towers,
        alphas_cumprod=alphas_cumprod(facts.zero_terminal_snr),
        vae_scale=facts.vae_scale,
        device=device,
        dtype=dtype,
        notes={"hint": facts.hint} if facts.hint else {},
        may_leave=True,
    )


def base_info(checkpoint: Checkpoint) -> BaseInfo:
    """What to show of a checkpoint; hashes are left empty, they take a pass over the whole file."""
    facts = checkpoint.facts
    return BaseInfo(
        name=checkpoint.path.stem,
        family=facts.family,
        prediction_type=facts.prediction_type,
        prediction_source=facts.prediction_source,
        zero_terminal_snr=facts.zero_terminal_snr,
    )
