"""Pictures drawn during training, with the weights as they would be saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from PIL.Image import Image

from lora_forge.atomic import write_atomically
from lora_forge.config import TrainConfig
from lora_forge.model.sampling import sample
from lora_forge.model.text import Conditioning, encode
from lora_forge.ports import BorrowedModel
from lora_forge.seeds import stable_seed

TRIGGER_PLACE = "TRIGGER"


def prompts_of(config: TrainConfig, example: str) -> list[str]:
    """The settings' prompts with the trigger word filled in; without any, a caption of the photos."""
    prompts = config.preview_prompts or (config.trigger_word or example,)
    return [prompt.replace(TRIGGER_PLACE, config.trigger_word) for prompt in prompts]


def preview_path(run_dir: Path, step: int, number: int) -> Path:
    """Where the ``number``-th picture (from 1) of a step goes."""
    return run_dir / "previews" / f"step-{step:08d}-{number}.png"


@torch.no_grad()
def draw_preview(
    model: BorrowedModel, config: TrainConfig, prompt: str, number: int, should_stop: Callable[[], bool]
) -> Image | None:
    """One square picture; each prompt keeps its seed for the whole run, so that the pictures can be compared.

    None when ``should_stop`` said so before it was done.
    """
    both = encode(model, [prompt, ""], config.clip_skip)
    positive, negative = (
        Conditioning(both.hidden[row : row + 1], None if both.pooled is None else both.pooled[row : row + 1])
        for row in (0, 1)
    )
    side = config.resolution_px
    seed = stable_seed(config.seed, "preview", number)
    steps, guidance = config.preview_steps, config.preview_guidance
    drawn = sample(model, positive, negative, side, side, steps, guidance, [seed], should_stop=should_stop)
    return drawn[0] if drawn else None


def save_png(picture: Image, path: Path) -> None:
    """Write atomically."""
    write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))
