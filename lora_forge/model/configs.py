"""The configs diffusers and transformers need, read from tensor shapes.

Only what shapes can't tell (numbers of heads, activation) follows a family's rule, or the file's own
``lora_forge.*`` metadata; so a checkpoint of any width goes through the same code as a full-size one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from lora_forge.config import Family
from lora_forge.errors import CheckpointError
from lora_forge.model import keymap

Shapes = Mapping[str, tuple[int, ...]]

SD1_HEADS = 8
HEAD_WIDTH = 64  # SD2, SDXL and every CLIP tower: heads = width / 64
NORM_GROUPS = 32
BOS_ID, EOS_ID = 49406, 49407


def unet_config(shapes: Shapes, family: Family, heads: int | None = None) -> dict[str, Any]:
    """Arguments of UNet2DConditionModel for an LDM UNet; ``shapes`` by full LDM key, ``heads`` overrides the rule.

    Raises:
        CheckpointError: the blocks don't form a Stable Diffusion UNet.
    """
    inner = _cut(shapes, keymap.UNET_PREFIX)
    try:
        widths, layers, depths = _unet_levels(inner)
        context = next(shape[1] for key, shape in inner.items() if key.endswith("attn2.to_k.weight"))
        config: dict[str, Any] = {
            "in_channels": inner["input_blocks.0.0.weight"][1],
            "out_channels": inner["out.2.weight"][0],
            "block_out_channels": widths,
            "layers_per_block": layers,
            "down_block_types": tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths),
            "up_block_types": tuple("CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)),
            "cross_attention_dim": context,
            "norm_num_groups": NORM_GROUPS,
        }
        middle = _depth(inner, "middle_block.1.")
    except (KeyError, IndexError, StopIteration) as cause:
        what = "The UNet in this file lacks parts of a Stable Diffusion UNet ({cause})."
        raise CheckpointError(what, cause=cause) from cause
    config["transformer_layers_per_block"] = (*(depth or 1 for depth in depths[:-1]), depths[-1] or middle)
    # diffusers' "attention_head_dim" is the number of heads, a name it kept for old configs' sake.
    per_width = tuple(max(1, width // HEAD_WIDTH) for width in widths)
    config["attention_head_dim"] = heads or (SD1_HEADS if family is Family.SD1 else per_width)
    config["use_linear_projection"] = family is not Family.SD1
    config["sample_size"] = 128 if family is Family.SDXL else 64
    if family is Family.SDXL:
        config |= _sdxl_conditioning(shapes, inner)
    return config


def _sdxl_conditioning(shapes: Shapes, inner: Shapes) -> dict[str, Any]:
    added = inner["label_emb.0.0.weight"][1]
    projection = shapes.get(keymap.SDXL_TEXT2_PREFIX + "text_projection")
    return {
        "addition_embed_type": "text_time",
        # the vector is pooled text and six numbers, each as a sinusoid of this many values
        "addition_time_embed_dim": (added - projection[1]) // 6 if projection else 256,
        "projection_class_embeddings_input_dim": added,
    }


def _unet_levels(inner: Shapes) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
    """Widths, layers per block and transformer depths (0: no attention) of the levels, outermost first."""
    count = 1 + max(_numbers(inner, r"input_blocks\.(\d+)\."))
    levels = 1 + sum(f"input_blocks.{index}.0.op.weight" in inner for index in range(count))
    layers = (count - levels) // levels
    starts = [1 + level * (layers + 1) for level in range(levels)]
    widths = tuple(inner[f"input_blocks.{start}.0.out_layers.3.weight"][0] for start in starts)
    return widths, layers, tuple(_depth(inner, f"input_blocks.{start}.1.") for start in starts)


def _depth(inner: Shapes, prefix: str) -> int:
    """Transformer blocks under ``prefix``."""
    return len(set(_numbers(inner, re.escape(prefix) + r"transformer_blocks\.(\d+)\.")))


def vae_config(shapes: Shapes, scale: float) -> dict[str, Any]:
    """Arguments of AutoencoderKL for an LDM VAE; ``scale`` multiplies latents (0.18215, SDXL 0.13025).

    Raises:
        CheckpointError: parts are missing.
    """
    inner = _cut(shapes, keymap.VAE_PREFIX)
    try:
        levels = 1 + max(_numbers(inner, r"encoder\.down\.(\d+)\."))
        layers = 1 + max(_numbers(inner, r"encoder\.down\.0\.block\.(\d+)\."))
        widths = tuple(inner[f"encoder.down.{level}.block.0.conv1.weight"][0] for level in range(levels))
        return {
            "in_channels": inner["encoder.conv_in.weight"][1],
            "out_channels": inner["decoder.conv_out.weight"][0],
            "latent_channels": inner["post_quant_conv.weight"][0],
            "down_block_types": ("DownEncoderBlock2D",) * levels,
            "up_block_types": ("UpDecoderBlock2D",) * levels,
            "block_out_channels": widths,
            "layers_per_block": layers,
            "norm_num_groups": NORM_GROUPS,
            "scaling_factor": scale,
        }
    except (KeyError, ValueError) as cause:
        raise CheckpointError("The VAE in this file lacks parts ({cause}).", cause=cause) from cause


def text_config(shapes: Shapes, heads: int | None, activation: str, pad_token_id: int) -> dict[str, Any]:
    """Arguments of CLIPTextConfig; ``shapes`` by transformers 4 name (``text_model.encoder.layers...``).

    Raises:
        CheckpointError: parts are missing.
    """
    try:
        vocabulary, width = shapes["text_model.embeddings.token_embedding.weight"]
        projection = shapes.get("text_projection.weight", (width,))[0]
        return {
            "vocab_size": vocabulary,
            "hidden_size": width,
            "intermediate_size": shapes["text_model.encoder.layers.0.mlp.fc1.weight"][0],
            "num_hidden_layers": 1 + max(_numbers(shapes, r"text_model\.encoder\.layers\.(\d+)\.")),
            "num_attention_heads": heads or max(1, width // HEAD_WIDTH),
            "max_position_embeddings": shapes["text_model.embeddings.position_embedding.weight"][0],
            "hidden_act": activation,
            "projection_dim": projection,
            "bos_token_id": BOS_ID,
            "eos_token_id": EOS_ID,
            "pad_token_id": pad_token_id,
        }
    except (KeyError, ValueError) as cause:
        raise CheckpointError("The text encoder in this file lacks parts ({cause}).", cause=cause) from cause


def _cut(shapes: Shapes, prefix: str) -> dict[str, tuple[int, ...]]:
    return {key[len(prefix) :]: shape for key, shape in shapes.items() if key.startswith(prefix)}


def _numbers(keys: Iterable[str], pattern: str) -> list[int]:
    compiled = re.compile(pattern)
    return [int(match[1]) for match in map(compiled.match, keys) if match]
