"""diffusers' own loader gives from our file what the live adapters give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from diffusers.utils import USE_PEFT_BACKEND

from lora_forge.config import Family, TrainConfig
from lora_forge.lora_file.weights import LoraModule
from lora_forge.lora_file.writer import load_lora, save_lora
from lora_forge.model.tokenizer_files import load_tokenizer
from lora_forge.ports import BorrowedModel
from lora_forge.train.network import Network
from tests.lora_file.models import run, tiny

pytestmark = pytest.mark.skipif(
    not USE_PEFT_BACKEND, reason="diffusers' own loader needs a newer transformers than AUTOMATIC1111's"
)

TOKENS = torch.tensor([[998, 320, 7, 999]])


def pipeline(model: BorrowedModel) -> Any:
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4)
    towers = [tower.module for tower in model.text_towers]
    scheduler = DDIMScheduler(steps_offset=1, clip_sample=False)
    common = {"vae": vae, "unet": model.unet, "scheduler": scheduler, "tokenizer": load_tokenizer()}
    if model.info.family is Family.SDXL:
        return StableDiffusionXLPipeline(
            **common, text_encoder=towers[0], text_encoder_2=towers[1], tokenizer_2=load_tokenizer()
        )
    return StableDiffusionPipeline(
        **common, text_encoder=towers[0], safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )


def texts(model: BorrowedModel) -> list[torch.Tensor]:
    return [tower.module(TOKENS, output_hidden_states=True).hidden_states[-1] for tower in model.text_towers]


def trained_file(model: BorrowedModel, path: Path, config: TrainConfig) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Save adapters that say something; what the model gives with them live, at half precision of the file."""
    generator = torch.Generator().manual_seed(3)
    with Network.attach(model, config) as network:
        weights = {
            name: LoraModule(module.down, torch.randn(module.up.shape, generator=generator) * 0.1, module.alpha)
            for name, module in network.weights().items()
        }
        save_lora(path, weights, {})
        network.load_weights(load_lora(path).weights)
        return run(model), texts(model)


@pytest.mark.slow
@pytest.mark.parametrize("family", [Family.SD1, Family.SDXL])
def test_load_lora_weights_gives_the_live_output(family: Family, tmp_path: Path) -> None:
    model = tiny(family)
    path = tmp_path / "ohwx-000001.safetensors"
    config = TrainConfig(rank=4, alpha=3.0, te_learning_rate=1e-5)
    with torch.no_grad():
        base, base_texts = run(model), texts(model)
        live, live_texts = trained_file(model, path, config)
        assert (live - base).abs().max() > 0.01
        pipe = pipeline(model)
        pipe.load_lora_weights(str(tmp_path), weight_name=path.name)
        torch.testing.assert_close(run(model), live, atol=1e-5, rtol=1e-4)
        for read, lived, plain in zip(texts(model), live_texts, base_texts, strict=True):
            assert (lived - plain).abs().max() > 0.01
            torch.testing.assert_close(read, lived, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_convolution_adapters_are_read_too(tmp_path: Path) -> None:
    model = tiny()
    path = tmp_path / "ohwx-000001.safetensors"
    with torch.no_grad():
        live, _ = trained_file(model, path, TrainConfig(rank=4, conv_rank=2, conv_alpha=3.0))
        pipeline(model).load_lora_weights(str(tmp_path), weight_name=path.name)
        torch.testing.assert_close(run(model), live, atol=1e-5, rtol=1e-4)
