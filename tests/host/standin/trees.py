"""torch modules from a checkpoint's keys: the tree of names is the host's, the leaves are real layers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


def grow(state: Mapping[str, torch.Tensor]) -> nn.Module:
    """A module whose ``state_dict`` has the keys of ``state``, on copies of its tensors; wants gradients, as the
    hosts' do."""
    root = nn.Module()
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in state.items():
        first, _, rest = key.partition(".")
        if rest:
            groups.setdefault(first, {})[rest] = tensor
        elif tensor.is_floating_point():
            root.register_parameter(first, nn.Parameter(tensor.clone()))
        else:
            root.register_buffer(first, tensor.clone())
    for name, group in groups.items():
        root.add_module(name, _leaf(group) or grow(group))
    return root


def under(state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors whose key begins so, without that beginning."""
    return {key[len(prefix) :]: tensor for key, tensor in state.items() if key.startswith(prefix)}


def _leaf(group: Mapping[str, torch.Tensor]) -> nn.Module | None:
    made: nn.Module
    if "in_proj_weight" in group:
        width = group["in_proj_weight"].shape[1]
        made = nn.MultiheadAttention(width, 2 if width > 32 else 1, device="meta")
    elif "weight" in group and group.keys() <= {"weight", "bias"}:
        made = _layer(group["weight"], "bias" in group)
    else:
        return None
    made.load_state_dict({name: tensor.clone() for name, tensor in group.items()}, assign=True)
    return made


def _layer(weight: torch.Tensor, has_bias: bool) -> nn.Module:
    if weight.dim() == 4:
        return nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], bias=has_bias, device="meta")
    if weight.dim() == 1:
        return nn.LayerNorm(len(weight), device="meta")
    if not has_bias and weight.shape[0] in (77, 49408):
        return nn.Embedding(*weight.shape, device="meta")
    return nn.Linear(weight.shape[1], weight.shape[0], bias=has_bias, device="meta")
