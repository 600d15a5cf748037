"""Pictures to latents and back, one at a time: no picture depends on its neighbours, and memory stays low."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from lora_forge.errors import TrainingError
from lora_forge.model.devices import fetch, put
from lora_forge.model.residence import VAE
from lora_forge.ports import BorrowedModel

VAE_FACTOR = 8  # pixels a latent cell is wide


@dataclass(frozen=True)
class BegunLatent:
    """A latent that the device may still be at work on. ``picture``: (1, 3, H, W) float32; ``latent``: (1, 4, H/8, W/8)
    float32, both on the model's device; ``wait`` gives a copy of ``latent`` on the CPU."""

    picture: torch.Tensor
    seed: int
    latent: torch.Tensor
    wait: Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Latent:
    """A finite scaled latent, float32 (4, H/8, W/8): on the model's device, and the same on the CPU."""

    there: torch.Tensor
    on_cpu: torch.Tensor


class LatentEncoder:
    """Draws one latent for each picture from the VAE's posterior, in two halves.

    Whoever begins the next picture before finishing this one leaves a card no gap between them. The float32 copy of a
    VAE that overflows in half precision is made at the first picture that needs it and kept for the next ones.
    """

    def __init__(self, model: BorrowedModel) -> None:
        self._model = model
        self._in_float32: Any = None

    @torch.no_grad()
    def begin(self, picture: torch.Tensor, seed: int) -> BegunLatent:
        """Give the device its work on ``picture``: (3, H, W) float32 in [-1, 1], H and W multiples of 8.

        The noise comes from a CPU generator of its own with ``seed``.
        """
        there = put(picture[None], self._model.device)
        return self._draw(_vae(self._model), there, seed)

    @torch.no_grad()
    def finish(self, begun: BegunLatent) -> Latent | None:
        """Wait for what was begun; None when it isn't finite, in float32 neither."""
        on_cpu = begun.wait()
        if not _is_finite(on_cpu) and self._model.vae.dtype is not torch.float32:
            # SDXL's VAE overflows in float16 on many pictures; the hosts retry in float32 too.
            if self._in_float32 is None:
                self._in_float32 = copy.deepcopy(self._model.vae).float()
            begun = self._draw(self._in_float32, begun.picture, begun.seed)
            on_cpu = begun.wait()
        return Latent(begun.latent[0], on_cpu[0]) if _is_finite(on_cpu) else None

    def _draw(self, vae: Any, picture: torch.Tensor, seed: int) -> BegunLatent:
        posterior = vae.encode(_laid_out(picture.to(vae.dtype))).latent_dist
        mean, std = posterior.mean.float(), posterior.std.float()
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed))
        latent = (mean + std * put(noise, mean.device)) * self._model.vae_scale
        return BegunLatent(picture, seed, latent, fetch(latent))


def encode_images(model: BorrowedModel, images: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
    """Draw one latent for each image from the VAE's posterior.

    ``images``: (B, 3, H, W) float32 in [-1, 1], H and W multiples of 8. ``seeds``: one for each image; its noise comes
    from its own CPU generator. Gives scaled latents (B, 4, H/8, W/8), float32, on the model's device.

    Raises:
        TrainingError: an image has no finite latent, not in float32 either; ``index`` in its values says which.
    """
    if len(images) != len(seeds):
        raise ValueError(f"{len(images)} images, but {len(seeds)} seeds")
    encoder, latents = LatentEncoder(model), []
    for index, (image, seed) in enumerate(zip(images, seeds, strict=True)):
        found = encoder.finish(encoder.begin(image, seed))
        if found is None:
            raise TrainingError(
                "Image number {index} has no finite latent: the VAE gave NaN or infinity for it.",
                "Look at that picture; if all are so, the checkpoint's VAE is broken.",
                index=index,
            )
        latents.append(found.there)
    return torch.stack(latents)


def as_picture(pixels: torch.Tensor, is_flipped: bool = False) -> torch.Tensor:
    """uint8 (H, W, 3) to what the VAE is given: float32 (3, H, W) in [-1, 1], on the same device."""
    upright = pixels.permute(2, 0, 1)
    return (upright.flip(-1) if is_flipped else upright).float() / 127.5 - 1.0


@torch.no_grad()
def decode(model: BorrowedModel, latents: torch.Tensor) -> list[Image.Image]:
    """Scaled latents (B, 4, h, w) to RGB pictures of (8w, 8h) pixels.

    A picture that isn't finite is decoded again in float32; what is still not a number becomes black, as in the hosts.
    """
    return [_to_picture(_decode_one(model, latent[None])) for latent in latents]


def _vae(model: BorrowedModel) -> Any:
    """The VAE, back if it was away: where it waits it may be of another type."""
    if model.residence is not None:
        model.residence.come(VAE)
    return model.vae


def _decode_one(model: BorrowedModel, latent: torch.Tensor) -> torch.Tensor:
    vae = _vae(model)
    unscaled = latent.to(model.device).float() / model.vae_scale
    picture: torch.Tensor = vae.decode(_laid_out(unscaled.to(vae.dtype))).sample.float()
    if not _is_finite(picture) and vae.dtype is not torch.float32:
        picture = copy.deepcopy(vae).float().decode(unscaled).sample
    return picture[0]


def _laid_out(pixels: torch.Tensor) -> torch.Tensor:
    """Channels last on a CPU: its convolutions then need not turn every activation (0.73x of the time in bfloat16)."""
    is_cpu = pixels.device.type == "cpu"
    return pixels.contiguous(memory_format=torch.channels_last if is_cpu else torch.contiguous_format)


def _to_picture(pixels: torch.Tensor) -> Image.Image:
    """(3, H, W) float in [-1, 1] to 8 bits, cut off, not rounded, as the WebUIs do."""
    values = (255 * ((pixels.nan_to_num(-1.0) + 1) / 2).clamp(0, 1)).to(torch.uint8)
    return Image.fromarray(np.ascontiguousarray(values.permute(1, 2, 0).cpu().numpy()))


def _is_finite(*tensors: torch.Tensor) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
