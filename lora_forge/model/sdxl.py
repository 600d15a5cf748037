"""SDXL's second conditioning: pooled text and the sizes a picture was cut from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from lora_forge.model.text import Conditioning

Size = tuple[int, int]


def time_ids(original: Size, crop: Size, target: Size) -> torch.Tensor:
    """The six numbers SDXL is told: float32 (6,), in pixels.

    ``original``: the source's (width, height); ``crop``: (left, top) of the cut in the resized picture; ``target``:
    the (width, height) trained or drawn. Order as in Stability's generative-models: height before width, top
    before left.
    """
    return torch.tensor([original[1], original[0], crop[1], crop[0], target[1], target[0]], dtype=torch.float32)


def added_conditions(conditioning: Conditioning, sizes: torch.Tensor) -> dict[str, torch.Tensor] | None:
    """``added_cond_kwargs`` for the UNet; None for a family without pooled text. ``sizes``: (6,) or (B, 6),
    left in float32: diffusers makes sinusoids of them before it casts.
    """
    pooled = conditioning.pooled
    if pooled is None:
        return None
    return {"text_embeds": pooled, "time_ids": sizes.to(pooled.device).expand(len(pooled), 6)}
