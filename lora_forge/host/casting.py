"""Weights stay in the type they are stored in, and compute in another: what Forge and ComfyUI call manual cast.

For networks of our own on a host's memory: a copy in the other type would be a second set of weights. Nor may autograd
keep the converted ones until the backward pass, so the large layers convert again there (`model.recast`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lora_forge.model import recast


class _Linear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return recast.linear(input, self.weight, None, self.bias)


class _Conv2d(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return recast.convolution(input, self, None)


class _GroupNorm(nn.GroupNorm):
    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, _like(self.weight, input), _like(self.bias, input), self.eps)


class _LayerNorm(nn.LayerNorm):
    def forward(self, input: Tensor) -> Tensor:
        shape = list(self.normalized_shape)
        return F.layer_norm(input, shape, _like(self.weight, input), _like(self.bias, input), self.eps)


class _Embedding(nn.Embedding):
    compute_dtype: torch.dtype

    def forward(self, input: Tensor) -> Tensor:
        weight: Tensor = self.weight
        if weight.dtype not in recast.FLOATS_IN_8_BITS:
            return F.embedding(input, weight, self.padding_idx).to(self.compute_dtype)
        rows = F.embedding(input, weight.view(torch.uint8))  # not every device looks up eight-bit floats
        return rows.view(weight.dtype).to(self.compute_dtype)


_KINDS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: _Linear,
    nn.Conv2d: _Conv2d,
    nn.GroupNorm: _GroupNorm,
    nn.LayerNorm: _LayerNorm,
    nn.Embedding: _Embedding,
}


def compute_in(module: Any, dtype: torch.dtype) -> None:
    """Make ``module`` take and give ``dtype``, whatever its parameters are stored in; they stay where they are.

    Does nothing when all are of that type. A layer of a kind that is not known here gets parameters of its own.
    """
    if all(parameter.dtype is dtype for parameter in module.parameters()):
        return
    for layer in module.modules():
        if type(layer) in _KINDS:
            layer.__class__ = _KINDS[type(layer)]
            if isinstance(layer, _Embedding):
                layer.compute_dtype = dtype
        else:
            for name, parameter in layer.named_parameters(recurse=False):
                setattr(layer, name, nn.Parameter(parameter.to(dtype), requires_grad=False))


def compute_as_norms(unet: Any, others: Sequence[Any]) -> torch.dtype:
    """Where weights of ``unet`` lie in eight bits, make it and ``others`` compute in the type of its norms.

    That is AUTOMATIC1111's setting "FP8 weight": of everything but the VAE it casts the Linear and Conv2d layers from
    that type, and back to it for each product. Gives the type that ``unet`` computes in.
    """
    if recast.is_in_fp8(unet):
        kinds = (parameter.dtype for parameter in unet.parameters())
        dtype: torch.dtype = next(kind for kind in kinds if kind not in recast.FLOATS_IN_8_BITS)
        for module in (unet, *others):
            compute_in(module, dtype)
        return dtype
    return unet.dtype  # type: ignore[no-any-return]


def _like(parameter: Any, input: Tensor) -> Any:
    return None if parameter is None else parameter.to(input.dtype)
