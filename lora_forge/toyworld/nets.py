"""The three networks at toy size: SD1.5 topology, widths of 64, so every constant SD code hard-codes stays true.

Only the number of text heads differs from what SD1.5's rule (hidden / 64) would guess; it travels in the file's
metadata (``lora_forge.te_heads``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import transformers

WIDTH = 64
LATENT_CHANNELS = 4
LATENT_PX = 8
SCALING = 0.18215
TEXT_HEADS = 4
TEXT_LAYERS = 3
VOCABULARY_SIZE = 49408
POSITIONS = 77

TOKENIZER_DIR = Path(__file__).resolve().parents[1] / "model" / "tokenizer"


def build_vae() -> Any:
    """AutoencoderKL: (B, 3, 64, 64) in [-1, 1] <-> (B, 4, 8, 8), 1.45 M parameters, random weights."""
    made: Any = diffusers.AutoencoderKL  # its constructor is untyped
    return made(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(WIDTH,) * 4,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=32,
        sample_size=64,
        scaling_factor=SCALING,
    )


def build_unet() -> Any:
    """UNet2DConditionModel: eps of (B, 4, 8, 8) scaled latents from (B, L, 64) text states, 4.3 M parameters."""
    made: Any = diffusers.UNet2DConditionModel
    return made(
        sample_size=LATENT_PX,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        block_out_channels=(WIDTH,) * 4,
        layers_per_block=2,
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
        norm_num_groups=32,
    )


def build_text_encoder() -> Any:
    """CLIPTextModel: full vocabulary and 77 positions, hidden 64, 3 layers, 3.3 M parameters (3.2 M of them rows)."""
    return transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=VOCABULARY_SIZE,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=TEXT_LAYERS,
            num_attention_heads=TEXT_HEADS,
            max_position_embeddings=POSITIONS,
            hidden_act="quick_gelu",
            projection_dim=WIDTH,
            bos_token_id=49406,
            eos_token_id=49407,
            pad_token_id=49407,
        )
    )


def load_tokenizer() -> Any:
    """The CLIP tokenizer from the repository's own vocabulary files; never asks the network."""
    return transformers.CLIPTokenizer.from_pretrained(str(TOKENIZER_DIR), local_files_only=True)
