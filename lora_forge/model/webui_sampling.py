"""Drawing as the WebUIs do by default: DPM++ 2M on Karras' sigmas, from the noise that they make of a seed.

What AUTOMATIC1111 1.10 and Forge compute with crowsonkb's k-diffusion (``CompVisDenoiser``, ``get_sigmas_karras``,
``sample_dpmpp_2m``), step by step in the same order and precision. Their "Automatic" schedule of this sampler is
Karras' (``sd_samplers_kdiffusion.py``), from the checkpoint's largest sigma to its smallest, and then 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from lora_forge.config import Family
from lora_forge.model.philox import normal
from lora_forge.model.sampling import evaluating, latent_shape, predictor
from lora_forge.model.sdxl import Size
from lora_forge.model.text import Conditioning, encode
from lora_forge.ports import BorrowedModel, DrawingWay

_RHO = 7.0
_OLD_END = 4.8973451890853435e-08  # alphas_cumprod's last in both hosts when the terminal SNR is zero

Denoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def encode_alone(model: BorrowedModel, text: str, clip_skip: int, is_negative: bool = False) -> Conditioning:
    """One row, not filled up to another text's length. SDXL is told zeros where the negative prompt is empty."""
    told = encode(model, [text], clip_skip)
    if is_negative and not text and model.info.family is Family.SDXL and told.pooled is not None:
        return Conditioning(torch.zeros_like(told.hidden), torch.zeros_like(told.pooled))
    return told


@torch.no_grad()
def webui_latents(
    model: BorrowedModel,
    wanted: Conditioning,
    unwanted: Conditioning,
    size: Size,
    steps: int,
    guidance: float,
    seeds: Sequence[int],
    should_stop: Callable[[], bool] = lambda: False,
) -> torch.Tensor | None:
    """The scaled latents (B, 4, height/8, width/8), float32, of pictures of ``size`` (width, height), one for each
    seed; None when stopped. ``wanted`` and ``unwanted``: one row for all, or one for each seed.

    Raises:
        ConfigError: sizes that are no multiples of 8.
    """
    shape = latent_shape(*size)
    scale = SigmaScale(model.alphas_cumprod.to(model.device), model.drawing)
    sigmas = scale.karras(steps)
    noise = torch.stack([noise_of(seed, shape, model.device, model.drawing.noise_source) for seed in seeds])
    begin = (1.0 + sigmas[0] ** 2.0).sqrt() if model.drawing.has_whole_noise else sigmas[0]
    predict = predictor(model, wanted, unwanted, guidance, len(seeds), size)
    is_velocity = model.info.prediction_type == "v_prediction"

    def denoise(latents: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        weight = 1 / (sigma**2 + 1.0) ** 0.5
        said = predict(latents * weight, scale.timestep(sigma).to(latents.device))
        if is_velocity:
            return said * (-sigma * weight) + latents * (1.0 / (sigma**2 + 1.0))
        return latents + said * -sigma

    with evaluating(model.unet):
        return dpmpp_2m(denoise, noise * begin, sigmas, should_stop)


def dpmpp_2m(
    denoise: Denoise, latents: torch.Tensor, sigmas: torch.Tensor, should_stop: Callable[[], bool]
) -> torch.Tensor | None:
    """DPM-Solver++(2M), arXiv 2211.01095, from ``latents`` at the first sigma down to the last; None when stopped."""
    before: torch.Tensor | None = None
    for index in range(len(sigmas) - 1):
        if should_stop():
            return None
        denoised = denoise(latents, sigmas[index])
        now, then = -sigmas[index].log(), -sigmas[index + 1].log()
        width = then - now
        mixed = denoised
        if before is not None and sigmas[index + 1] > 0:
            ratio = (now + sigmas[index - 1].log()) / width
            mixed = (1 + 1 / (2 * ratio)) * denoised - (1 / (2 * ratio)) * before
        latents = ((-then).exp() / (-now).exp()) * latents - (-width).expm1() * mixed
        before = denoised
    return latents


class SigmaScale:
    """The noise levels of a checkpoint's ``schedule`` (alphas_cumprod, (1000,) float32) as k-diffusion has them."""

    def __init__(self, schedule: torch.Tensor, way: DrawingWay) -> None:
        kept = schedule.clone()
        if float(kept[-1]) < _OLD_END:
            kept[-1] = _OLD_END
        self._sigmas = ((1 - kept) / kept) ** 0.5
        self._logs, self._way = self._sigmas.log(), way

    def karras(self, steps: int) -> torch.Tensor:
        """(steps + 1,), falling to 0: arXiv 2206.00364, equation 5."""
        way = self._way
        least = way.sigma_min or self._sigmas[0].item()
        most = way.sigma_max or self._sigmas[-1].item()
        rho = way.rho or _RHO
        ramp = torch.linspace(0, 1, steps + way.drops_penultimate)
        low, high = least ** (1 / rho), most ** (1 / rho)
        sigmas = (high + ramp * (low - high)) ** rho
        if way.drops_penultimate:
            sigmas = sigmas[:-1]
        return torch.cat([sigmas, sigmas.new_zeros([1])]).to(self._sigmas.device)

    def timestep(self, sigma: torch.Tensor) -> torch.Tensor:
        """Where on the schedule a noise level lies: between two timesteps by its logarithm, or the nearest one."""
        log = sigma.log()
        distances = log - self._logs
        if self._way.whole_timesteps:
            return distances.abs().argmin().float()
        low = distances.ge(0).cumsum(dim=0).argmax().clamp(max=len(self._logs) - 2)
        start, end = self._logs[low], self._logs[low + 1]
        share = ((start - log) / (start - end)).clamp(0, 1)
        return (1 - share) * low + share * (low + 1)


def noise_of(seed: int, shape: tuple[int, ...], device: torch.device, source: str) -> torch.Tensor:
    """A picture's first noise, float32 on ``device``; no global generator is read or moved.

    ``source``: as :class:`DrawingWay` says; Apple's GPU takes the CPU's, as in the WebUIs.
    """
    if source == "NV":
        return torch.from_numpy(normal(seed, shape)).to(device)
    place = torch.device("cpu") if source == "CPU" or device.type == "mps" else device
    generator = torch.Generator(place).manual_seed(seed)
    return torch.randn(shape, generator=generator, device=place).to(device)
