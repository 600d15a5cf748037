"""The original (LDM, sgm, OpenCLIP) layouts as their own constructors lay them out: names and shapes, any width.

Written from the architecture, not from our name maps, so that the maps can be tested against it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Sizes:
    """Sizes of a checkpoint; the constants below are the real ones and toys of them."""

    width: int = 320
    mult: tuple[int, ...] = (1, 2, 4, 4)
    depth: tuple[int, ...] = (1, 1, 1, 0)
    middle: int = 1
    context: int = 768
    is_linear: bool = False
    added: int = 0
    vae_width: int = 128
    vae_mult: tuple[int, ...] = (1, 2, 4, 4)
    vae_layers: int = 2
    vocabulary: int = 49408
    text_width: int = 768
    text_layers: int = 12
    text2_width: int = 0
    text2_layers: int = 0


SD1 = Sizes()
SD2 = Sizes(context=1024, is_linear=True, text_width=1024, text_layers=24)
SDXL = Sizes(
    mult=(1, 2, 4),
    depth=(0, 2, 10),
    middle=10,
    context=2048,
    is_linear=True,
    added=2816,
    text2_width=1280,
    text2_layers=32,
)
_TOY = {"context": 64, "vae_width": 32, "vae_mult": (1, 1, 1, 1), "vae_layers": 1, "text_width": 64, "text_layers": 3}
TOY_SD1 = replace(SD1, width=32, mult=(1, 2, 2, 2), **_TOY)
# Width 64, so that the rule of these two, heads of 64 channels, holds at every level.
TOY_SD2 = replace(SD2, width=64, mult=(1, 1, 2, 2), **_TOY)
TOY_SDXL = replace(
    SDXL, width=64, mult=(1, 1, 2), depth=(0, 1, 2), middle=2, added=64 + 6 * 32, text2_width=64, text2_layers=3,
    **{**_TOY, "context": 128},
)  # fmt: skip


def unet(size: Sizes) -> Shapes:
    """UNetModel of ldm.modules.diffusionmodules.openaimodel, two residual blocks a level."""
    wide, out = size.width * 4, {}
    out |= _linear("time_embed.0", size.width, wide) | _linear("time_embed.2", wide, wide)
    if size.added:
        out |= _linear("label_emb.0.0", size.added, wide) | _linear("label_emb.0.2", wide, wide)
    out |= _conv("input_blocks.0.0", 4, size.width, 3)
    channels, kept, index = size.width, [size.width], 1
    for level, mult in enumerate(size.mult):
        for _ in range(2):
            out |= _resnet(f"input_blocks.{index}.0", channels, mult * size.width, wide)
            channels = mult * size.width
            out |= _transformer(f"input_blocks.{index}.1", channels, size.depth[level], size)
            kept.append(channels)
            index += 1
        if level < len(size.mult) - 1:
            out |= _conv(f"input_blocks.{index}.0.op", channels, channels, 3)
            kept.append(channels)
            index += 1
    out |= _resnet("middle_block.0", channels, channels, wide) | _resnet("middle_block.2", channels, channels, wide)
    out |= _transformer("middle_block.1", channels, size.middle, size)
    index = 0
    for level in reversed(range(len(size.mult))):
        for layer in range(3):
            wanted = size.mult[level] * size.width
            out |= _resnet(f"output_blocks.{index}.0", channels + kept.pop(), wanted, wide)
            channels = wanted
            out |= _transformer(f"output_blocks.{index}.1", channels, size.depth[level], size)
            if level and layer == 2:
                part = 2 if size.depth[level] else 1
                out |= _conv(f"output_blocks.{index}.{part}.conv", channels, channels, 3)
            index += 1
    out |= _norm("out.0", channels) | _conv("out.2", channels, 4, 3)
    return _under("model.diffusion_model.", out)


def vae(size: Sizes) -> Shapes:
    """AutoencoderKL of ldm.models.autoencoder."""
    widths, out = [mult * size.vae_width for mult in size.vae_mult], {}
    channels = size.vae_width
    out |= _conv("encoder.conv_in", 3, channels, 3)
    for level, wanted in enumerate(widths):
        for layer in range(size.vae_layers):
            out |= _vae_resnet(f"encoder.down.{level}.block.{layer}", channels, wanted)
            channels = wanted
        if level < len(widths) - 1:
            out |= _conv(f"encoder.down.{level}.downsample.conv", channels, channels, 3)
    out |= _vae_middle("encoder.mid", channels) | _norm("encoder.norm_out", channels)
    out |= _conv("encoder.conv_out", channels, 8, 3) | _conv("quant_conv", 8, 8, 1) | _conv("post_quant_conv", 4, 4, 1)
    out |= _conv("decoder.conv_in", 4, channels, 3) | _vae_middle("decoder.mid", channels)
    for level, wanted in reversed(list(enumerate(widths))):
        for layer in range(size.vae_layers + 1):
            out |= _vae_resnet(f"decoder.up.{level}.block.{layer}", channels, wanted)
            channels = wanted
        if level:
            out |= _conv(f"decoder.up.{level}.upsample.conv", channels, channels, 3)
    out |= _norm("decoder.norm_out", channels) | _conv("decoder.conv_out", channels, 3, 3)
    return _under("first_stage_model.", out)


def clip(prefix: str, size: Sizes) -> Shapes:
    """transformers 4's CLIPTextModel, as SD1.x files hold it, with the old stray position_ids."""
    wide, out = size.text_width, {}
    out["embeddings.token_embedding.weight"] = (size.vocabulary, wide)
    out["embeddings.position_embedding.weight"] = (77, wide)
    out["embeddings.position_ids"] = (1, 77)
    for index in range(size.text_layers):
        layer = f"encoder.layers.{index}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            out |= _linear(f"{layer}.self_attn.{part}", wide, wide)
        out |= _norm(f"{layer}.layer_norm1", wide) | _norm(f"{layer}.layer_norm2", wide)
        out |= _linear(f"{layer}.mlp.fc1", wide, 4 * wide) | _linear(f"{layer}.mlp.fc2", 4 * wide, wide)
    return _under(prefix + "text_model.", out | _norm("final_layer_norm", wide))


def open_clip(prefix: str, wide: int, layers: int, vocabulary: int = 49408) -> Shapes:
    """OpenCLIP's text tower with its projection and temperature."""
    out: Shapes = {"positional_embedding": (77, wide), "token_embedding.weight": (vocabulary, wide), "logit_scale": ()}
    out |= {"text_projection": (wide, wide)} | _norm("ln_final", wide)
    for index in range(layers):
        layer = f"transformer.resblocks.{index}"
        out |= {f"{layer}.attn.in_proj_weight": (3 * wide, wide), f"{layer}.attn.in_proj_bias": (3 * wide,)}
        out |= _linear(f"{layer}.attn.out_proj", wide, wide)
        out |= _norm(f"{layer}.ln_1", wide) | _norm(f"{layer}.ln_2", wide)
        out |= _linear(f"{layer}.mlp.c_fc", wide, 4 * wide) | _linear(f"{layer}.mlp.c_proj", 4 * wide, wide)
    return _under(prefix, out)


def checkpoint(size: Sizes) -> Shapes:
    """Everything a full file holds."""
    shapes = unet(size) | vae(size)
    if size.text2_layers:
        shapes |= clip("conditioner.embedders.0.transformer.", size)
        return shapes | open_clip(
            "conditioner.embedders.1.model.", size.text2_width, size.text2_layers, size.vocabulary
        )
    if size.is_linear:
        return shapes | open_clip("cond_stage_model.model.", size.text_width, size.text_layers, size.vocabulary)
    return shapes | clip("cond_stage_model.transformer.", size)


def random_state(shapes: Shapes, dtype: torch.dtype = torch.float32, seed: int = 0) -> dict[str, torch.Tensor]:
    """Small random weights, norms near one: outputs stay finite and every tensor matters."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes.items():
        if key.endswith("position_ids"):
            state[key] = torch.arange(77)[None]
            continue
        value = torch.randn(shape, generator=generator) * 0.05
        is_norm = (
            any(word in key for word in ("norm", "ln_", "in_layers.0", "out_layers.0", "out.0")) and "weight" in key
        )
        state[key] = (value + 1 if is_norm else value).to(dtype)
    return state


def expanded_state(shapes: Shapes) -> dict[str, torch.Tensor]:
    """Full-size shapes on one number each: real pointers, no memory."""
    return {key: torch.full((1,), 0.01).expand(shape) if shape else torch.zeros(()) for key, shape in shapes.items()}


def save(path: Path, state: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None) -> Path:
    """Write ``state`` as a safetensors file."""
    save_file(dict(state), str(path), metadata)
    return path


def save_header(path: Path, shapes: Mapping[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Path:
    """A sparse file with that header: real length, no data on disk."""
    entries: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for key, shape in shapes.items():
        start, end = end, end + 2 * torch.Size(shape).numel()
        entries[key] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    raw = json.dumps(entries).encode()
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + end)
    return path


def _under(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + key: shape for key, shape in shapes.items()}


def _linear(name: str, inner: int, outer: int, has_bias: bool = True) -> Shapes:
    return {f"{name}.weight": (outer, inner)} | ({f"{name}.bias": (outer,)} if has_bias else {})


def _conv(name: str, inner: int, outer: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (outer, inner, kernel, kernel), f"{name}.bias": (outer,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _resnet(name: str, inner: int, outer: int, time: int) -> Shapes:
    out = _norm(f"{name}.in_layers.0", inner) | _conv(f"{name}.in_layers.2", inner, outer, 3)
    out |= _linear(f"{name}.emb_layers.1", time, outer)
    out |= _norm(f"{name}.out_layers.0", outer) | _conv(f"{name}.out_layers.3", outer, outer, 3)
    return out if inner == outer else out | _conv(f"{name}.skip_connection", inner, outer, 1)


def _vae_resnet(name: str, inner: int, outer: int) -> Shapes:
    out = _norm(f"{name}.norm1", inner) | _conv(f"{name}.conv1", inner, outer, 3)
    out |= _norm(f"{name}.norm2", outer) | _conv(f"{name}.conv2", outer, outer, 3)
    return out if inner == outer else out | _conv(f"{name}.nin_shortcut", inner, outer, 1)


def _vae_middle(name: str, width: int) -> Shapes:
    out = _vae_resnet(f"{name}.block_1", width, width) | _vae_resnet(f"{name}.block_2", width, width)
    out |= _norm(f"{name}.attn_1.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        out |= _conv(f"{name}.attn_1.{part}", width, width, 1)
    return out


def _transformer(name: str, width: int, depth: int, size: Sizes) -> Shapes:
    if not depth:
        return {}
    out = _norm(f"{name}.norm", width)
    for end in ("proj_in", "proj_out"):
        out |= _linear(f"{name}.{end}", width, width) if size.is_linear else _conv(f"{name}.{end}", width, width, 1)
    for index in range(depth):
        block = f"{name}.transformer_blocks.{index}"
        for part, inner in (("attn1", width), ("attn2", size.context)):
            out |= _linear(f"{block}.{part}.to_q", width, width, has_bias=False)
            out |= _linear(f"{block}.{part}.to_k", inner, width, has_bias=False)
            out |= _linear(f"{block}.{part}.to_v", inner, width, has_bias=False)
            out |= _linear(f"{block}.{part}.to_out.0", width, width)
            out |= _norm(f"{block}.norm{1 if part == 'attn1' else 2}", width)
        out |= _norm(f"{block}.norm3", width)
        out |= _linear(f"{block}.ff.net.0.proj", width, 8 * width) | _linear(f"{block}.ff.net.2", 4 * width, width)
    return out
