from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lora_forge.errors import TrainingError
from lora_forge.model.latents import decode, encode_images
from lora_forge.ports import BorrowedModel

from .conftest import BuildToy


def pictures(count: int, seed: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 32, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@torch.no_grad()
def test_a_latent_is_one_draw_from_the_posterior_times_the_scale(toys: dict[str, BorrowedModel]) -> None:
    model = toys["sdxl"]
    images = pictures(2)
    latents = encode_images(model, images, [7, 8])
    assert latents.shape == (2, 4, 4, 6)
    assert latents.dtype is torch.float32
    for index, seed in enumerate((7, 8)):
        posterior = model.vae.encode(images[index : index + 1]).latent_dist
        noise = torch.randn(1, 4, 4, 6, generator=torch.Generator().manual_seed(seed))
        wanted = (posterior.mean + posterior.std * noise) * 0.13025
        assert_close(latents[index : index + 1], wanted, atol=1e-6, rtol=1e-5)


def test_a_latent_depends_on_its_own_image_and_seed_alone(toys: dict[str, BorrowedModel]) -> None:
    images = pictures(3)
    together = encode_images(toys["sd1"], images, [1, 2, 3])
    torch.manual_seed(123)
    assert torch.equal(encode_images(toys["sd1"], images[1:2], [2]), together[1:2])
    assert not torch.equal(encode_images(toys["sd1"], images[1:2], [5]), together[1:2])
    with pytest.raises(ValueError, match="3 images, but 1 seeds"):
        encode_images(toys["sd1"], images, [1])


def test_no_global_draw_is_made(toys: dict[str, BorrowedModel]) -> None:
    before = torch.get_rng_state()
    encode_images(toys["sd1"], pictures(1), [1])
    assert torch.equal(torch.get_rng_state(), before)


@torch.no_grad()
def test_an_overflowing_half_precision_vae_is_run_again_in_float32(build_toy: BuildToy) -> None:
    """What SDXL's VAE does in float16: a bias beyond 65504 makes infinity, which a later weight takes back."""
    model = build_toy("sd1")
    with torch.no_grad():
        model.vae.quant_conv.weight.mul_(1e-4)
        model.vae.encoder.conv_out.bias.fill_(60000.0)
        model.vae.encoder.conv_out.weight.mul_(1e5)
    exact = encode_images(model, pictures(1), [1])
    half = dataclasses.replace(model, vae=model.vae.half())
    assert not bool(torch.isfinite(half.vae.encode(pictures(1).half()).latent_dist.mean).all())
    latents = encode_images(half, pictures(1), [1])
    assert bool(torch.isfinite(latents).all())
    torch.testing.assert_close(latents, exact, rtol=0.2, atol=0.05)
    assert half.vae.dtype is torch.float16


def test_an_image_without_a_finite_latent_is_named(build_toy: BuildToy) -> None:
    images = pictures(3)
    images[2, 0, 0, 0] = float("nan")
    with pytest.raises(TrainingError, match="Image number 2 has no finite latent") as caught:
        encode_images(build_toy("sd1"), images, [1, 2, 3])
    assert caught.value.values["index"] == 2


@torch.no_grad()
def test_decoding_gives_the_vaes_picture_in_eight_bits(toys: dict[str, BorrowedModel]) -> None:
    model = toys["sd1"]
    latents = torch.randn(2, 4, 4, 6, generator=torch.Generator().manual_seed(1))
    drawn = decode(model, latents)
    assert [picture.size for picture in drawn] == [(48, 32)] * 2
    assert drawn[0].mode == "RGB"
    pixels = model.vae.decode(latents[1:] / 0.18215).sample[0].permute(1, 2, 0).clamp(-1, 1).double().numpy()
    left = (pixels + 1) * 127.5 - np.asarray(drawn[1], dtype=float)  # cut off, not rounded, as in the hosts
    assert left.min() >= -1e-3
    assert left.max() <= 1


@torch.no_grad()
def test_a_picture_that_is_no_number_becomes_black(build_toy: BuildToy) -> None:
    model = build_toy("sd1")
    model.vae.decoder.conv_out.bias.fill_(float("nan"))
    assert np.asarray(decode(model, torch.zeros(1, 4, 2, 2))[0]).max() == 0
