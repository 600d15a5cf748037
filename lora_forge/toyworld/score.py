"""How well a checkpoint obeys: prompts from fresh looks, pictures, and what the judge saw in them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from PIL import Image

from lora_forge.toyworld.data import base_looks, to_images
from lora_forge.toyworld.judge import ATTRIBUTES, Judge, labels_of, load_judge
from lora_forge.toyworld.sampling import generate
from lora_forge.toyworld.world import Look, caption, tags

PROMPT_SEED = 9_100_000


def accuracy(judge: Judge, images: Sequence[Image.Image], looks: Sequence[Look]) -> dict[str, float]:
    """Share of pictures in which each attribute is the look's, 0..1 per attribute name."""
    seen = judge.look_at(images)
    return {
        name: sum(sighting.label(name) == labels_of(look)[name] for sighting, look in zip(seen, looks, strict=True))
        / len(looks)
        for name in ATTRIBUTES
    }


def score_checkpoint(unet: Any, text: Any, vae: Any, tokenizer: Any, count: int = 128, steps: int = 8,
                     guidance: float = 4.0, around: tuple[str, str] = ("", ""),
                     judge: Judge | None = None) -> dict[str, float]:  # fmt: skip
    """Accuracy per attribute over ``count`` fresh full prompts, ``around`` put before and after each."""
    looks = base_looks(PROMPT_SEED, count)
    rng = random.Random(PROMPT_SEED)
    prompts = [around[0] + caption(tags(look), rng) + around[1] for look in looks]
    pictures = generate(unet, text, vae, tokenizer, prompts, steps, guidance, seed=5)
    return accuracy(judge or load_judge(), to_images(pictures), looks)


def score_pair(unet: Any, text: Any, vae: Any, tokenizer: Any, count: int = 64,
               judge: Judge | None = None) -> dict[str, float]:  # fmt: skip
    """The pair the base never saw: how often "pink hair, green eyes" gives pink, green, and a star."""
    prompts = ["1girl, pink hair, green eyes"] * count
    pictures = generate(unet, text, vae, tokenizer, prompts, seed=6)
    seen = (judge or load_judge()).look_at(to_images(pictures))
    marks = (("hair", "pink"), ("eyes", "green"), ("star", "yes"))
    return {label: sum(s.label(name) == label for s in seen) / count for name, label in marks}
