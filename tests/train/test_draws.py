"""Draws are functions of what they are for, and leave the global generators alone."""

from __future__ import annotations

import random

import numpy as np
import torch

from lora_forge.train import draws
from lora_forge.train.draws import Visit

VISIT = Visit(0, "abc", 1, 0)


def test_the_same_visit_draws_the_same_and_another_draws_anew() -> None:
    first, shift = draws.noise(VISIT, 7, (4, 8, 8))
    assert torch.equal(first, draws.noise(VISIT, 7, (4, 8, 8))[0])
    assert shift.shape == (4, 1, 1)
    others = [(Visit(0, "abc", 2, 0), 7), (Visit(0, "abc", 1, 1), 7), (Visit(0, "abd", 1, 0), 7), (VISIT, 8)]
    assert all(not torch.equal(first, draws.noise(visit, seed, (4, 8, 8))[0]) for visit, seed in others)


def test_the_place_in_the_set_does_not_matter() -> None:
    assert draws.timestep(VISIT, 3) == draws.timestep(Visit(9, "abc", 1, 0), 3)


def test_timesteps_and_flips_are_even() -> None:
    visits = [Visit(0, str(n), 1, 0) for n in range(4000)]
    steps = torch.tensor([draws.timestep(v, 0) for v in visits]).float()
    assert 0 <= steps.min() < 5
    assert 995 < steps.max() <= 999
    assert abs(steps.mean().item() - 499.5) < 4 * 288.7 / 4000**0.5
    assert abs(sum(draws.is_flipped(v, 0) for v in visits) / 4000 - 0.5) < 4 * 0.5 / 4000**0.5


def test_noise_is_standard_normal() -> None:
    values, _ = draws.noise(VISIT, 0, (4, 64, 64))
    assert abs(values.mean().item()) < 4 / 128
    assert abs(values.std().item() - 1) < 0.03


def test_global_generators_stay_where_they_are() -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()
    draws.noise(VISIT, 0, (4, 8, 8))
    draws.caption_rng(VISIT, 0).random()
    draws.is_flipped(VISIT, 0)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert str(before[2]) == str(np.random.get_state())
