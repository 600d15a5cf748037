"""A checkpoint file as Forge and its kin hold it: UNet and VAE under LDM's names, every text encoder transformers'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from lora_forge.config import Family
from lora_forge.host.standalone import StandaloneHost
from lora_forge.model import keymap
from lora_forge.model.schedule import alphas_cumprod
from tests.host.standin.trees import grow, under

TEXT_NAMES = {Family.SD1: ("clip_l",), Family.SD2: ("clip_h",), Family.SDXL: ("clip_l", "clip_g")}
Tensors = dict[str, torch.Tensor]


class Wrapped(nn.Module):
    """The hosts' token embedding for textual inversions. Forge's shows the inner weight as its own too."""

    def __init__(self, wrapped: Any, has_own_name: bool) -> None:
        super().__init__()
        self.wrapped = wrapped
        if has_own_name:
            self.weight = wrapped.weight


class Tower(nn.Module):
    """IntegratedCLIP, or SDClipModel: a ``transformer`` and the temperature."""

    def __init__(self, state: Tensors, heads: int, has_own_name: bool) -> None:
        super().__init__()
        self.transformer: Any = grow(state)
        self.transformer.config = SimpleNamespace(num_attention_heads=heads)
        embeddings = self.transformer.text_model.embeddings
        embeddings.token_embedding = Wrapped(embeddings.token_embedding, has_own_name)
        self.logit_scale = nn.Parameter(torch.tensor(4.6055))


def text_states(path: Path) -> dict[str, Tensors]:
    """Tensors of each text encoder of a file under transformers 4's names, by the hosts' name for it."""
    with StandaloneHost(path, device="cpu").borrow() as model:
        names = TEXT_NAMES[model.info.family]
        return {name: _named(t.module.state_dict()) for name, t in zip(names, model.text_towers, strict=True)}


def _named(state: Mapping[str, torch.Tensor]) -> Tensors:
    level = "" if any(key.startswith("text_model.") for key in state) else "text_model."
    kept = {key: tensor.clone() for key, tensor in state.items() if not key.endswith("position_ids")}
    return {key if key.startswith("text_projection") else level + key: tensor for key, tensor in kept.items()}


def unet_and_vae(file: Mapping[str, torch.Tensor]) -> tuple[nn.Module, nn.Module]:
    """Grown from the file's tensors."""
    return grow(under(file, keymap.UNET_PREFIX)), grow(under(file, keymap.VAE_PREFIX))


def places(file: Mapping[str, torch.Tensor], texts: Mapping[str, Tensors]) -> dict[str, str]:
    """kohya's name of each layer -> the host's name of its weight, in the UNet's holder or the text encoders'."""
    found = {}
    for key in under(file, keymap.UNET_PREFIX):
        name = keymap.unet_name(key, 2)
        if name is not None and name.endswith(".weight"):
            for spelled in (name, key):  # diffusers' or LDM's: the hosts take both
                found["lora_unet_" + _joined(spelled)] = f"diffusion_model.{key}"
    for short, (tower, state) in zip(("te1", "te2") if len(texts) == 2 else ("te",), texts.items(), strict=True):
        for key in state:
            if ".layers." in key and key.endswith(".weight"):
                found[f"lora_{short}_" + _joined(key)] = f"{tower}.transformer.{key}"
    return found


def _joined(name: str) -> str:
    return name.removesuffix(".weight").replace(".", "_")


def read_lora(lora: Mapping[str, torch.Tensor], key_map: Mapping[str, str]) -> tuple[dict[str, Any], Tensors]:
    """As ComfyUI's ``load_lora``: (patches by place, tensors that had none)."""
    patches, used = {}, set()
    for name, place in key_map.items():
        if (down := f"{name}.lora_down.weight") in lora:
            up, alpha = f"{name}.lora_up.weight", f"{name}.alpha"
            patches[place] = ("lora", (lora[up], lora[down], float(lora[alpha])))
            used |= {down, up, alpha}
    return patches, {key: tensor for key, tensor in lora.items() if key not in used}


def merged(weight: torch.Tensor, patch: Any) -> torch.Tensor:
    """A new tensor with the LoRA in it."""
    up, down, alpha = patch[1]
    delta = torch.mm(up.flatten(1).float(), down.flatten(1).float()) * (alpha / down.shape[0])
    return (weight.float() + delta.reshape(weight.shape)).to(weight.dtype)


def layer_of(module: nn.Module, key: str) -> tuple[nn.Module, str]:
    """The layer a tensor's name leads to, and the tensor's name in it."""
    parent, _, leaf = key.rpartition(".")
    return module.get_submodule(parent), leaf


def bytes_of(*modules: nn.Module) -> bytes:
    """All they hold: what a picture would depend on."""
    return b"".join(
        name.encode() + tensor.detach().float().numpy().tobytes()
        for module in modules
        for name, tensor in sorted(module.state_dict().items())
    )


def schedule() -> torch.Tensor:
    """As the hosts make it, float32 (1000,)."""
    return alphas_cumprod()
