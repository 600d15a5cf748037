"""The objective against closed forms worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lora_forge.config import TrainConfig
from lora_forge.train import objective
from lora_forge.train.objective import Objective


def scaled_linear() -> torch.Tensor:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float()


def zero_terminal() -> torch.Tensor:
    roots = scaled_linear().double().sqrt()
    rescaled = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    return rescaled.square().float()


ACP = scaled_linear()
TYPES = ("epsilon", "v_prediction")


def test_snr_spans_the_known_range() -> None:
    values = objective.snr(torch.tensor([0, 999]), ACP)
    assert values[0].item() == pytest.approx(1175.5, rel=1e-3)
    assert values[1].item() == pytest.approx(0.0047, rel=1e-2)


@settings(deadline=None)
@given(st.integers(0, 999))
def test_noise_and_velocity_rotate_into_each_other(t: int) -> None:
    """(x_t, v) is (x_0, noise) turned by an angle: sqrt(a) x_t - sqrt(1-a) v gives x_0 back, and so on."""
    generator = torch.Generator().manual_seed(t)
    latents, noise = torch.randn(2, 1, 4, 2, 2, generator=generator)
    steps = torch.tensor([t])
    noisy = objective.add_noise(latents, noise, steps, ACP)
    v = objective.velocity(latents, noise, steps, ACP)
    signal, rest = ACP[t].sqrt(), (1 - ACP[t]).sqrt()
    assert_close(signal * noisy - rest * v, latents, atol=1e-5, rtol=0)
    assert_close(rest * noisy + signal * v, noise, atol=1e-5, rtol=0)


def test_add_noise_equals_the_ddpm_schedulers() -> None:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    latents, noise = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    steps = torch.tensor([0, 500, 999])
    acp = scheduler.alphas_cumprod
    assert_close(objective.add_noise(latents, noise, steps, acp), scheduler.add_noise(latents, noise, steps))
    assert_close(objective.velocity(latents, noise, steps, acp), scheduler.get_velocity(latents, noise, steps))


def test_min_snr_weights() -> None:
    snr = torch.tensor([0.1, 5.0, 20.0])
    assert_close(objective.min_snr_weight(snr, 5.0, "epsilon"), torch.tensor([1.0, 1.0, 0.25]))
    assert_close(objective.min_snr_weight(snr, 5.0, "v_prediction"), torch.tensor([0.1 / 1.1, 5 / 6, 5 / 21]))


def test_debiased_weights() -> None:
    snr = torch.tensor([0.25, 4.0, 5000.0])
    assert_close(objective.debiased_weight(snr, "epsilon"), torch.tensor([2.0, 0.5, 1 / math.sqrt(1000)]))
    assert_close(objective.debiased_weight(snr, "v_prediction"), torch.tensor([0.8, 0.2, 1 / 5001]))


def test_weights_are_finite_where_the_signal_ends() -> None:
    acp = zero_terminal()
    assert acp[999] == 0
    snr = objective.snr(torch.tensor([999]), acp)
    assert snr.item() == 0
    assert objective.min_snr_weight(snr, 5.0, "epsilon").item() == 1
    assert objective.min_snr_weight(snr, 5.0, "v_prediction").item() == 0
    assert objective.debiased_weight(snr, "epsilon").item() == pytest.approx(math.sqrt(1000))
    assert objective.debiased_weight(snr, "v_prediction").item() == 1


def test_velocity_at_zero_terminal_snr_is_minus_the_picture() -> None:
    latents, noise = torch.randn(2, 1, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    last = torch.tensor([999])
    assert_close(objective.velocity(latents, noise, last, zero_terminal()), -latents)
    assert_close(objective.add_noise(latents, noise, last, zero_terminal()), noise)


def test_noise_offset_moves_each_channel_as_a_whole() -> None:
    noise = torch.zeros(2, 4, 3, 3)
    shift = torch.arange(8.0).view(2, 4, 1, 1)
    assert_close(objective.offset_noise(noise, shift, 0.1), (0.1 * shift).expand(2, 4, 3, 3))


def test_loss_mask_is_an_area_average_between_outside_and_one() -> None:
    mask = torch.zeros(16, 16)
    mask[:8, :4] = 1.0  # half of the first of 2 x 2 cells
    assert_close(objective.loss_mask(mask, (2, 2), 0.2), torch.tensor([[0.2 + 0.8 * 0.5, 0.2], [0.2, 0.2]]))


def losses(kind: Objective, masks: torch.Tensor | None = None, weights: tuple[float, float] = (1.0, 1.0)):
    prediction = torch.zeros(2, 4, 2, 2)
    wanted = torch.full((2, 4, 2, 2), 2.0)
    return kind.losses(prediction, wanted, torch.tensor([0, 999]), ACP, torch.tensor(weights), masks)


def test_plain_loss_is_the_mean_square_per_image() -> None:
    result = losses(Objective("epsilon"))
    assert result.objective.tolist() == [4.0, 4.0]
    assert result.mse.tolist() == [4.0, 4.0]


def test_weighted_loss_leaves_the_raw_error_alone() -> None:
    half = torch.zeros(2, 1, 2, 2)
    half[:, :, 0] = 1.0
    result = losses(Objective("epsilon", min_snr_gamma=5.0), half, (1.0, 0.5))
    low = 5.0 / objective.snr(torch.tensor([0]), ACP).item()
    assert_close(result.objective, torch.tensor([4.0 * 0.5 * low, 4.0 * 0.5 * 0.5]))
    assert result.mse.tolist() == [4.0, 4.0]


@pytest.mark.parametrize("prediction_type", TYPES)
def test_objective_follows_the_settings(prediction_type: objective.PredictionType) -> None:
    kind = Objective.of(TrainConfig(debiased=True), prediction_type)
    steps = torch.tensor([300])
    weight = kind.snr_weight(steps, ACP)
    assert weight is not None
    assert_close(weight, objective.debiased_weight(objective.snr(steps, ACP), prediction_type))
    assert Objective.of(TrainConfig(), prediction_type).snr_weight(steps, ACP) is None


def test_gradient_of_the_loss() -> None:
    prediction = torch.zeros(1, 4, 1, 1, requires_grad=True)
    wanted = torch.ones(1, 4, 1, 1)
    result = Objective("epsilon").losses(prediction, wanted, torch.tensor([5]), ACP, torch.ones(1))
    result.objective.sum().backward()
    assert_close(prediction.grad, torch.full((1, 4, 1, 1), -2 / 4))
    assert not result.mse.requires_grad
