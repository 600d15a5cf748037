"""python benchmarks/full_size.py sd1 sd15.safetensors

Write a full-size checkpoint of random fp16 weights in the layout that public checkpoints have (LDM names): ``sd1``
(2.1 GB) or ``sdxl`` (6.9 GB). Every program that reads Stable Diffusion files takes it, so trainers can be timed
beside each other without anyone's weights. The same file comes out on every machine: each tensor is drawn from a
seed of its own name.

Shapes come from diffusers and transformers modules built on the meta device; the names are the published LDM ones
and are proved by :func:`check_names`, which sends them back through diffusers' own converters.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lora_forge.seeds import stable_seed

Shapes = dict[str, tuple[int, ...]]

SD1_UNET: dict[str, Any] = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
SDXL_UNET: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
BIG_G = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


def _shapes(module: torch.nn.Module) -> Shapes:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def unet_name(key: str, names: frozenset[str], layers: int = 2) -> str:
    """LDM name of a diffusers UNet key; ``names`` are all keys of that UNet, ``layers`` its resnets a level."""
    module, _, leaf = key.rpartition(".")
    if module in _UNET_ENDS:
        return f"{_UNET_ENDS[module]}.{leaf}"
    if middle := _MIDDLE.fullmatch(key):
        kind, index, rest = middle.groups()
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(index)}.{_unet_leaf(kind, rest)}"
    block = _BLOCK.fullmatch(key)
    assert block is not None, key
    side, level, kind, index, rest = block[1], int(block[2]), block[3], int(block[4]), block[5]
    if side == "down":
        number = level * (layers + 1) + 1 + (layers if kind == "downsamplers" else index)
        place = "0.op" if kind == "downsamplers" else str(int(kind == "attentions"))
        rest = rest.removeprefix("conv.") if kind == "downsamplers" else rest
        return f"input_blocks.{number}.{place}.{_unet_leaf(kind, rest)}"
    number = level * (layers + 1) + (layers if kind == "upsamplers" else index)
    has_attention = any(name.startswith(f"up_blocks.{level}.attentions.") for name in names)
    place = {"resnets": "0", "attentions": "1", "upsamplers": "2" if has_attention else "1"}[kind]
    return f"output_blocks.{number}.{place}.{_unet_leaf(kind, rest)}"


def _unet_leaf(kind: str, rest: str) -> str:
    module, _, leaf = rest.rpartition(".")
    return f"{_RESNET[module]}.{leaf}" if kind == "resnets" else rest


def vae_name(key: str) -> str:
    """LDM name of a diffusers AutoencoderKL key."""
    key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    side, _, rest = key.partition(".")
    if middle := _MIDDLE.fullmatch(rest):
        kind, index, inner = middle.groups()
        if kind == "resnets":
            return f"{side}.mid.block_{int(index) + 1}.{inner}"
        module, _, leaf = inner.rpartition(".")
        return f"{side}.mid.attn_1.{_VAE_ATTENTION[module]}.{leaf}"
    if block := _BLOCK.fullmatch(rest):
        direction, level, kind, index, inner = block[1], int(block[2]), block[3], block[4], block[5]
        level = level if direction == "down" else len(VAE["block_out_channels"]) - 1 - level
        place = f"block.{index}" if kind == "resnets" else f"{direction}sample"
        return f"{side}.{direction}.{level}.{place}.{inner}"
    return key


def check_names(family: str) -> int:
    """Send the LDM names back through diffusers' converters; the number of names proved."""
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel(**_unet_config(family)), AutoencoderKL(**VAE)
    unet_shapes, vae_shapes = _shapes(unet), _shapes(vae)
    ldm = {unet_name(k, frozenset(unet_shapes)): torch.empty(s, device="meta") for k, s in unet_shapes.items()}
    prefixed = {f"model.diffusion_model.{key}": value for key, value in ldm.items()}
    back = convert_ldm_unet_checkpoint(prefixed, dict(unet.config))
    assert {k: tuple(v.shape) for k, v in back.items()} == unet_shapes
    vae_ldm = {name: torch.empty(shape, device="meta") for name, shape in _vae_shapes().items()}
    back = convert_ldm_vae_checkpoint(vae_ldm, dict(vae.config))
    assert {k: tuple(v.shape) for k, v in back.items()} == vae_shapes
    return len(ldm) + len(vae_ldm)


def _unet_config(family: str) -> dict[str, Any]:
    return {"sd1": SD1_UNET, "sdxl": SDXL_UNET}[family]


def _vae_shapes() -> Shapes:
    """LDM names under ``first_stage_model.``; the attention's Linear weights are 1x1 convolutions there."""
    with torch.device("meta"):
        shapes = _shapes(AutoencoderKL(**VAE))
    named = {f"first_stage_model.{vae_name(key)}": shape for key, shape in shapes.items()}
    is_linear = re.compile(r".*mid\.attn_1\.(q|k|v|proj_out)\.weight")
    return {key: (*shape, 1, 1) if is_linear.fullmatch(key) else shape for key, shape in named.items()}


def _clip_shapes(prefix: str) -> Shapes:
    """HF-CLIP names with the ``text_model.`` level that transformers 5 dropped; position ids as public files have."""
    with torch.device("meta"):
        shapes = _shapes(CLIPTextModel(CLIPTextConfig(vocab_size=49408, **CLIP_L)))
    named = {f"{prefix}text_model.{key.removeprefix('text_model.')}": shape for key, shape in shapes.items()}
    return {**named, f"{prefix}text_model.embeddings.position_ids": (1, 77)}


def _open_clip_shapes(prefix: str) -> Shapes:
    """OpenCLIP names: q, k and v in one ``in_proj``, the projection transposed."""
    with torch.device("meta"):
        tower = CLIPTextModelWithProjection(CLIPTextConfig(vocab_size=49408, **BIG_G))
    named: Shapes = {f"{prefix}logit_scale": ()}
    for key, shape in _shapes(tower).items():
        key = key.removeprefix("text_model.").replace("encoder.layers.", "transformer.resblocks.")
        if "k_proj" in key or "v_proj" in key or "position_ids" in key:
            continue
        if "q_proj" in key:
            key, shape = key.replace("self_attn.q_proj.", "attn.in_proj_"), (3 * shape[0], *shape[1:])
        for ours, theirs in _OPEN_CLIP:
            key = key.replace(ours, theirs)
        named[prefix + key] = tuple(reversed(shape)) if key == "text_projection" else shape
    return named


_OPEN_CLIP = (
    ("embeddings.token_embedding", "token_embedding"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("text_projection.weight", "text_projection"),
    ("final_layer_norm", "ln_final"),
    ("layer_norm", "ln_"),
    ("self_attn.out_proj", "attn.out_proj"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
)


def checkpoint_shapes(family: str) -> Shapes:
    """Every name of the file and its shape."""
    with torch.device("meta"):
        unet = _shapes(UNet2DConditionModel(**_unet_config(family)))
    names = frozenset(unet)
    shapes = {f"model.diffusion_model.{unet_name(key, names)}": shape for key, shape in unet.items()}
    shapes.update(_vae_shapes())
    if family == "sd1":
        shapes.update(_clip_shapes("cond_stage_model.transformer."))
    else:
        shapes.update(_clip_shapes("conditioner.embedders.0.transformer."))
        shapes.update(_open_clip_shapes("conditioner.embedders.1.model."))
    return shapes


def random_tensors(shapes: Shapes) -> Iterator[tuple[str, torch.Tensor]]:
    """fp16 tensors that keep activations near unit size: matrices N(0, 1/fan-in), norms 1, biases 0."""
    for key, shape in shapes.items():
        if key.endswith("position_ids"):
            yield key, torch.arange(77).reshape(1, 77)
        elif key.endswith("logit_scale"):
            yield key, torch.tensor(math.log(100.0), dtype=torch.float16)
        elif len(shape) == 1:
            yield key, torch.full(shape, float(key.endswith("weight")), dtype=torch.float16)
        else:
            generator = torch.Generator().manual_seed(stable_seed("full size", key))
            scale = 0.02 if "embedding" in key else math.prod(shape[1:]) ** -0.5
            yield key, (torch.randn(shape, generator=generator) * scale).half()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=("sd1", "sdxl"))
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    proved = check_names(arguments.family)
    save_file(dict(random_tensors(checkpoint_shapes(arguments.family))), arguments.path)
    size = arguments.path.stat().st_size
    print(f"{arguments.path}: {size / 1e9:.2f} GB, {proved} UNet and VAE names proved by diffusers' converters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
