"""A LoRA file's tensors for a host's own loader to match, read by ourselves: the hosts' readers keep caches."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from lora_forge.errors import LoraFileError


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor, in memory of its own: a mapped file could be changed under it.

    Raises:
        LoraFileError: the file is missing or damaged.
    """
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError, ValueError) as cause:
        raise LoraFileError("{path} can't be read: {cause}.", path=path, cause=cause) from cause
