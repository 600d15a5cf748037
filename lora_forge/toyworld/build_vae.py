"""Stage 2 of the build: the VAE, trained at half size and folded into the exact SD1.5 shape.

The outer level of an SD VAE works at full size and costs three quarters of all time. Here it is made trivial: the
encoder's first down-convolution reads 2x2 blocks of RGB, the decoder's last blocks are identities before the final
3x3 convolution. ``HalfVae`` computes the same function with the heavy parts at 32x32; ``fold_outer_level`` writes the
trivial weights so that plain diffusers (or the original ldm classes) give the same picture.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lora_forge.toyworld.nets import SCALING, WIDTH, build_vae


class HalfVae(nn.Module):
    """An AutoencoderKL whose 64-pixel level is replaced by a strided 2x2 convolution and a nearest enlargement."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.patch = nn.Conv2d(3, WIDTH, 2, stride=2)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 64, 64) in [-1, 1] -> mean and log variance, each (B, 4, 8, 8), unscaled."""
        encoder = self.vae.encoder
        hidden = self.patch(images)
        for block in encoder.down_blocks[1:]:
            hidden = block(hidden)
        hidden = encoder.mid_block(hidden)
        hidden = encoder.conv_out(functional.silu(encoder.conv_norm_out(hidden)))
        mean, log_variance = self.vae.quant_conv(hidden).chunk(2, dim=1)
        return mean, log_variance.clamp(-30, 20)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, 4, 8, 8) unscaled -> (B, 3, 64, 64) in about [-1, 1]."""
        decoder = self.vae.decoder
        hidden = decoder.mid_block(decoder.conv_in(self.vae.post_quant_conv(latents)))
        for block in decoder.up_blocks[:2]:
            hidden = block(hidden)
        for resnet in decoder.up_blocks[2].resnets:
            hidden = resnet(hidden, None)
        hidden = functional.silu(decoder.conv_norm_out(hidden))
        picture: Tensor = decoder.conv_out(functional.interpolate(hidden, scale_factor=2.0, mode="nearest"))
        return picture


@torch.no_grad()
def fold_outer_level(half: HalfVae) -> Any:
    """Write the trivial outer level into the full VAE (in place) and return it; its output equals ``half``'s."""
    encoder, decoder = half.vae.encoder, half.vae.decoder
    eye = torch.eye(WIDTH)
    encoder.conv_in.weight.zero_()
    encoder.conv_in.bias.zero_()
    encoder.conv_in.weight[:3, :, 1, 1] = torch.eye(3)
    down = encoder.down_blocks[0].downsamplers[0].conv
    down.weight.zero_()
    down.weight[:, :3, :2, :2] = half.patch.weight
    down.bias.copy_(half.patch.bias)
    up = decoder.up_blocks[2].upsamplers[0].conv
    up.weight.zero_()
    up.weight[:, :, 1, 1] = eye
    up.bias.zero_()
    for resnet in [*encoder.down_blocks[0].resnets, *decoder.up_blocks[3].resnets]:
        for convolution in (resnet.conv1, resnet.conv2):
            convolution.weight.zero_()
            convolution.bias.zero_()
    return half.vae


def unfold_outer_level(vae: Any) -> HalfVae:
    """The fast twin of a folded VAE, sharing its weights: same pictures at a quarter of the cost."""
    half = HalfVae(vae)
    down = vae.encoder.down_blocks[0].downsamplers[0].conv
    with torch.no_grad():
        half.patch.weight.copy_(down.weight[:, :3, :2, :2])
        assert half.patch.bias is not None
        half.patch.bias.copy_(down.bias)
    return half.eval()


@torch.no_grad()
def whiten(half: HalfVae, images: Tensor) -> None:
    """Fold ZCA whitening of the four latent channels and 1/0.18215 into the two 1x1 convolutions (in place).

    Afterwards scaled latents (mean times 0.18215) have zero mean and unit covariance over the world.
    """
    means = torch.cat([half.encode(batch)[0] for batch in torch.split(images, 64)])
    flat = means.permute(1, 0, 2, 3).reshape(4, -1).double()
    centre = flat.mean(1)
    values, vectors = torch.linalg.eigh(torch.cov(flat))
    to_white = (vectors @ torch.diag(values.rsqrt()) @ vectors.T / SCALING).float()
    from_white = (vectors @ torch.diag(values.sqrt()) @ vectors.T * SCALING).float()
    quant, post = half.vae.quant_conv, half.vae.post_quant_conv
    weight, bias = quant.weight[:4, :, 0, 0].clone(), quant.bias[:4].clone()
    quant.weight.zero_()
    quant.weight[:4, :, 0, 0] = to_white @ weight
    quant.bias[:4] = to_white @ (bias - centre.float())
    quant.bias[4:] = -8.0
    post.bias.add_(post.weight[:, :, 0, 0] @ centre.float())
    post.weight[:, :, 0, 0] = post.weight[:, :, 0, 0] @ from_white


def _edges(picture: Tensor) -> tuple[Tensor, Tensor]:
    return picture[..., 1:, :] - picture[..., :-1, :], picture[..., :, 1:] - picture[..., :, :-1]


def reconstruction_loss(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted L1 + 2 MSE + 0.5 L1 of the image gradient; weight (1, 1, 64, 64) with mean 1."""
    difference = output - target
    pixel = ((difference.abs() + 2 * difference.square()) * weight).mean()
    rows, columns = _edges(difference)
    return pixel + 0.5 * (rows.abs().mean() + columns.abs().mean())


def face_weight() -> Tensor:
    """(1, 1, 64, 64): the head, with eyes, mouth, glasses and star, counts three times the rest; mean 1."""
    weight = torch.ones(1, 1, 64, 64)
    weight[..., 8:46, 4:60] = 2.0
    weight[..., 21:48, 10:54] = 3.5
    return weight / weight.mean()


def train_vae(images: Tensor, out_path: Path, steps: int = 2000, batch: int = 16, seed: int = 1,
              log_every: int = 50) -> Any:  # fmt: skip
    """Train on uint8 pictures (N, 3, 64, 64), fold, whiten, save the full VAE's state dict; returns the VAE."""
    torch.manual_seed(seed)
    half = HalfVae(build_vae())
    frozen = [half.vae.encoder.conv_in, half.vae.encoder.down_blocks[0], half.vae.decoder.up_blocks[3],
              half.vae.decoder.up_blocks[2].upsamplers]  # fmt: skip
    for module in frozen:
        module.requires_grad_(False)
    parameters = [p for p in half.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, 2e-3, betas=(0.9, 0.99))
    weight, started, generator = face_weight(), time.time(), torch.Generator().manual_seed(seed)
    for step in range(steps):
        progress = step / steps
        rate = min(1.0, (step + 1) / 60) * 0.5 * (1 + math.cos(math.pi * progress))
        optimizer.param_groups[0]["lr"] = 2e-3 * rate + 1e-5
        rows = torch.randint(len(images), (batch,), generator=generator)
        target = images[rows].float() / 127.5 - 1
        mean, log_variance = half.encode(target)
        latents = mean + torch.randn(mean.shape, generator=generator) * (0.5 * log_variance).exp()
        reconstruction = reconstruction_loss(half.decode(latents), target, weight)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss = reconstruction + (1e-3 if progress < 0.6 else 4e-4) * divergence
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % log_every == 0 or step == steps - 1:
            print(f"vae {step} loss {reconstruction.item():.4f} kl {divergence.item():.2f} "
                  f"{time.time() - started:.0f} s", flush=True)  # fmt: skip
    half.eval()
    whiten(half, images[:1024].float() / 127.5 - 1)
    vae = fold_outer_level(half)
    torch.save(vae.state_dict(), out_path)
    return vae
