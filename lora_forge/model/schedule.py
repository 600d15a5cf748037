"""The noise schedule every Stable Diffusion UNet was trained on, and its zero-terminal-SNR form."""

from __future__ import annotations

import torch

TRAIN_STEPS = 1000
BETA_START = 0.00085
BETA_END = 0.012


def alphas_cumprod(zero_terminal_snr: bool = False) -> torch.Tensor:
    """Share of the picture's variance left at each timestep: float32 (1000,), falling from 0.9991.

    "scaled linear" betas, linear in their square roots (LDM's schedule, arXiv 2112.10752); computed in float64 so
    that the last digit of the float32 result does not depend on the machine.
    """
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAIN_STEPS, dtype=torch.float64) ** 2
    schedule = torch.cumprod(1.0 - betas, dim=0)
    return (rescale_zero_terminal_snr(schedule) if zero_terminal_snr else schedule).float()


def rescale_zero_terminal_snr(schedule: torch.Tensor) -> torch.Tensor:
    """Shift and scale sqrt(alphas_cumprod) (T,) so that its end is exactly 0 and its start stays.

    Algorithm 1 of arXiv 2305.08891; same dtype and shape as given.
    """
    root = schedule.sqrt()
    first, last = root[0].clone(), root[-1].clone()
    return ((root - last) * (first / (first - last))) ** 2
