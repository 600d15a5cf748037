"""Names of adapted layers: our module paths to the keys that every reader of LoRA files knows, and back.

The convention is that of kohya-ss/sd-scripts ``networks/lora.py``: a prefix, then the module's path with dots as
underscores. Paths are those of diffusers and transformers modules; SDXL's UNet is written with LDM's names, as kohya
writes it. Everything here works on text alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from lora_forge.config import Family

Part = Literal["unet", "te", "te1", "te2"]

PREFIXES: dict[Part, str] = {"unet": "lora_unet", "te": "lora_te", "te1": "lora_te1", "te2": "lora_te2"}

_TE_LAYERS: dict[tuple[Family, Part], int] = {
    (Family.SD1, "te"): 12,
    (Family.SD2, "te"): 23,  # kohya and the hosts drop OpenCLIP's last layer
    (Family.SDXL, "te1"): 12,
    (Family.SDXL, "te2"): 32,
}
_TE_LEAVES = ("self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")

# Transformer depth of each down block; the middle has the last one's, the up blocks mirror. 0: no attention.
_DEPTHS = {Family.SD1: (1, 1, 1, 0), Family.SD2: (1, 1, 1, 0), Family.SDXL: (0, 2, 10)}
_MID_DEPTH = {Family.SD1: 1, Family.SD2: 1, Family.SDXL: 10}
# Down blocks whose first resnet changes the channels, and so has a conv_shortcut; in up blocks all have.
_WIDENING = {Family.SD1: (1, 2), Family.SD2: (1, 2), Family.SDXL: (1, 2)}
_BLOCK_LEAVES = (
    *(f"attn{n}.{leaf}" for n in (1, 2) for leaf in ("to_q", "to_k", "to_v", "to_out.0")),
    "ff.net.0.proj",
    "ff.net.2",
)

_RESNET_TO_LDM = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_LDM_TO_RESNET = {ldm: ours for ours, ldm in _RESNET_TO_LDM.items()}

_WORDS = re.compile(
    r"(?:down_blocks|up_blocks|mid_block|input_blocks|middle_block|output_blocks|transformer_blocks|text_model"
    r"|proj_in|proj_out|to_q|to_k|to_v|to_out|self_attn|q_proj|k_proj|v_proj|out_proj"
    r"|time_emb_proj|conv_shortcut|in_layers|emb_layers|out_layers|skip_connection|[a-z0-9]+)(?=_|$)"
)


def kohya_name(family: Family, part: Part, module_path: str) -> str:
    """The name (key without suffix) of the layer at ``module_path`` in the diffusers UNet or the CLIP tower.

    transformers 5 dropped the ``text_model.`` level of CLIP's paths; both spellings give the same name.
    """
    if part != "unet":
        path = "text_model." + module_path.removeprefix("text_model.")
    elif family is Family.SDXL:
        path = _ldm_path(module_path)
    else:
        path = module_path
    return f"{PREFIXES[part]}_{path.replace('.', '_')}"


def split_name(name: str) -> tuple[Part, str]:
    """The inverse of :func:`kohya_name`: which model, and the path there (CLIP's with ``text_model.``).

    SDXL's LDM names come back as diffusers paths; diffusers names are taken for every family.

    Raises:
        ValueError: ``name`` is not of this convention.
    """
    for part, prefix in PREFIXES.items():
        if name.startswith(prefix + "_"):
            rest = name[len(prefix) + 1 :]
            words = _WORDS.findall(rest)
            if words and "_".join(words) == rest:
                path = ".".join(words)
                return part, _diffusers_path(path) if part == "unet" else path
    raise ValueError(f"{name!r} names no layer that LoRA files know")


def parts_of(family: Family) -> tuple[Part, ...]:
    """The models of a family that a LoRA can adapt, the UNet first."""
    return ("unet", "te1", "te2") if family is Family.SDXL else ("unet", "te")


def module_names(family: Family, part: Part, *, has_conv: bool = False) -> tuple[str, ...]:
    """All names of a full-size model's adapters with every target on: SD1 has 192 + 72, SDXL 722 + 72 + 192.

    ``has_conv`` adds what a convolution rank adds: resnets, downsamplers and upsamplers (UNet only).
    """
    if part != "unet":
        layers = _TE_LAYERS[family, part]
        paths = [f"encoder.layers.{i}.{leaf}" for i in range(layers) for leaf in _TE_LEAVES]
    else:
        paths = [*_attention_paths(family), *(_conv_paths(family) if has_conv else ())]
    return tuple(kohya_name(family, part, path) for path in paths)


def _attention_paths(family: Family) -> Iterator[str]:
    depths = _DEPTHS[family]
    for i, depth in enumerate(depths):
        for j in range(2 if depth else 0):
            yield from _transformer_paths(f"down_blocks.{i}.attentions.{j}", depth)
    for i, depth in enumerate(reversed(depths)):
        for j in range(3 if depth else 0):
            yield from _transformer_paths(f"up_blocks.{i}.attentions.{j}", depth)
    yield from _transformer_paths("mid_block.attentions.0", _MID_DEPTH[family])


def _transformer_paths(root: str, depth: int) -> Iterator[str]:
    yield f"{root}.proj_in"
    for k in range(depth):
        yield from (f"{root}.transformer_blocks.{k}.{leaf}" for leaf in _BLOCK_LEAVES)
    yield f"{root}.proj_out"


def _conv_paths(family: Family) -> Iterator[str]:
    blocks = len(_DEPTHS[family])
    for i in range(blocks):
        for j in range(2):
            yield from _resnet_paths(f"down_blocks.{i}.resnets.{j}", j == 0 and i in _WIDENING[family])
        for j in range(3):
            yield from _resnet_paths(f"up_blocks.{i}.resnets.{j}", True)
        if i < blocks - 1:
            yield f"down_blocks.{i}.downsamplers.0.conv"
            yield f"up_blocks.{i}.upsamplers.0.conv"
    for j in range(2):
        yield from _resnet_paths(f"mid_block.resnets.{j}", False)


def _resnet_paths(root: str, has_shortcut: bool) -> Iterator[str]:
    yield from (f"{root}.{leaf}" for leaf in ("conv1", "time_emb_proj", "conv2"))
    if has_shortcut:
        yield f"{root}.conv_shortcut"


def _ldm_path(path: str) -> str:
    """A diffusers SDXL path in LDM's words; each LDM block holds one resnet, its attention and its resampler."""
    side, *rest = path.split(".")
    if side == "mid_block":
        kind, j, *leaf = rest
        root = f"middle_block.{1 if kind == 'attentions' else 2 * int(j)}"
        return f"{root}.{_ldm_leaf(kind, leaf)}"
    i, kind, j, *leaf = rest
    if side == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{3 * (int(i) + 1)}.0.op"
        return f"input_blocks.{3 * int(i) + int(j) + 1}.{int(kind == 'attentions')}.{_ldm_leaf(kind, leaf)}"
    if kind == "upsamplers":
        return f"output_blocks.{3 * int(i) + 2}.2.conv"
    return f"output_blocks.{3 * int(i) + int(j)}.{int(kind == 'attentions')}.{_ldm_leaf(kind, leaf)}"


def _ldm_leaf(kind: str, leaf: list[str]) -> str:
    return _RESNET_TO_LDM[leaf[0]] if kind == "resnets" else ".".join(leaf)


def _diffusers_path(path: str) -> str:
    """An LDM path in diffusers' words; a diffusers path comes back as it is."""
    side, *rest = path.split(".")
    if side == "middle_block":
        n, *leaf = rest
        root = "mid_block.attentions.0" if n == "1" else f"mid_block.resnets.{int(n) // 2}"
        return f"{root}.{_our_leaf(leaf)}"
    if side == "input_blocks":
        n, slot, *leaf = rest
        if leaf == ["op"]:
            return f"down_blocks.{int(n) // 3 - 1}.downsamplers.0.conv"
        i, j = divmod(int(n) - 1, 3)
        return f"down_blocks.{i}.{_kind(slot)}.{j}.{_our_leaf(leaf)}"
    if side == "output_blocks":
        n, slot, *leaf = rest
        i, j = divmod(int(n), 3)
        if leaf == ["conv"]:
            return f"up_blocks.{i}.upsamplers.0.conv"
        return f"up_blocks.{i}.{_kind(slot)}.{j}.{_our_leaf(leaf)}"
    return path


def _kind(slot: str) -> str:
    return "attentions" if slot == "1" else "resnets"


def _our_leaf(leaf: list[str]) -> str:
    joined = ".".join(leaf)
    return _LDM_TO_RESNET.get(joined, joined)
