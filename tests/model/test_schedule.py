import math

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr as diffusers_rescale

from lora_forge.model.schedule import alphas_cumprod, rescale_zero_terminal_snr


def test_the_ends_are_those_of_the_closed_form() -> None:
    schedule = alphas_cumprod()
    logs = [math.log(1 - (0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * i / 999) ** 2) for i in range(1000)]
    assert schedule.shape == (1000,)
    assert schedule.dtype == torch.float32
    assert schedule[0].item() == pytest.approx(1 - 0.00085, abs=1e-7)
    assert schedule[-1].item() == pytest.approx(math.exp(math.fsum(logs)), rel=1e-6)
    snr = schedule / (1 - schedule)
    assert snr[0].item() == pytest.approx(1175, abs=1)
    assert snr[-1].item() == pytest.approx(0.0047, abs=5e-5)


def test_it_is_diffusers_schedule() -> None:
    theirs = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).alphas_cumprod
    torch.testing.assert_close(alphas_cumprod(), theirs, rtol=2e-5, atol=1e-7)


def test_zero_terminal_snr_ends_in_pure_noise_and_keeps_the_start() -> None:
    plain, rescaled = alphas_cumprod(), alphas_cumprod(zero_terminal_snr=True)
    assert rescaled[-1].item() == 0.0
    assert rescaled[0].item() == pytest.approx(plain[0].item(), abs=1e-7)
    assert bool((rescaled[1:] < rescaled[:-1]).all())
    theirs = torch.cumprod(1 - diffusers_rescale(1 - plain / torch.cat([torch.ones(1), plain[:-1]])), dim=0)
    torch.testing.assert_close(rescaled[:-1], theirs[:-1], rtol=1e-3, atol=1e-6)


def test_rescaling_twice_changes_nothing() -> None:
    once = alphas_cumprod(zero_terminal_snr=True).double()
    torch.testing.assert_close(rescale_zero_terminal_snr(once), once)
