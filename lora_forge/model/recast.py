"""Frozen weights that lie in memory in fewer bits than they are computed with.

Each layer widens its weight for the moment of its product, forward and again backward: nothing of the wide weight's
size is kept in between. Written as a plain ``x @ weight.to(dtype)`` autograd keeps every wide weight until the backward
pass, so that eight bits take more memory than sixteen.

In eight bits (float8_e4m3fn: three bits of mantissa) each output channel has a scale of its own, a power of two, which
makes the best of the exponents: widening is exact, and storing costs about 2.6 % of a weight's size (root of the mean
square), where a cast without scales loses whatever lies below 0.002.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lora_forge.errors import ConfigError

FLOATS_IN_8_BITS = tuple(getattr(torch, name) for name in ("float8_e4m3fn", "float8_e5m2") if hasattr(torch, name))
"""The plain ones of this torch, from 2.1 on: a number is what its own bits say."""
_BLOCKS = ("down_blocks", "mid_block", "up_blocks")  # the rest of a UNet is 1 % of it, and everything passes through it
_MOST = 448.0  # the largest number of float8_e4m3fn
_REMEDY = "Set base_storage to as_lent."


def linear(x: Tensor, weight: Tensor, scale: Tensor | None, bias: Tensor | None) -> Tensor:
    """``F.linear`` in ``x``'s type with a frozen ``weight`` (out, in) of any float type, times ``scale`` (out, 1)."""
    made: Tensor = _Linear.apply(x, weight, scale, bias)  # type: ignore[no-untyped-call]
    return made


def convolution(x: Tensor, layer: nn.Conv2d, scale: Tensor | None) -> Tensor:
    """The convolution ``layer`` in ``x``'s type, with its frozen weight times ``scale`` (out, 1, 1, 1)."""
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):  # none of Stable Diffusion's
        bias = None if layer.bias is None else layer.bias.to(x.dtype)
        answer: Tensor = layer._conv_forward(x, wide(layer.weight, scale, x.dtype), bias)
        return answer
    way = (layer.stride, layer.padding, layer.dilation, layer.groups)
    made: Tensor = _Conv2d.apply(x, layer.weight, scale, layer.bias, way)  # type: ignore[no-untyped-call]
    return made


def wide(weight: Tensor, scale: Tensor | None, dtype: torch.dtype) -> Tensor:
    """``weight * scale`` in ``dtype``; a tensor of its own wherever anything has to be done for it."""
    found = weight.to(dtype)
    return found if scale is None else found.mul_(scale) if found is not weight else found * scale


class _Linear(torch.autograd.Function):
    """Only ``x`` (..., in) has a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight, scale)  # the stored ones, which are there anyway
        return F.linear(x, wide(weight, scale, x.dtype), None if bias is None else bias.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        weight, scale = ctx.saved_tensors
        return gradients[0] @ wide(weight, scale, gradients[0].dtype), None, None, None


class _Conv2d(torch.autograd.Function):
    """Only ``x`` (B, C, H, W) has a gradient. ``way``: stride, padding, dilation, groups."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor | None, bias: Tensor | None, way: Any) -> Tensor:
        ctx.save_for_backward(weight, scale)
        ctx.shape, ctx.way = x.shape, way
        return F.conv2d(x, wide(weight, scale, x.dtype), None if bias is None else bias.to(x.dtype), *way)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        weight, scale = ctx.saved_tensors
        (gradient,) = gradients
        found = wide(weight, scale, gradient.dtype)
        like = gradient.new_empty(1).expand(ctx.shape)  # its sizes alone are read
        stride, padding, dilation, groups = ctx.way
        given: Tensor = torch.ops.aten.convolution_backward(
            gradient, like, found, None, stride, padding, dilation, False, [0, 0], groups, (True, False, False)
        )[0]
        return given, None, None, None, None


class Fp8Linear(nn.Linear):
    """``weight``: float8 (out, in), ``weight_scale``: float32 (out, 1); the bias as it was."""

    weight_scale: Tensor

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.weight_scale, self.bias)


class Fp8Conv2d(nn.Conv2d):
    """``weight``: float8 (out, in, kh, kw), ``weight_scale``: float32 (out, 1, 1, 1); the bias as it was."""

    weight_scale: Tensor

    def forward(self, input: Tensor) -> Tensor:
        return convolution(input, self, self.weight_scale)


_KINDS: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: Fp8Linear, nn.Conv2d: Fp8Conv2d}


def to_fp8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """``weight`` (out, ...) as float8_e4m3fn of the same layout and float32 scales (out, 1, ...), powers of two."""
    most = weight.abs().amax(dim=tuple(range(1, weight.dim())), keepdim=True).float()
    scale = torch.ldexp(torch.ones_like(most), torch.frexp(most / _MOST).exponent)
    scale = torch.where(most > 0, scale, torch.ones_like(scale))
    return (weight.float() / scale).to(torch.float8_e4m3fn), scale


def store_in_fp8(unet: nn.Module, device: torch.device) -> None:
    """Put the weights of the Linear and Conv2d layers in ``unet``'s blocks on ``device`` in eight bits, for good.

    Layer by layer: beside what is stored already one layer's wide weight lies there at a time. Norms, biases and what
    is outside of the blocks stay as they are, and where they are.

    Raises:
        ConfigError: this torch or this device has no such numbers.
    """
    check_fp8(device)
    with torch.no_grad():
        for name, layer in unet.named_modules():
            if name.partition(".")[0] in _BLOCKS and type(layer) in _KINDS:
                small, scale = to_fp8(layer.weight.detach().to(device))
                layer.weight = nn.Parameter(small, requires_grad=False)
                layer.register_buffer("weight_scale", scale)
                layer.__class__ = _KINDS[type(layer)]


def is_in_fp8(unet: nn.Module) -> bool:
    """Whether weights of its layers lie there in eight bits, by :func:`store_in_fp8` or as a host has them."""
    layers = (layer for layer in unet.modules() if isinstance(layer, (nn.Linear, nn.Conv2d)))
    return any(layer.weight.dtype in FLOATS_IN_8_BITS for layer in layers)


def check_fp8(device: torch.device) -> None:
    """See to it that ``device`` can store and widen eight bits.

    Raises:
        ConfigError: it can't.
    """
    if not hasattr(torch, "float8_e4m3fn"):
        raise ConfigError("torch {version} has no 8-bit floats; 2.1 was the first.", _REMEDY, version=torch.__version__)
    try:
        torch.ones(1, device=device).to(torch.float8_e4m3fn).to(torch.float16)
    except (TypeError, RuntimeError, NotImplementedError) as cause:
        raise ConfigError("{device} has no 8-bit floats: {cause}", _REMEDY, device=device, cause=cause) from cause
