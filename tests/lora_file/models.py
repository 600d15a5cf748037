"""Models to put adapters on: SD1.5 and SDXL with their real topology, tiny, or full size without memory."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lora_forge.config import Family
from lora_forge.ports import BaseInfo, BorrowedModel, TextTower

_SDXL_BLOCKS = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": [1, 2, 10],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
}


def small(dtype: torch.dtype = torch.float32) -> BorrowedModel:
    """As SD1.5 but with two blocks of one layer: 48 adapters in the UNet, 12 in the text tower."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            block_out_channels=(8, 16),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            attention_head_dim=2,
            cross_attention_dim=16,
            norm_num_groups=4,
        )
        return _borrowed(Family.SD1, unet, {"lora_te": _tower(16, 2)}, dtype, "cpu")


def tiny(family: Family = Family.SD1, dtype: torch.dtype = torch.float32, device: str = "cpu") -> BorrowedModel:
    """The UNet's real topology, widths of 8 to 32, text towers of two layers; weights from seed 0; frozen."""
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        if family is Family.SDXL:
            unet = UNet2DConditionModel(
                block_out_channels=(8, 16, 16),
                attention_head_dim=2,
                cross_attention_dim=32,
                norm_num_groups=4,
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=16 + 6 * 8,
                **_SDXL_BLOCKS,
            )
            modules = {"lora_te1": _tower(16, 2), "lora_te2": _tower(16, 2, CLIPTextModelWithProjection)}
        else:
            unet = UNet2DConditionModel(
                sample_size=64,
                block_out_channels=(8, 16, 32, 32),
                attention_head_dim=2,
                cross_attention_dim=16,
                norm_num_groups=4,
            )
            modules = {"lora_te": _tower(16, 2)}
    return _borrowed(family, unet, modules, dtype, device)


def full_size(family: Family) -> BorrowedModel:
    """The real sizes on the meta device."""
    with torch.device("meta"):
        if family is Family.SDXL:
            unet = UNet2DConditionModel(
                block_out_channels=(320, 640, 1280),
                attention_head_dim=[5, 10, 20],
                cross_attention_dim=2048,
                addition_time_embed_dim=256,
                projection_class_embeddings_input_dim=2816,
                **_SDXL_BLOCKS,
            )
            modules = {"lora_te1": _tower(768, 12), "lora_te2": _tower(1280, 32, CLIPTextModelWithProjection)}
        elif family is Family.SD2:
            unet = UNet2DConditionModel(
                cross_attention_dim=1024, attention_head_dim=[5, 10, 20, 20], use_linear_projection=True
            )
            modules = {"lora_te": _tower(1024, 23)}
        else:
            unet = UNet2DConditionModel(cross_attention_dim=768)
            modules = {"lora_te": _tower(768, 12)}
    return _borrowed(family, unet, modules, torch.float32, "meta")


def inputs(model: BorrowedModel, batch: int = 2, size: int = 8) -> dict[str, Any]:
    """Arguments for the UNet, the same each time."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(model.dtype)

    values: dict[str, Any] = {
        "sample": draw(batch, 4, size, size),
        "timestep": torch.tensor([3, 700][:batch]),
        "encoder_hidden_states": draw(batch, 7, model.unet.config.cross_attention_dim),
    }
    if model.info.family is Family.SDXL:
        values["added_cond_kwargs"] = {"text_embeds": draw(batch, 16), "time_ids": torch.full((batch, 6), 64.0)}
    return values


def run(model: BorrowedModel) -> torch.Tensor:
    """The UNet's output for :func:`inputs`."""
    output: torch.Tensor = model.unet(**inputs(model)).sample
    return output


def _tower(width: int, layers: int, kind: Any = CLIPTextModel) -> Any:
    return kind(
        CLIPTextConfig(
            vocab_size=1000,
            bos_token_id=998,
            eos_token_id=999,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            projection_dim=width,
        )
    )


def _borrowed(family: Family, unet: Any, modules: dict[str, Any], dtype: torch.dtype, device: str) -> BorrowedModel:
    for module in (unet, *modules.values()):
        if dtype is not torch.float32:
            module.to(dtype)
        module.requires_grad_(False).eval()
    towers = tuple(TextTower(module, None, 49407, prefix) for prefix, module in modules.items())
    info = BaseInfo("tiny", family, "epsilon", "a test")
    return BorrowedModel(info, unet, None, towers, torch.zeros(1000), 0.18215, torch.device(device), dtype)
