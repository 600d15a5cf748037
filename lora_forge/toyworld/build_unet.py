"""Stage 4 of the build: the UNet learns to paint what captions say (the text encoder goes on learning, slowly).

Plain noise prediction on cached, whitened latents; batch 32, cosine rate, averaged weights. Cells of the head weigh
more in the loss, so that eyes and smile are not drowned by the scenery. Saved every few minutes, so it can go on.
"""

from __future__ import annotations

import copy
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lora_forge.toyworld.build_text import RowTraining, text_states
from lora_forge.toyworld.build_vae import HalfVae
from lora_forge.toyworld.captions import Captioner, Line, pad
from lora_forge.toyworld.nets import POSITIONS, SCALING, build_text_encoder, build_unet
from lora_forge.toyworld.world import Look

SAVE_EVERY_S = 120.0


@dataclass(frozen=True)
class UnetPlan:
    """Numbers of the UNet stage."""

    steps: int = 3000
    batch: int = 32
    rate: float = 1e-3
    text_rate: float = 2e-4
    averaging: float = 0.998
    seed: int = 4


def alphas() -> Tensor:
    """Cumulative alphas (1000,) of Stable Diffusion 1.x: scaled-linear betas 0.00085 .. 0.012."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    return torch.cumprod(1 - betas, 0).float()


@torch.no_grad()
def cache_latents(vae: HalfVae, pictures: Tensor) -> Tensor:
    """uint8 (N, 3, 64, 64) -> scaled mean latents (N, 4, 8, 8)."""
    parts = [vae.encode(part.float() / 127.5 - 1)[0] for part in torch.split(pictures, 64)]
    return torch.cat(parts) * SCALING


def head_weight() -> Tensor:
    """(1, 1, 8, 8), mean 1: cells of the head count up to 2.5 times the scenery's."""
    weight = torch.ones(1, 1, 8, 8)
    weight[..., 1:7, 1:7] = 1.5
    weight[..., 2:6, 1:7] = 2.5
    return weight / weight.mean()


class UnetStage:
    """UNet, text encoder, their optimizer and averaged copies, with save and resume."""

    def __init__(self, text_weights: dict[str, Tensor], plan: UnetPlan, save_path: Path) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.save_path, self.step = plan, save_path, 0
        self.captioner = Captioner()
        self.text = build_text_encoder()
        self.text.load_state_dict(text_weights)
        self.unet = build_unet().to(memory_format=torch.channels_last)  # 15 % faster on CPU
        self.rows = RowTraining(self.text, self.captioner.trained_rows)
        self.text_parameters = [p for p in self.text.parameters() if p.requires_grad] + [self.rows.values]
        groups = [{"params": list(self.unet.parameters()), "rate": plan.rate, "weight_decay": 1e-2},
                  {"params": self.text_parameters, "rate": plan.text_rate, "weight_decay": 0.0}]  # fmt: skip
        self.optimizer = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.99))
        self.averages = [p.detach().clone() for p in self.parameters()]
        if save_path.exists():
            self._resume()

    def parameters(self) -> list[Tensor]:
        """Everything trained, UNet first."""
        return [*self.unet.parameters(), *self.text_parameters]

    def save(self) -> None:
        """Write the whole stage to disk, atomically."""
        state = {"step": self.step, "unet": self.unet.state_dict(), "text": [p.data for p in self.text_parameters],
                 "optimizer": self.optimizer.state_dict(), "averages": self.averages}  # fmt: skip
        partial = self.save_path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.save_path)

    @torch.no_grad()
    def _resume(self) -> None:
        state = torch.load(self.save_path, weights_only=True)
        self.step = state["step"]
        self.unet.load_state_dict(state["unet"])
        for mine, saved in zip(self.text_parameters, state["text"], strict=True):
            mine.data.copy_(saved)
        self.optimizer.load_state_dict(state["optimizer"])
        self.averages = state["averages"]

    @torch.no_grad()
    def average(self) -> None:
        """Exponential moving average of all trained weights, warmed up over the first steps."""
        keep = min(self.plan.averaging, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.averages, [p.detach() for p in self.parameters()], 1 - keep)

    @torch.no_grad()
    def averaged_models(self) -> tuple[Any, Any]:
        """Copies of (unet, text) with the averaged weights, ready to sample."""
        held = [p.detach().clone() for p in self.parameters()]
        for mine, mean in zip(self.parameters(), self.averages, strict=True):
            mine.data.copy_(mean)
        self.rows.write_back()
        unet, text = copy.deepcopy(self.unet).eval(), copy.deepcopy(self.text).eval()
        for mine, old in zip(self.parameters(), held, strict=True):
            mine.data.copy_(old)
        return unet, text

    def set_rate(self) -> None:
        """Warm-up over 100 steps, then cosine to nearly nothing."""
        share = min(1.0, (self.step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * self.step / self.plan.steps)) + 0.01)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * share

    def loss(self, latents: Tensor, lines: list[Line], length: int | None, generator: torch.Generator) -> Tensor:
        """Weighted mean square error of the predicted noise; latents (B, 4, 8, 8) scaled."""
        count = len(latents)
        share = torch.rand(count, generator=generator)
        timesteps = (1000 * share**0.7).long().clamp(max=999)
        noise = torch.randn(latents.shape, generator=generator)
        alpha = alphas()[timesteps].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        states = text_states(self.text, self.rows, pad(lines, length))
        predicted = self.unet(noisy, timesteps, states).sample
        error: Tensor = ((predicted - noise).square() * head_weight()).mean()
        return error


def train_unet(latents: Tensor, looks: list[Look], stage: UnetStage, until: int | None = None) -> None:
    """Run (or go on with) the stage to ``until`` or its planned end; every draw is a function of (seed, step)."""
    plan, started, saved = stage.plan, time.time(), time.time()
    losses: list[float] = []
    while stage.step < (plan.steps if until is None else until):
        rng = random.Random(plan.seed * 1_000_003 + stage.step)
        generator = torch.Generator().manual_seed(rng.getrandbits(62))
        rows = [rng.randrange(len(looks)) for _ in range(plan.batch)]
        lines = [Line() if rng.random() < 0.1 else stage.captioner.line(looks[row], rng) for row in rows]
        length = POSITIONS if rng.random() < 0.25 else None
        stage.set_rate()
        loss = stage.loss(latents[rows], lines, length, generator)
        stage.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(stage.parameters(), 1.0)
        stage.optimizer.step()
        stage.step += 1
        stage.average()
        losses.append(loss.item())
        if stage.step % 50 == 0:
            print(f"unet {stage.step} loss {sum(losses[-50:]) / 50:.4f} {time.time() - started:.0f} s", flush=True)
        if time.time() - saved > SAVE_EVERY_S or stage.step == plan.steps:
            stage.save()
            saved = time.time()
