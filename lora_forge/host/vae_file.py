"""A VAE of its own, in the place of the checkpoint's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from lora_forge.errors import CheckpointError
from lora_forge.model.keymap import VAE_PREFIX
from lora_forge.model.read import read_header

_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")


def read_vae(path: Path, base: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A VAE's tensors under the keys, and in the dtype, that the checkpoint ``base`` has for its own.

    Reads LDM's layout, as WebUIs keep in their VAE folder, bare or with ``first_stage_model.``.

    Raises:
        CheckpointError: the file is no such VAE, or one of other sizes than the checkpoint's.
    """
    header = read_header(path)
    keys = {_ldm_key(key): key for key in header.shapes if key.removeprefix(VAE_PREFIX).startswith(_PARTS)}
    wanted = {key: tensor for key, tensor in base.items() if key.removeprefix(VAE_PREFIX).startswith(_PARTS)}
    missing = [key for key in wanted if key not in keys or not _is_alike(header.shapes[keys[key]], wanted[key])]
    if missing or not wanted:
        raise CheckpointError(
            "{path} is not a VAE for this checkpoint: {count} of its {total} tensors are missing or of another size, "
            "such as {some}.",
            "Choose a VAE of the same family, in the WebUIs' layout.",
            path=path,
            count=len(missing),
            total=len(wanted),
            some=min(missing, default="all"),
        )
    try:
        with safe_open(str(path), framework="pt") as file:
            return {
                key: file.get_tensor(keys[key]).to(tensor.dtype).reshape(tensor.shape) for key, tensor in wanted.items()
            }
    except (SafetensorError, OSError) as cause:
        raise CheckpointError("{path} can't be read: {cause}.", path=path, cause=cause) from cause


def _ldm_key(key: str) -> str:
    return key if key.startswith(VAE_PREFIX) else VAE_PREFIX + key


def _is_alike(shape: tuple[int, ...], tensor: torch.Tensor) -> bool:
    """Attention weights come as (C, C) or (C, C, 1, 1)."""
    return [side for side in shape if side != 1] == [side for side in tensor.shape if side != 1]
