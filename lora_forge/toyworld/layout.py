"""Diffusers names -> original Stable Diffusion names, and the one file that holds the checkpoint.

Keys are those of a real SD1.5 file: ``model.diffusion_model.*``, ``cond_stage_model.transformer.text_model.*`` and
``first_stage_model.*``. Tested against diffusers' own converters, which read the file back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from lora_forge.toyworld.nets import TEXT_HEADS, build_text_encoder, build_unet, build_vae

METADATA = {
    "format": "pt",
    "lora_forge.toyworld": "1",
    "lora_forge.te_heads": str(TEXT_HEADS),
    "lora_forge.te_hidden_act": "quick_gelu",
    "lora_forge.unet_heads": "8",
    "lora_forge.prediction_type": "epsilon",
    "lora_forge.scaling_factor": "0.18215",
    "modelspec.title": "LoRA Forge toy world",
    "modelspec.architecture": "stable-diffusion-v1",
}

_LAYERS_PER_BLOCK = 2

_UNET_START = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}  # fmt: skip
_UNET_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip


def unet_key(name: str) -> str:
    """UNet: "down_blocks.0.resnets.1.conv1.weight" -> "input_blocks.2.0.in_layers.2.weight"."""
    for ours, theirs in _UNET_START.items():
        if name.startswith(ours + "."):
            return _unet_resnet(theirs + name[len(ours) :])
    found = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name)
    if not found:
        raise ValueError(f"no SD1.x name is known for the UNet key {name!r}")
    side, block, kind, index, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    per_block = _LAYERS_PER_BLOCK + 1
    if side == "down":
        if kind == "downsamplers":
            return f"input_blocks.{per_block * (block + 1)}.0.op.{rest.removeprefix('conv.')}"
        place = f"input_blocks.{1 + per_block * block + index}"
    else:
        if kind == "upsamplers":
            slot = 1 if block == 0 else 2
            return f"output_blocks.{per_block * block + 2}.{slot}.{rest}"
        place = f"output_blocks.{per_block * block + index}"
    return _unet_resnet(f"{place}.{1 if kind == 'attentions' else 0}.{rest}")


def _unet_resnet(name: str) -> str:
    head, middle, tail = name.rpartition(".")
    stem, dot, last = head.rpartition(".")
    if "transformer_blocks" not in name and last in _UNET_RESNET:
        return f"{stem}{dot}{_UNET_RESNET[last]}{middle}{tail}"
    return name


_VAE_ATTENTION = {
    "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
}  # fmt: skip


def vae_key(name: str, blocks: int = 4) -> str:
    """VAE: "decoder.up_blocks.0.resnets.1.conv1.weight" -> "decoder.up.3.block.1.conv1.weight"."""
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = name.replace("mid_block.attentions.0.", "mid.attn_1.")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{blocks - 1 - int(m[1])}.block", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{blocks - 1 - int(m[1])}.upsample", name)
    if ".mid.attn_1." in name:
        for ours, theirs in _VAE_ATTENTION.items():
            name = name.replace(f"attn_1.{ours}.", f"attn_1.{theirs}.")
    return name


def _vae_value(name: str, value: Tensor) -> Tensor:
    is_projection = ".mid.attn_1." in name and name.endswith("weight") and value.ndim == 2
    return value[:, :, None, None] if is_projection else value


def to_ldm(unet: Mapping[str, Tensor], text: Mapping[str, Tensor], vae: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Three diffusers/transformers state dicts -> one of the original layout; values keep their dtype."""
    merged = {f"model.diffusion_model.{unet_key(name)}": value for name, value in unet.items()}
    for name, value in text.items():
        bare = name.removeprefix("text_model.")
        if not bare.endswith("position_ids"):
            merged[f"cond_stage_model.transformer.text_model.{bare}"] = value
    for name, value in vae.items():
        old = vae_key(name)
        merged[f"first_stage_model.{old}"] = _vae_value(f".{old}", value)
    return merged


def save_checkpoint(path: Path, unet: Mapping[str, Tensor], text: Mapping[str, Tensor],
                    vae: Mapping[str, Tensor]) -> None:  # fmt: skip
    """Write the checkpoint as fp16 safetensors with the metadata that shapes cannot tell."""
    merged = to_ldm(unet, text, vae)
    save_file({name: value.detach().half().contiguous() for name, value in merged.items()}, str(path), METADATA)


def load_models(path: Path) -> tuple[Any, Any, Any]:
    """(unet, text, vae) in fp32 from a toy checkpoint, read with diffusers' own converters; frozen, in eval mode."""
    from diffusers.loaders import single_file_utils

    converters: Any = single_file_utils  # untyped

    merged = {name: value.float() for name, value in load_file(str(path)).items()}
    unet, vae, text = build_unet(), build_vae(), build_text_encoder()
    unet.load_state_dict(converters.convert_ldm_unet_checkpoint(dict(merged), dict(unet.config)))
    shapes = {name: value.shape for name, value in vae.state_dict().items()}
    converted = converters.convert_ldm_vae_checkpoint(dict(merged), dict(vae.config))
    vae.load_state_dict({name: value.reshape(shapes[name]) for name, value in converted.items()})
    start = "cond_stage_model.transformer.text_model."
    own = {name[len(start) :]: value for name, value in merged.items() if name.startswith(start)}
    prefix = "text_model." if any(name.startswith("text_model.") for name in text.state_dict()) else ""
    text.load_state_dict({prefix + name: value for name, value in own.items()}, strict=False)
    for model in (unet, text, vae):
        model.requires_grad_(False).eval()
    return unet, text, vae
