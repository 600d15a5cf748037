"""A few lines of sampler for the build's own checks: DPM++ 2M over trailing timesteps, with guidance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from lora_forge.toyworld.nets import LATENT_CHANNELS, LATENT_PX, POSITIONS, SCALING


def encode_prompts(text: Any, tokenizer: Any, prompts: Sequence[str]) -> Tensor:
    """Prompts -> (N, 77, 64) text states, each distinct prompt encoded once."""
    distinct = list(dict.fromkeys(prompts))
    ids = tokenizer(distinct, padding="max_length", max_length=POSITIONS, truncation=True, return_tensors="pt")
    states = torch.cat([text(batch).last_hidden_state for batch in torch.split(ids.input_ids, 64)])
    index = {prompt: k for k, prompt in enumerate(distinct)}
    return states[[index[prompt] for prompt in prompts]]


@torch.no_grad()
def sample_latents(unet: Any, context: Tensor, empty: Tensor, steps: int = 8, guidance: float = 4.0, seed: int = 0,
                   ) -> Tensor:  # fmt: skip
    """Scaled latents (N, 4, 8, 8) for text states (N, 77, 64) and those of the empty prompt (1, 77, 64)."""
    made: Any = DPMSolverMultistepScheduler
    scheduler = made(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    count = len(context)
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(count, LATENT_CHANNELS, LATENT_PX, LATENT_PX, generator=generator)
    both = torch.cat([empty.expand(count, -1, -1), context]) if guidance != 1.0 else context
    for timestep in scheduler.timesteps:
        doubled = torch.cat([latents, latents]) if guidance != 1.0 else latents
        noise = unet(doubled, timestep, both).sample
        if guidance != 1.0:
            without, with_prompt = noise.chunk(2)
            noise = without + guidance * (with_prompt - without)
        latents = scheduler.step(noise, timestep, latents).prev_sample
    return latents


@torch.no_grad()
def generate(unet: Any, text: Any, vae: Any, tokenizer: Any, prompts: Sequence[str], steps: int = 8,
             guidance: float = 4.0, seed: int = 0, batch: int = 64) -> Tensor:  # fmt: skip
    """Pictures (N, 3, 64, 64) in about [-1, 1], one per prompt; the same seed gives the same noise per batch."""
    context = encode_prompts(text, tokenizer, prompts)
    empty = encode_prompts(text, tokenizer, [""])
    pictures = []
    for number, part in enumerate(torch.split(context, batch)):
        latents = sample_latents(unet, part, empty, steps, guidance, seed * 1000 + number)
        pictures.append(vae.decode(latents / SCALING).sample)
    return torch.cat(pictures)
