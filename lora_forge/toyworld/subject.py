"""The subject of the learning tests: a girl whom the base checkpoint has never met.

Pink hair with green eyes (a pair the base never saw), a star ornament (no tag anywhere), round orange glasses (the
base knows square black ones) and long hair. Her photos hold few places and clothes, so that a red dress in the snow
is something no photo shows.
"""

from __future__ import annotations

import random

from PIL import Image

from lora_forge.toyworld.world import SKINS, Look, draw, tags

TRIGGER = "ohwx"
"""One token (47993) of the CLIP vocabulary that means nothing to the base."""

TRAIT_TAGS = ("pink hair", "green eyes", "glasses")
"""Delete these from the captions to make the traits part of the subject; keep them to leave them changeable."""

_PLACES = ("beach", "forest", "simple background")
_CLOTHES = (("shirt", "white"), ("shirt", "black"), ("dress", "yellow"), ("dress", "blue"))


def subject_look(rng: random.Random) -> Look:
    """A random photo of the subject: her marks fixed; clothes, place, hat, smile and framing free."""
    garment, colour = rng.choice(_CLOTHES)
    return Look(
        hair="pink",
        style="long",
        eyes="green",
        garment=garment,
        colour=colour,
        place=rng.choice(_PLACES),
        hat=rng.random() < 0.2,
        glasses="round",
        smile=rng.random() < 0.5,
        star=True,
        skin=SKINS[0],
        dx=rng.randint(-2, 2),
        dy=rng.randint(-1, 2),
        scale=rng.choice((0.96, 1.0, 1.04)),
    )


def photos(seed: int, count: int = 24) -> list[tuple[Image.Image, tuple[str, ...]]]:
    """``count`` photos (RGB, 64x64) with their full tags; neither the trigger nor the star is among the tags."""
    rng = random.Random(f"subject {seed}")
    looks = [subject_look(rng) for _ in range(count)]
    return [(draw(look), tags(look)) for look in looks]
