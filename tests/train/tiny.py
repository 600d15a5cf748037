"""A real diffusers/transformers checkpoint of a few thousand weights, and a project of drawn photos to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from lora_forge.config import Family, TrainConfig
from lora_forge.dataset.prepare import PrepareSettings, prepare
from lora_forge.dataset.prepared import PreparedSet
from lora_forge.dataset.project import Project
from lora_forge.events import CommandBox, Event
from lora_forge.model.latents import BegunLatent, Latent, LatentEncoder
from lora_forge.model.schedule import alphas_cumprod
from lora_forge.model.tokenizer_files import load_tokenizer
from lora_forge.ports import BaseInfo, BorrowedModel, TextTower
from lora_forge.train import encoding
from lora_forge.train.ranks import Ranks
from lora_forge.train.run import RunResult, train

WIDTH = 16


def build_model(seed: int = 0, dtype: torch.dtype = torch.float32, prediction_type: Any = "epsilon") -> BorrowedModel:
    """Weights are a function of ``seed``; the global generator is put back."""
    kept = torch.get_rng_state()
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(WIDTH, WIDTH),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
    )
    text = CLIPTextModel(
        CLIPTextConfig(hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=2, num_attention_heads=2)
    )
    torch.set_rng_state(kept)
    for module in (unet, vae, text):
        if dtype is not torch.float32:
            module.to(dtype)
        module.requires_grad_(False).eval()
    return BorrowedModel(
        info=BaseInfo("tiny", Family.SD1, prediction_type, "made so"),
        unet=unet,
        vae=vae,
        text_towers=(TextTower(text, load_tokenizer(), 49407, "lora_te"),),
        alphas_cumprod=alphas_cumprod(),
        vae_scale=0.18215,
        device=torch.device("cpu"),
        dtype=dtype,
    )


def build_project(root: Path, sizes: tuple[tuple[int, int], ...] = ((70, 70), (90, 60), (70, 70))) -> PreparedSet:
    """One drawn photo for each size (width, height), with captions; prepared at 64 px."""
    project = Project.create(root)
    folder = root / "images" / "subject"
    folder.mkdir(parents=True, exist_ok=True)
    for number, (width, height) in enumerate(sizes):
        values = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"photo{number}.png")
        (folder / f"photo{number}.txt").write_text(f"ohwx, tag{number}, hair, dress, snow", encoding="utf-8")
    return prepare(Project.load(project.root), PrepareSettings(64, True, 16, 32, 128), lambda _: None)


def config(**changes: Any) -> TrainConfig:
    """Two epochs of a few steps."""
    values: dict[str, Any] = {
        "name": "tiny",
        "trigger_word": "ohwx",
        "epochs": 2,
        "repeats": 2,
        "batch_size": 2,
        "resolution_px": 64,
        "rank": 2,
        "alpha": 2.0,
        "learning_rate": 1e-2,
        "state_every_steps": 0,
        "validation_photos": 0,
        "preview_steps": 2,
    }
    return TrainConfig(**{**values, **changes})


def refuse_latents(monkeypatch: pytest.MonkeyPatch, bad_seed: int) -> None:
    """Let the VAE make nothing finite of the image whose draw has ``bad_seed``."""

    class Refusing(LatentEncoder):
        def finish(self, begun: BegunLatent) -> Latent | None:
            return None if begun.seed == bad_seed else super().finish(begun)

    monkeypatch.setattr(encoding, "LatentEncoder", Refusing)


class Recorder:
    """Keeps the events, and may act on them."""

    def __init__(self, act: Any = None) -> None:
        self.events: list[Event] = []
        self._act = act

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if self._act is not None:
            self._act(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def run(
    where: Path,
    settings: TrainConfig,
    prepared: PreparedSet,
    model: BorrowedModel | None = None,
    emit: Any = None,
    commands: CommandBox | None = None,
    resume: bool = False,
    ranks: Ranks | None = None,
) -> RunResult:
    """Train in ``where/run`` into ``where/out``."""
    return train(
        model or build_model(),
        prepared,
        settings,
        where / "run",
        where / "out",
        emit or Recorder(),
        commands or CommandBox(),
        resume=resume,
        ranks=ranks,
    )
