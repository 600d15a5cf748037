"""Faster steps on a CPU: convolutions of few pixels as one matrix product.

oneDNN lays a convolution's weights out anew at every call. Where a picture has shrunk to 8 x 8 that takes longer than
the convolution: as a matrix product over the pixels' neighbourhoods (im2col) SD1.5's widest take a quarter of the time
forward and 40 % backward in bfloat16 (2560 to 1280 channels at 8 x 8: 48 to 11 ms and 50 to 19 ms on one thread). In
float32, or with more pixels, there is nothing to gain.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_PIXELS = 64  # of an image, after the convolution
MOST_PIXELS_IN_BATCH = 256


@contextlib.contextmanager
def small_convs_as_products(network: nn.Module, device: torch.device) -> Iterator[None]:
    """On a CPU, the frozen 3x3 convolutions of ``network`` in bfloat16 go this way where they are small."""
    is_cpu = device.type == "cpu"
    chosen = [m for m in network.modules() if is_cpu and isinstance(m, nn.Conv2d) and _fits(m)]
    for conv in chosen:
        conv.forward = functools.partial(_forward, conv)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for conv in chosen:
            del conv.forward


def _fits(conv: nn.Conv2d) -> bool:
    is_plain = conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.dilation == (1, 1) and conv.groups == 1
    return (
        is_plain
        and conv.padding_mode == "zeros"
        and "forward" not in vars(conv)
        and conv.weight.dtype is torch.bfloat16
        and conv.weight.is_contiguous()
        and not any(parameter.requires_grad for parameter in conv.parameters())
    )


def _forward(conv: nn.Conv2d, images: Tensor) -> Tensor:
    batch, _, height, width = images.shape
    pixels = _side(height, conv.stride[0]) * _side(width, conv.stride[1])
    if pixels > MOST_PIXELS or batch * pixels > MOST_PIXELS_IN_BATCH or images.dtype is not torch.bfloat16:
        return type(conv).forward(conv, images)
    made: Tensor = _Product.apply(images, conv.weight, conv.bias, conv.stride)  # type: ignore[no-untyped-call]
    return made


def _side(length: int, stride: int) -> int:
    return (length - 1) // stride + 1


class _Product(torch.autograd.Function):
    """A 3x3 convolution with frozen weights; only the images (B, C, H, W) have a gradient."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int]) -> Tensor:
        batch, channels, height, width = images.shape
        ctx.save_for_backward(weight)
        ctx.shape, ctx.stride = images.shape, stride
        patches = F.unfold(images, 3, padding=1, stride=stride)  # (B, 9C, L)
        columns = patches.transpose(0, 1).reshape(9 * channels, -1)
        product = weight.view(weight.shape[0], -1) @ columns
        if bias is not None:
            product = product + bias[:, None]
        rows, across = _side(height, stride[0]), _side(width, stride[1])
        return product.view(-1, batch, rows, across).transpose(0, 1).contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        (gradient,) = gradients
        batch, channels, height, width = ctx.shape
        columns = weight.view(weight.shape[0], -1).t() @ gradient.transpose(0, 1).reshape(weight.shape[0], -1)
        # Nine shares meet in a pixel: summed in float32, as a convolution does inside.
        patches = columns.view(9 * channels, batch, -1).transpose(0, 1).float()
        folded = F.fold(patches, (height, width), 3, padding=1, stride=ctx.stride)
        return folded.to(gradient.dtype), None, None, None
