"""Every random draw of a run, as a function of (seed, epoch, repeat, image): no generator lives longer than a call.

An image is met ``repeats`` times an epoch; each meeting is a :class:`Visit`. What is drawn for it does not depend on
the batch it falls into, so a run with half the batch and twice the accumulation sees the same noise.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from lora_forge.seeds import stable_seed

TIMESTEPS = 1000


@dataclass(frozen=True)
class Visit:
    """The ``repeat``-th meeting (from 0) with image number ``image`` of the prepared set in ``epoch`` (from 1).

    ``key`` names the image's pixels, and which of several equal ones it is.
    """

    image: int
    key: str
    epoch: int
    repeat: int

    def seed(self, run_seed: int, purpose: str) -> int:
        """The seed of one kind of draw for this visit."""
        return stable_seed(run_seed, purpose, self.epoch, self.repeat, self.key)


def cpu_generator(seed: int) -> torch.Generator:
    """A fresh generator on the CPU: draws are the same on every device."""
    return torch.Generator(device="cpu").manual_seed(seed)


def timestep(visit: Visit, run_seed: int) -> int:
    """Uniform over 0..999."""
    return visit.seed(run_seed, "timestep") % TIMESTEPS


def is_flipped(visit: Visit, run_seed: int) -> bool:
    """Heads or tails."""
    return visit.seed(run_seed, "flip") % 2 == 1


def caption_rng(visit: Visit, run_seed: int) -> random.Random:
    """For shuffling and dropping this visit's tags."""
    return random.Random(visit.seed(run_seed, "caption"))


def noise(visit: Visit, run_seed: int, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Standard normal float32 (C, h, w) on the CPU, and its channel shift (C, 1, 1) for the noise offset."""
    generator = cpu_generator(visit.seed(run_seed, "noise"))
    drawn = torch.randn(shape, generator=generator)
    return drawn, torch.randn((shape[0], 1, 1), generator=generator)


def latents_seed(image_key: str, flipped: bool) -> int:
    """Seed of the one draw from the VAE's distribution; free of the run's seed, so that runs can share a cache."""
    return stable_seed("latents", image_key, int(flipped))
