"""What a file is when it is not a checkpoint we train on: told from its tensors' names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lora_forge.errors import CheckpointError

CHOOSE = "Choose a full SD1.x, SD2.x or SDXL checkpoint (.safetensors)."


OTHER_FAMILY = "{name} is of the {family} family: LoRA Forge trains SD1.x, SD2.x and SDXL."


@dataclass(frozen=True)
class Sign:
    """A sentence about the file, and the tensor names (regular expression, searched) that prove it."""

    what: str
    pattern: re.Pattern[str]
    family: str = ""


def _sign(what: str, *patterns: str) -> Sign:
    return Sign(what, re.compile("|".join(patterns)))


def _family(family: str, *patterns: str) -> Sign:
    return Sign(OTHER_FAMILY, re.compile("|".join(patterns)), family)


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
    # both of these have Flux's double_blocks too
    _family("Chroma", r"distilled_guidance_layer\."),
    _family("Hunyuan Video", r"txt_in\.individual_token_refiner"),
    _family("Flux", r"double_blocks\.\d+\.img_attn", r"single_stream_modulation\."),
    _family("Stable Diffusion 3", r"joint_blocks\.\d+\."),
    _family("Stable Cascade", r"^clip_txt_mapper\.", r"down_blocks\.\d+\.\d+\.channelwise"),
    _family("PixArt", r"(^|\.)t_block\.1\.weight", r"^adaln_single\."),
    _family("AuraFlow", r"cond_seq_linear\.", r"double_layers\.\d+\.attn\.w1q"),
    _family("HunyuanDiT", r"mlp_t5\.\d\.", r"extra_embedder\."),
    _family("Wan", r"(^|\.)head\.modulation$"),
    _family("Qwen-Image", r"transformer_blocks\.\d+\.img_mod\.", r"(^|\.)txt_norm\.weight"),
    _family("Lumina or Z-Image", r"(^|\.)cap_embedder\.\d"),
    _family("LTX", r"(^|\.)patchify_proj\."),
    _family("Cosmos or Anima", r"^net\.(x_embedder|blocks)\.", r"llm_adapter\."),
    _family("Mochi, HiDream or Sana", r"attn\.qkv_x\.", r"double_stream_blocks\.", r"cross_attn\.kv_linear\."),
    _sign("{name} is a T5 text encoder, not a checkpoint.", r"^(encoder\.)?block\.\d+\.layer\.0\.SelfAttention"),
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
    _family("DiT (diffusion transformer)", r"adaLN", r"(^|\.)x_embedder\.", r"scale_shift_table"),
    _sign("{name} is an upscaler, not a checkpoint.", r"RRDB_trunk", r"^body\.\d+\.rdb1", r"^model\.1\.sub\."),
    _sign("{name} is a UNet without its prefix, not a whole checkpoint.", r"^input_blocks\.\d+\."),
)  # fmt: skip


def refuse(names: Iterable[str], file_name: str) -> CheckpointError:
    """The error that says what a file with these tensor names is, as well as can be told."""
    every = tuple(names)
    for sign in SIGNS:
        if any(map(sign.pattern.search, every)):
            return CheckpointError(sign.what, CHOOSE, name=file_name, family=sign.family)
    if not every:
        return CheckpointError("{name} is a safetensors file without any tensor.", CHOOSE, name=file_name)
    return CheckpointError(
        "{name} holds nothing LoRA Forge knows (its first tensor is {first!r}).",
        CHOOSE,
        name=file_name,
        first=min(every),
    )
