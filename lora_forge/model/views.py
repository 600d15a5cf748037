"""diffusers and transformers modules on weights that already lie in memory: no second copy.

Modules are built without storage (torch's meta device) and then handed the given tensors, renamed, sliced or
transposed, never copied. The same functions serve a file's tensors and a WebUI's live state dict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lora_forge.config import Family
from lora_forge.errors import CheckpointError
from lora_forge.model import configs, keymap
from lora_forge.model.detect import CheckpointFacts
from lora_forge.model.tokenizer_files import load_tokenizer
from lora_forge.ports import TextTower

State = Mapping[str, torch.Tensor]

CLIP_PAD_ID = configs.EOS_ID
OPEN_CLIP_PAD_ID = 0
_TEXT_LEVEL = "text_model."


def share(tensor: torch.Tensor) -> torch.Tensor:
    """An ordinary tensor on the same memory, with no history and no gradient.

    Forge makes its weights under ``torch.inference_mode``; autograd refuses such tensors, and detach, view or
    Parameter stay inference tensors. A tensor made anew on the same storage is not one.
    """
    with torch.inference_mode(False), torch.no_grad():
        alias = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        return alias.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())


def shapes_of(state: State) -> dict[str, tuple[int, ...]]:
    """Shapes by key, as :func:`lora_forge.model.detect.describe` wants them."""
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def build_unet(ldm_state: State, facts: CheckpointFacts) -> Any:
    """A UNet2DConditionModel on the memory of ``ldm_state``: frozen, eval.

    Takes the keys ``model.diffusion_model.*``; others are ignored.

    Raises:
        CheckpointError: tensors are missing, too many, or of another shape than the family's.
    """
    config = configs.unet_config(shapes_of(ldm_state), facts.family, facts.unet_heads)
    layers = config["layers_per_block"]
    state = {}
    for key, tensor in _under(ldm_state, keymap.UNET_PREFIX):
        state[keymap.unet_name(key, layers) or key] = share(tensor)
    return _on_memory(UNet2DConditionModel, config, state, "UNet")


def build_vae(ldm_state: State, facts: CheckpointFacts) -> Any:
    """An AutoencoderKL on the memory of ``ldm_state`` (keys ``first_stage_model.*``): frozen, eval.

    LDM's attention weights are 1x1 convolutions (C, C, 1, 1), diffusers' are matrices: views of them.

    Raises:
        CheckpointError: as :func:`build_unet`.
    """
    config = configs.vae_config(shapes_of(ldm_state), facts.vae_scale)
    levels = len(config["block_out_channels"])
    state = {}
    for key, tensor in _under(ldm_state, keymap.VAE_PREFIX):
        name = keymap.vae_name(key, levels)
        if name is not None:  # VAE files keep odds and ends of their own training (a discriminator, its loss)
            alias = share(tensor)
            state[name] = alias[:, :, 0, 0] if ".attentions." in name and alias.dim() == 4 else alias
    return _on_memory(AutoencoderKL, config, state, "VAE")


def build_text_towers(ldm_state: State, facts: CheckpointFacts) -> tuple[TextTower, ...]:
    """One tower (SD1.x, SD2.x) or two (SDXL), each with its tokenizer, on the memory of ``ldm_state``: frozen, eval.

    OpenCLIP's fused q/k/v is sliced and its projection transposed: views too.

    Raises:
        CheckpointError: as :func:`build_unet`.
    """
    if facts.family is Family.SDXL:
        first = build_clip(_clip_state(ldm_state, keymap.SDXL_TEXT_PREFIX), facts.te_heads)
        second = build_open_clip(_open_clip_state(ldm_state, keymap.SDXL_TEXT2_PREFIX), facts.te2_heads)
        return (
            TextTower(first, load_tokenizer(), CLIP_PAD_ID, "lora_te1"),
            TextTower(second, load_tokenizer(), OPEN_CLIP_PAD_ID, "lora_te2"),
        )
    if facts.family is Family.SD2:
        prefix = next(p for p in keymap.SD2_TEXT_PREFIXES if p + "positional_embedding" in ldm_state)
        state = _without_last_layer(_open_clip_state(ldm_state, prefix))
        return (TextTower(build_open_clip(state, facts.te_heads), load_tokenizer(), OPEN_CLIP_PAD_ID, "lora_te"),)
    module = build_clip(_clip_state(ldm_state, keymap.SD1_TEXT_PREFIX), facts.te_heads)
    return (TextTower(module, load_tokenizer(), CLIP_PAD_ID, "lora_te"),)


def build_clip(state: State, heads: int | None = None) -> Any:
    """CLIP-L (a CLIPTextModel) from tensors under transformers 4's names (``text_model.encoder.layers...``)."""
    config = CLIPTextConfig(**configs.text_config(shapes_of(state), heads, "quick_gelu", CLIP_PAD_ID))
    return _text_on_memory(lambda: CLIPTextModel(config), state)


def build_open_clip(state: State, heads: int | None = None) -> Any:
    """An OpenCLIP tower from tensors under transformers 4's names.

    A CLIPTextModelWithProjection when ``state`` has a projection, else a CLIPTextModel.
    """
    config = CLIPTextConfig(**configs.text_config(shapes_of(state), heads, "gelu", OPEN_CLIP_PAD_ID))
    kind = CLIPTextModelWithProjection if "text_projection.weight" in state else CLIPTextModel
    return _text_on_memory(lambda: kind(config), state)


def _clip_state(ldm_state: State, prefix: str) -> dict[str, torch.Tensor]:
    named = ((keymap.clip_name(key), tensor) for key, tensor in _under(ldm_state, prefix))
    return {name: share(tensor) for name, tensor in named if name is not None}


def _open_clip_state(ldm_state: State, prefix: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    for key, tensor in _under(ldm_state, prefix):
        names, alias = keymap.open_clip_names(key), share(tensor)
        if key == "text_projection":
            alias = alias.t()
        state.update(zip(names, alias.chunk(len(names)) if names else (), strict=True))
    return state


def _without_last_layer(state: State) -> State:
    """SD2.x conditions on OpenCLIP's last layer but one; LoRA files name its 23 layers, so the 24th is left out.

    A file that was already saved with 23 keeps them all. The projection serves no one here.
    """
    last = max(int(key.split(".")[3]) for key in state if ".layers." in key)
    cut = f"{_TEXT_LEVEL}encoder.layers.{last}." if last != 22 else "no such layer"
    return {key: tensor for key, tensor in state.items() if not key.startswith((cut, "text_projection"))}


def _under(state: State, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    return ((key[len(prefix) :], tensor) for key, tensor in state.items() if key.startswith(prefix))


def _text_on_memory(make: Callable[[], Any], state: State) -> Any:
    module = _on_meta(make)
    if not any(key.startswith(_TEXT_LEVEL) for key in module.state_dict()):  # transformers 5 dropped the level
        state = {
            key[len(_TEXT_LEVEL) :] if key.startswith(_TEXT_LEVEL) else key: tensor for key, tensor in state.items()
        }
    _adopt(module, state, "text encoder")
    return module


def _on_memory(kind: Callable[..., Any], config: Mapping[str, Any], state: State, part: str) -> Any:
    module = _on_meta(lambda: kind(**config))
    _adopt(module, state, part)
    return module


def _on_meta(make: Callable[[], Any]) -> Any:
    with torch.device("meta"):
        return make().requires_grad_(False).eval()


def _adopt(module: Any, state: State, part: str) -> None:
    """Give ``module`` the tensors of ``state`` as its own; every parameter must be there, in its shape, and no more."""
    expected = {name: tuple(tensor.shape) for name, tensor in module.named_parameters()}
    _refuse_mismatch(expected, shapes_of(state), part)
    module.load_state_dict(dict(state), strict=False, assign=True)
    module.requires_grad_(False)
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:  # position_ids: a plain count, stored in no file since transformers 4.31
            owner, _, leaf = name.rpartition(".")
            if leaf != "position_ids":
                raise CheckpointError("The {part} needs a buffer {name!r} that no file holds.", part=part, name=name)
            module.get_submodule(owner).position_ids = torch.arange(buffer.shape[-1]).expand(1, -1)


def _refuse_mismatch(expected: configs.Shapes, given: configs.Shapes, part: str) -> None:
    missing = sorted(expected.keys() - given.keys())
    extra = sorted(given.keys() - expected.keys())
    reshaped = sorted(key for key in expected.keys() & given.keys() if expected[key] != given[key])
    problems = [
        f"{len(keys)} {word} (such as {keys[0]})"
        for keys, word in ((missing, "missing"), (extra, "unknown"), (reshaped, "of another shape"))
        if keys
    ]
    if problems:
        raise CheckpointError(
            "The {part} of this checkpoint differs from its family's: {problems} of {count} tensors.",
            "It may be a pruned or distilled variant; choose the full checkpoint.",
            part=part,
            problems=", ".join(problems),
            count=len(expected),
        )
