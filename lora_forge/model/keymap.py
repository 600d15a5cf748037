"""Names: from the original (LDM) layout of a checkpoint to diffusers' and transformers' module paths.

Pure string work, so that a host's live state dict and a file's header go through the same code.
"""

from __future__ import annotations

import re

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
SD1_TEXT_PREFIX = "cond_stage_model.transformer."
SD2_TEXT_PREFIXES = ("cond_stage_model.model.", "conditioner.embedders.0.model.")
SDXL_TEXT_PREFIX = "conditioner.embedders.0.transformer."
SDXL_TEXT2_PREFIX = "conditioner.embedders.1.model."

_UNET_FIXED = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_UNET_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_UNET_MIDDLE = {"0": "mid_block.resnets.0", "1": "mid_block.attentions.0", "2": "mid_block.resnets.1"}
_VAE_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_OPEN_CLIP_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_OPEN_CLIP_FIXED = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "text_projection": "text_projection.weight",
}


def unet_name(ldm: str, layers_per_block: int) -> str | None:
    """diffusers' name of an LDM UNet tensor (no prefix), or None when diffusers has no such tensor.

    ``input_blocks.4.1.proj_in.weight`` -> ``down_blocks.1.attentions.0.proj_in.weight`` at 2 layers a block.
    """
    module, _, leaf = ldm.rpartition(".")
    if module in _UNET_FIXED:
        return f"{_UNET_FIXED[module]}.{leaf}"
    if match := re.fullmatch(r"middle_block\.([012])\.(.+)", module):
        return f"{_UNET_MIDDLE[match[1]]}.{_UNET_RESNET.get(match[2], match[2])}.{leaf}"
    if match := re.fullmatch(r"(input|output)_blocks\.(\d+)\.([012])\.(.+)", module):
        return _unet_block_name(match[1], int(match[2]), int(match[3]), match[4], leaf, layers_per_block)
    return None


def _unet_block_name(side: str, index: int, part: int, rest: str, leaf: str, layers: int) -> str | None:
    # input_blocks.0 is conv_in, so its count starts one later than that of output_blocks.
    block, layer = divmod(index - 1 if side == "input" else index, layers + 1)
    way = "down_blocks" if side == "input" else "up_blocks"
    if rest == "op":
        return f"{way}.{block}.downsamplers.0.conv.{leaf}"
    if rest == "conv" and part > 0:
        return f"{way}.{block}.upsamplers.0.conv.{leaf}"
    if part == 0:
        return f"{way}.{block}.resnets.{layer}.{_UNET_RESNET[rest]}.{leaf}" if rest in _UNET_RESNET else None
    return f"{way}.{block}.attentions.{layer}.{rest}.{leaf}" if part == 1 else None


def vae_name(ldm: str, levels: int) -> str | None:
    """diffusers' name of an LDM VAE tensor (no prefix), or None. The decoder counts its levels the other way."""
    module, _, leaf = ldm.rpartition(".")
    if module in ("quant_conv", "post_quant_conv"):
        return ldm
    coder, _, rest = module.partition(".")
    if coder not in ("encoder", "decoder"):
        return None
    if rest in ("conv_in", "conv_out"):
        return ldm
    if rest == "norm_out":
        return f"{coder}.conv_norm_out.{leaf}"
    if match := re.fullmatch(r"mid\.block_([12])\.(.+)", rest):
        return f"{coder}.mid_block.resnets.{int(match[1]) - 1}.{_shortcut(match[2])}.{leaf}"
    if match := re.fullmatch(r"mid\.attn_1\.(norm|q|k|v|proj_out)", rest):
        return f"{coder}.mid_block.attentions.0.{_VAE_ATTENTION[match[1]]}.{leaf}"
    if match := re.fullmatch(r"(down|up)\.(\d+)\.(?:block\.(\d+)\.(.+)|(down|up)sample\.conv)", rest):
        way, level = match[1], int(match[2])
        path = f"{coder}.{way}_blocks.{level if way == 'down' else levels - 1 - level}"
        inner = f"{way}samplers.0.conv" if match[3] is None else f"resnets.{match[3]}.{_shortcut(match[4])}"
        return f"{path}.{inner}.{leaf}"
    return None


def _shortcut(module: str) -> str:
    return "conv_shortcut" if module == "nin_shortcut" else module


def clip_name(ldm: str) -> str | None:
    """transformers 4's name of a CLIP-L tensor (prefix cut off), or None for what is no weight (position_ids).

    Very old files lack the ``text_model.`` level.
    """
    name = ldm if ldm.startswith("text_model.") else f"text_model.{ldm}"
    return None if name.endswith("position_ids") else name


def open_clip_names(ldm: str) -> tuple[str, ...]:
    """transformers 4's names of an OpenCLIP tensor (prefix cut off): three for a fused q/k/v, none for the rest."""
    if ldm in _OPEN_CLIP_FIXED:
        return (_OPEN_CLIP_FIXED[ldm],)
    match = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)", ldm)
    if match is None:
        return ()
    layer, module, leaf = f"text_model.encoder.layers.{match[1]}", match[2], match[3]
    if module == "attn.in_proj":
        return tuple(f"{layer}.self_attn.{part}_proj.{leaf}" for part in "qkv")
    return (f"{layer}.{_OPEN_CLIP_LAYER[module]}.{leaf}",) if module in _OPEN_CLIP_LAYER else ()
