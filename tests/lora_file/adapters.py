"""Adapters with chosen values, and files of other programs, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lora_forge.lora_file.weights import LoraModule, LoraWeights

LINEAR, CONV = "lora_unet_mid_block_attentions_0_proj_in", "lora_unet_mid_block_resnets_0_conv1"


def linear(rank: int, seed: int, dtype: torch.dtype = torch.float32, alpha: float = 16.0) -> LoraModule:
    """12 x 9, values of about 0.02 as a training leaves them."""
    generator = torch.Generator().manual_seed(seed)
    down, up = (torch.randn(shape, generator=generator) * 0.02 for shape in ((rank, 9), (12, rank)))
    return LoraModule(down.to(dtype), up.to(dtype), alpha)


def conv(rank: int, seed: int, dtype: torch.dtype = torch.float32, alpha: float = 16.0) -> LoraModule:
    """10 channels from 5, 3 x 3."""
    generator = torch.Generator().manual_seed(seed)
    down, up = (torch.randn(shape, generator=generator) * 0.02 for shape in ((rank, 5, 3, 3), (10, rank, 1, 1)))
    return LoraModule(down.to(dtype), up.to(dtype), alpha)


def both(rank: int, seed: int = 0, dtype: torch.dtype = torch.float32, alpha: float = 16.0) -> LoraWeights:
    return {LINEAR: linear(rank, seed, dtype, alpha), CONV: conv(rank, seed + 1, dtype, alpha)}


def planted(values: tuple[float, ...], seed: int = 0) -> LoraModule:
    """A layer whose delta has exactly these singular values."""
    generator = torch.Generator().manual_seed(seed)
    left, _ = torch.linalg.qr(torch.randn(12, len(values), generator=generator, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(9, len(values), generator=generator, dtype=torch.float64))
    up = (left * torch.tensor(values, dtype=torch.float64)).float()
    return LoraModule(right.T.float().contiguous(), up, float(len(values)))


def write_file(path: Path, shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, Any] | None = None) -> Path:
    """A safetensors file of float16 zeros."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata is not None else {}
    end = 0
    for name, shape in shapes.items():
        start, count = end, 1
        for side in shape:
            count *= side
        end = start + 2 * count
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))
    return path
