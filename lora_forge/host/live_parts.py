"""From the live networks of Forge and its kin to a :class:`BorrowedModel` on their memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lora_forge.config import Family
from lora_forge.host.casting import compute_in
from lora_forge.model import keymap, views
from lora_forge.model.detect import CheckpointFacts
from lora_forge.model.residence import settle
from lora_forge.model.schedule import rescale_zero_terminal_snr
from lora_forge.model.tokenizer_files import load_tokenizer
from lora_forge.ports import BaseInfo, BorrowedModel, TextTower

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class LiveParts:
    """A host's networks as it holds them.

    ``unet`` and ``vae``: tensors by LDM key without prefix. ``text``: one or two state dicts under transformers' names
    (``text_model.encoder...``, ``text_projection.weight``). ``alphas_cumprod``: float (1000,) as the host has it, not
    rescaled. ``dtype`` and ``text_dtype``: what the host computes in, whatever the weights are stored in.
    """

    info: BaseInfo
    facts: CheckpointFacts
    unet: State
    vae: State
    text: tuple[State, ...]
    alphas_cumprod: Tensor
    device: torch.device
    dtype: torch.dtype
    text_dtype: torch.dtype
    notes: dict[str, str] = field(default_factory=dict)


def lend(parts: LiveParts) -> BorrowedModel:
    """Modules of our own on the host's memory; what lies on another device is to visit the UNet's (`Residence`).

    Raises:
        CheckpointError: the networks are not those of the family.
    """
    facts = parts.facts
    unet = views.build_unet(_unet_state(parts), facts)
    compute_in(unet, parts.dtype)
    vae = views.build_vae({keymap.VAE_PREFIX + key: tensor for key, tensor in parts.vae.items()}, facts)
    towers = _towers(parts)
    for tower in towers:
        compute_in(tower.module, parts.text_dtype)
    for module in (unet, vae, *(tower.module for tower in towers)):
        settle(module, parts.device)
    schedule = views.share(parts.alphas_cumprod).to("cpu", torch.float32, copy=True)
    if parts.info.zero_terminal_snr:
        schedule = rescale_zero_terminal_snr(schedule)
    return BorrowedModel(
        info=parts.info,
        unet=unet,
        vae=vae,
        text_towers=towers,
        alphas_cumprod=schedule,
        vae_scale=facts.vae_scale,
        device=parts.device,
        dtype=parts.dtype,
        notes=dict(parts.notes),
    )


def heads_of(module: Any) -> int | None:
    """Attention heads of a text encoder by its config, None when it doesn't say."""
    heads = getattr(getattr(module, "config", None), "num_attention_heads", None)
    return heads if isinstance(heads, int) else None


def _unet_state(parts: LiveParts) -> dict[str, Tensor]:
    state = {keymap.UNET_PREFIX + key: tensor for key, tensor in parts.unet.items()}
    if len(parts.text) == 2:  # its width tells how much of SDXL's vector is text
        projection = parts.text[1]["text_projection.weight"]
        state[keymap.SDXL_TEXT2_PREFIX + "text_projection"] = views.share(projection).t()
    return state


def _towers(parts: LiveParts) -> tuple[TextTower, ...]:
    facts, states = parts.facts, [_text_state(state) for state in parts.text]
    if facts.family is Family.SDXL:
        first = views.build_clip(_without_projection(states[0]), facts.te_heads)
        second = views.build_open_clip(states[1], facts.te2_heads)
        return (
            TextTower(first, load_tokenizer(), views.CLIP_PAD_ID, "lora_te1"),
            TextTower(second, load_tokenizer(), views.OPEN_CLIP_PAD_ID, "lora_te2"),
        )
    state = _without_projection(states[0])
    if facts.family is Family.SD2:
        # OpenCLIP's 24th layer is never used, and LoRA files name 23; some hosts keep it.
        state = {key: tensor for key, tensor in state.items() if ".layers.23." not in key}
        module = views.build_open_clip(state, facts.te_heads)
        return (TextTower(module, load_tokenizer(), views.OPEN_CLIP_PAD_ID, "lora_te"),)
    return (TextTower(views.build_clip(state, facts.te_heads), load_tokenizer(), views.CLIP_PAD_ID, "lora_te"),)


def _text_state(state: State) -> dict[str, Tensor]:
    """Aliases, without what is no weight; of a wrapped token embedding the inner one, with which the host computes."""
    inner = "token_embedding.wrapped.weight"
    kept = {key: tensor for key, tensor in state.items() if key.startswith(("text_model.", "text_projection."))}
    wrapped = {key.replace(inner, "token_embedding.weight"): kept.pop(key) for key in list(kept) if key.endswith(inner)}
    found = {key: tensor for key, tensor in (kept | wrapped).items() if not key.endswith("position_ids")}
    return {key: views.share(tensor) for key, tensor in found.items()}


def _without_projection(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in state.items() if not key.startswith("text_projection")}
