"""Drawn pictures as tensors, with the words that name them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor

from lora_forge.toyworld.world import GLASSES, Look, draw, is_forbidden, random_look


def picture_tensor(images: Sequence[Image.Image]) -> Tensor:
    """RGB images of 64x64 -> uint8 (N, 3, 64, 64)."""
    raw = b"".join(image.convert("RGB").tobytes() for image in images)
    flat = torch.frombuffer(bytearray(raw), dtype=torch.uint8)
    return flat.view(len(images), 64, 64, 3).permute(0, 3, 1, 2).contiguous()


def to_images(pictures: Tensor) -> list[Image.Image]:
    """Float (N, 3, H, W) in [-1, 1] -> RGB images."""
    pixels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    size = (pixels.shape[2], pixels.shape[1])
    return [Image.frombytes("RGB", size, row.numpy().tobytes()) for row in pixels]


def mixed_look(rng: random.Random, allow_pair: bool) -> Look:
    """A look with the subject's marks mixed in at random: star half the time, each kind of glasses a third.

    With ``allow_pair`` pink hair may meet green eyes: for the judge alone, which must not be surprised by it; nothing
    of the checkpoint is trained on it.
    """
    look = replace(random_look(rng), star=rng.random() < 0.5, glasses=rng.choice(GLASSES))
    if allow_pair and rng.random() < 0.1:
        look = replace(look, hair="pink", eyes="green")
    assert allow_pair or not is_forbidden(look)
    return look


def mixed_looks(seed: int, count: int, allow_pair: bool) -> list[Look]:
    """``count`` mixed looks."""
    rng = random.Random(seed)
    return [mixed_look(rng, allow_pair) for _ in range(count)]


def base_looks(seed: int, count: int) -> list[Look]:
    """``count`` looks of the base world, as the checkpoint's text and UNet see them."""
    rng = random.Random(seed)
    return [random_look(rng) for _ in range(count)]


def draw_all(looks: Sequence[Look]) -> Tensor:
    """Looks -> uint8 (N, 3, 64, 64)."""
    return picture_tensor([draw(look) for look in looks])
