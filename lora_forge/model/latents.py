"""Pictures to latents and back, one at a time: no picture depends on its neighbours, and memory stays low."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from lora_forge.errors import TrainingError
from lora_forge.ports import BorrowedModel

VAE_FACTOR = 8  # pixels a latent cell is wide


@torch.no_grad()
def encode_images(model: BorrowedModel, images: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
    """Draw one latent for each image from the VAE's posterior.

    ``images``: (B, 3, H, W) float32 in [-1, 1], H and W multiples of 8. ``seeds``: one for each image; its noise comes
    from its own CPU generator. Gives scaled latents (B, 4, H/8, W/8), float32, on the model's device.

    Raises:
        TrainingError: an image has no finite latent, not in float32 either; ``index`` in its values says which.
    """
    if len(images) != len(seeds):
        raise ValueError(f"{len(images)} images, but {len(seeds)} seeds")
    pairs = enumerate(zip(images, seeds, strict=True))
    latents = [_encode_one(model, image[None], index, seed) for index, (image, seed) in pairs]
    return torch.cat(latents)


def _encode_one(model: BorrowedModel, image: torch.Tensor, index: int, seed: int) -> torch.Tensor:
    mean, std = _posterior(model.vae, image, model.device)
    if not _is_finite(mean, std) and model.vae.dtype is not torch.float32:
        # SDXL's VAE overflows in float16 on many pictures; the hosts retry in float32 too.
        mean, std = _posterior(copy.deepcopy(model.vae).float(), image, model.device)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed)).to(mean.device)
    latent = (mean + std * noise) * model.vae_scale
    if not _is_finite(latent):
        raise TrainingError(
            "Image number {index} has no finite latent: the VAE gave NaN or infinity for it.",
            "Look at that picture; if all are so, the checkpoint's VAE is broken.",
            index=index,
        )
    return latent


def _posterior(vae: Any, image: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (1, 4, H/8, W/8), float32."""
    posterior = vae.encode(_laid_out(image.to(device, vae.dtype))).latent_dist
    return posterior.mean.float(), posterior.std.float()


@torch.no_grad()
def decode(model: BorrowedModel, latents: torch.Tensor) -> list[Image.Image]:
    """Scaled latents (B, 4, h, w) to RGB pictures of (8w, 8h) pixels.

    A picture that isn't finite is decoded again in float32; what is still not a number becomes black, as in the hosts.
    """
    return [_to_picture(_decode_one(model, latent[None])) for latent in latents]


def _decode_one(model: BorrowedModel, latent: torch.Tensor) -> torch.Tensor:
    vae = model.vae
    unscaled = latent.to(model.device).float() / model.vae_scale
    picture: torch.Tensor = vae.decode(_laid_out(unscaled.to(vae.dtype))).sample.float()
    if not _is_finite(picture) and vae.dtype is not torch.float32:
        picture = copy.deepcopy(vae).float().decode(unscaled).sample
    return picture[0]


def _laid_out(pixels: torch.Tensor) -> torch.Tensor:
    """Channels last on a CPU: its convolutions then need not turn every activation (0.73x of the time in bfloat16)."""
    return pixels.contiguous(memory_format=torch.channels_last) if pixels.device.type == "cpu" else pixels


def _to_picture(pixels: torch.Tensor) -> Image.Image:
    """(3, H, W) float in [-1, 1] to 8 bits, cut off, not rounded, as the WebUIs do."""
    values = (255 * ((pixels.nan_to_num(-1.0) + 1) / 2).clamp(0, 1)).to(torch.uint8)
    return Image.fromarray(np.ascontiguousarray(values.permute(1, 2, 0).cpu().numpy()))


def _is_finite(*tensors: torch.Tensor) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
