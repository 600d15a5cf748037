"""What a file is when it is not a checkpoint we train on: told from its tensors' names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lora_forge.errors import CheckpointError

CHOOSE = "Choose a full SD1.x, SD2.x or SDXL checkpoint (.safetensors)."


@dataclass(frozen=True)
class Sign:
    """A sentence about the file, and the tensor names (regular expression, searched) that prove it."""

    what: str
    pattern: re.Pattern[str]


def _sign(what: str, *patterns: str) -> Sign:
    return Sign(what, re.compile("|".join(patterns)))


# The first match wins: what is added to a model comes before models, narrow signs before wide ones.
SIGNS = (
    _sign(
        "{name} is a LoRA, not a checkpoint.",
        r"\.?lora_(down|up|A|B|mid)\.", r"\.lora\.(down|up)\.", r"hada_w[12]", r"lokr_w[12]", r"oft_(blocks|diag)",
        r"\.lora_magnitude_vector", r"\.dora_scale", r"_lora\.(down|up)\.",
    ),
    _sign("{name} is an IP-Adapter, not a checkpoint.", r"^ip_adapter\.", r"^image_proj\.", r"to_[kv]_ip\.weight"),
    _sign(
        "{name} is a ControlNet, not a checkpoint.",
        r"^control_model\.", r"controlnet_cond_embedding", r"^input_hint_block\.", r"^controlnet_", r"lllite_",
        r"^zero_convs\.", r"^control_all_x_embedder", r"^control_layers\.",
    ),
    _sign("{name} is a T2I-Adapter, not a checkpoint.", r"^adapter\.body\.", r"^body\.\d+\.resnets\.\d+\.block1"),
    _sign("{name} is an AnimateDiff motion module, not a checkpoint.", r"motion_modules\.", r"temporal_transformer\."),
    _sign(
        "{name} is a textual inversion embedding, not a checkpoint.",
        r"^emb_params$", r"^string_to_param", r"^string_to_token", r"^<.+>$", r"^clip_[lg]$",
    ),
    _sign("{name} is a Flux model: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"double_blocks\.\d+\.img_attn", r"single_stream_modulation\."),
    _sign("{name} is a Chroma model: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"distilled_guidance_layer\."),
    _sign("{name} is a Stable Diffusion 3 model: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"joint_blocks\.\d+\."),
    _sign("{name} is a Stable Cascade model: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"^clip_txt_mapper\.", r"down_blocks\.\d+\.\d+\.channelwise"),
    _sign("{name} is a PixArt model: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"(^|\.)t_block\.1\.weight", r"^adaln_single\."),
    _sign("{name} is an AuraFlow model: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"cond_seq_linear\.", r"double_layers\.\d+\.attn\.w1q"),
    _sign("{name} is a HunyuanDiT model: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"mlp_t5\.\d\.", r"extra_embedder\."),
    _sign("{name} is a Wan video model: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"(^|\.)head\.modulation$"),
    _sign("{name} is a Qwen-Image model: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"transformer_blocks\.\d+\.img_mod\.", r"(^|\.)txt_norm\.weight"),
    _sign("{name} is a Lumina or Z-Image model: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"(^|\.)cap_embedder\.\d"),
    _sign("{name} is an LTX video model: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"(^|\.)patchify_proj\."),
    _sign("{name} is a Cosmos or Anima model: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"^net\.(x_embedder|blocks)\.", r"llm_adapter\."),
    _sign("{name} is a Mochi, HiDream or Sana model: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"attn\.qkv_x\.", r"double_stream_blocks\.", r"cross_attn\.kv_linear\."),
    _sign("{name} is a T5 text encoder, not a checkpoint.", r"^(encoder\.)?block\.\d+\.layer\.0\.SelfAttention", r"^encoder\.block\.\d+\."),
    _sign("{name} is a CLIP image encoder, not a checkpoint.", r"^(vision_model|visual)\."),
    _sign(
        "{name} is a text encoder alone, not a checkpoint.",
        r"^(text_model\.)?(encoder\.layers\.\d+\.self_attn|embeddings\.token_embedding)",
        r"^(model\.)?transformer\.resblocks\.", r"^model\.layers\.\d+\.self_attn\.",
    ),
    _sign(
        "{name} is a VAE alone, not a checkpoint.",
        r"^(first_stage_model\.|vae\.)?(encoder|decoder)\.(conv_in|mid\.|mid_block\.|conv1\.|middle\.)",
        r"^(encoder|decoder)\.layers\.\d+\.",
    ),
    _sign(
        "{name} is a UNet in diffusers' layout, not a whole checkpoint.",
        r"^(unet\.)?(down_blocks|up_blocks)\.\d+\.(attentions|resnets)\.", r"^(unet\.)?time_embedding\.linear_1\.",
    ),
    _sign("{name} is a diffusion transformer of a family that LoRA Forge doesn't train.", r"adaLN", r"(^|\.)x_embedder\.", r"scale_shift_table"),
    _sign("{name} is an upscaler, not a checkpoint.", r"RRDB_trunk", r"^body\.\d+\.rdb1", r"^model\.1\.sub\.", r"^conv_first\."),
    _sign("{name} is a UNet without its prefix, not a whole checkpoint.", r"^input_blocks\.\d+\."),
)  # fmt: skip


def refuse(names: Iterable[str], file_name: str) -> CheckpointError:
    """The error that says what a file with these tensor names is, as well as can be told."""
    every = tuple(names)
    for sign in SIGNS:
        if any(map(sign.pattern.search, every)):
            return CheckpointError(sign.what, CHOOSE, name=file_name)
    if not every:
        return CheckpointError("{name} is a safetensors file without any tensor.", CHOOSE, name=file_name)
    return CheckpointError(
        "{name} holds nothing LoRA Forge knows (its first tensor is {first!r}).", CHOOSE, name=file_name, first=min(every)
    )
