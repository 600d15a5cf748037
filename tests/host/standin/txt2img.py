"""txt2img as the WebUIs compute it, written from their code and not from ours: ``modules/rng.py``,
``modules/sd_samplers_kdiffusion.py``, k-diffusion's ``CompVisDenoiser`` and ``sample_dpmpp_2m``, and
``modules/processing.py``. The networks are those of a checkpoint file with the LoRA merged into its tensors."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from PIL import Image

from lora_forge.ports import BorrowedModel, PictureRequest

Cond = tuple[torch.Tensor, Any]


@torch.no_grad()
def txt2img(model: BorrowedModel, asked: PictureRequest, rounds_timesteps: bool) -> Image.Image:
    """One picture; ``asked.prompt`` without tags. Negative prompt: none."""
    height, width = asked.height, asked.width
    cond = _cond(model, _unescaped(asked.prompt), asked.clip_skip)
    uncond = _cond(model, "", asked.clip_skip)
    if uncond[1] is not None:  # force_zero_negative_prompt
        uncond = (torch.zeros_like(uncond[0]), torch.zeros_like(uncond[1]))
    denoiser = CompVisDenoiser(model, rounds_timesteps)
    generator = torch.Generator("cpu").manual_seed(asked.seed)
    noise = torch.stack([torch.randn((4, height // 8, width // 8), generator=generator, device="cpu")])
    sigmas = get_sigmas_karras(asked.steps, denoiser.sigmas[0].item(), denoiser.sigmas[-1].item())

    def cfg(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        with_text, without = denoiser(x, sigma, cond, (width, height)), denoiser(x, sigma, uncond, (width, height))
        denoised = without.clone()
        denoised += (with_text - without) * asked.guidance
        return denoised

    samples = sample_dpmpp_2m(cfg, noise * sigmas[0], sigmas)
    decoded = model.vae.decode(samples / model.vae_scale).sample.float()
    decoded = torch.clamp((decoded + 1.0) / 2.0, min=0.0, max=1.0)
    pixels = 255.0 * np.moveaxis(decoded[0].cpu().numpy(), 0, 2)
    return Image.fromarray(pixels.astype(np.uint8))


class CompVisDenoiser:
    """From a UNet that predicts noise to one that predicts the picture, at any sigma."""

    def __init__(self, model: BorrowedModel, quantize: bool) -> None:
        self.model, self.quantize = model, quantize
        self.sigmas = ((1 - model.alphas_cumprod) / model.alphas_cumprod) ** 0.5
        self.log_sigmas = self.sigmas.log()

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, cond: Cond, size: tuple[int, int]) -> torch.Tensor:
        sigma = sigma[None]
        c_out, c_in = -sigma[:, None, None, None], (1 / (sigma**2 + 1.0) ** 0.5)[:, None, None, None]
        width, height = size
        told = None
        if cond[1] is not None:
            times = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32)
            told = {"text_embeds": cond[1], "time_ids": times}
        eps = self.model.unet(x * c_in, self.sigma_to_t(sigma), cond[0], added_cond_kwargs=told).sample
        return x + eps * c_out  # type: ignore[no-any-return]

    def sigma_to_t(self, sigma: torch.Tensor) -> torch.Tensor:
        log_sigma = sigma.log()
        dists = log_sigma - self.log_sigmas[:, None]
        if self.quantize:
            return dists.abs().argmin(dim=0).view(sigma.shape)
        low_idx = dists.ge(0).cumsum(dim=0).argmax(dim=0).clamp(max=self.log_sigmas.shape[0] - 2)
        high_idx = low_idx + 1
        low, high = self.log_sigmas[low_idx], self.log_sigmas[high_idx]
        w = ((low - log_sigma) / (low - high)).clamp(0, 1)
        return ((1 - w) * low_idx + w * high_idx).view(sigma.shape)


def get_sigmas_karras(n: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> torch.Tensor:
    """The noise schedule of Karras et al. (2022)."""
    ramp = torch.linspace(0, 1, n)
    min_inv_rho, max_inv_rho = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    sigmas = (max_inv_rho + ramp * (min_inv_rho - max_inv_rho)) ** rho
    return torch.cat([sigmas, sigmas.new_zeros([1])])


def sample_dpmpp_2m(model: Any, x: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """DPM-Solver++(2M)."""
    old_denoised = None
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i])
        t, t_next = sigmas[i].log().neg(), sigmas[i + 1].log().neg()
        h = t_next - t
        ratio = t_next.neg().exp() / t.neg().exp()
        if old_denoised is None or sigmas[i + 1] == 0:
            x = ratio * x - (-h).expm1() * denoised
        else:
            r = (t - sigmas[i - 1].log().neg()) / h
            x = ratio * x - (-h).expm1() * ((1 + 1 / (2 * r)) * denoised - (1 / (2 * r)) * old_denoised)
        old_denoised = denoised
    return x


def _unescaped(prompt: str) -> str:
    assert re.search(r"(?<!\\)[()\[\]]", prompt) is None, "the host would weigh the words in bare brackets"
    return re.sub(r"\\([()\[\]\\])", r"\1", prompt)


def _cond(model: BorrowedModel, text: str, clip_skip: int) -> Cond:
    """One chunk of 77 tokens: BOS, the words, EOS, padding."""
    hidden, pooled = [], None
    for tower in model.text_towers:
        words = tower.tokenizer(text, add_special_tokens=False).input_ids
        ids = [49406, *words, 49407]
        output = tower.module(torch.tensor([ids + [tower.pad_token_id] * (77 - len(ids))]), output_hidden_states=True)
        if len(model.text_towers) == 2:
            hidden.append(output.hidden_states[-2])
            pooled = getattr(output, "text_embeds", pooled)
        else:
            norm = getattr(tower.module, "text_model", tower.module).final_layer_norm
            hidden.append(norm(output.hidden_states[-clip_skip]))
    return torch.cat(hidden, dim=-1), pooled
