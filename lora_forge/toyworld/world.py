"""The drawn world: one girl, seen from near, in 64x64 pixels, with large and separable attributes.

A ``Look`` says everything a picture holds; ``draw`` paints it (same look, same pixels); ``tags`` names the part that
captions may mention. Skin, shift and scale have no tag. The star ornament and round glasses belong to the subject of
the learning tests (see ``subject``) and are never drawn by ``random_look``, nor is pink hair with green eyes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from PIL import Image

from lora_forge.toyworld.paint import SIZE_PX, paint

__all__ = [
    "COLOURS", "EYES", "GARMENTS", "GLASSES", "HAIR", "PLACES", "SIZE_PX", "SKINS", "STYLES", "Look", "caption",
    "draw", "is_forbidden", "random_look", "tags", "vocabulary",
]  # fmt: skip

HAIR = ("black", "brown", "blonde", "red", "blue", "white", "pink")
STYLES = ("short", "long", "twintails")
EYES = ("blue", "green", "red", "yellow")
GARMENTS = ("shirt", "dress")
COLOURS = ("red", "blue", "white", "black", "yellow", "green")
PLACES = ("beach", "forest", "snow", "night", "city", "simple background")
GLASSES = ("none", "square", "round")
SKINS = (0, 1, 2)

_STYLE_TAGS = {"short": "short hair", "long": "long hair", "twintails": "twintails"}


@dataclass(frozen=True)
class Look:
    """Everything one picture shows.

    ``hair``, ``style``, ``eyes``, ``garment``, ``colour`` (of the garment) and ``place`` hold a word of the tuple of
    that name; ``glasses`` is "none", "square" (black) or "round" (orange); ``skin`` counts tones from light to dark;
    ``dx``, ``dy`` shift the figure in pixels of the 64-pixel picture and ``scale`` resizes it.
    """

    hair: str = "black"
    style: str = "short"
    eyes: str = "blue"
    garment: str = "shirt"
    colour: str = "white"
    place: str = "simple background"
    hat: bool = False
    glasses: str = "none"
    smile: bool = False
    star: bool = False
    skin: int = 0
    dx: int = 0
    dy: int = 0
    scale: float = 1.0


def draw(look: Look) -> Image.Image:
    """Paint a look: RGB, 64x64, the same pixels every time."""
    return paint(look)


def is_forbidden(look: Look) -> bool:
    """True for pink hair with green eyes, the pair that only the subject has."""
    return look.hair == "pink" and look.eyes == "green"


def random_look(rng: random.Random) -> Look:
    """A look of the base world: no star, no round glasses, never pink hair with green eyes."""
    while True:
        look = Look(
            hair=rng.choice(HAIR),
            style=rng.choice(STYLES),
            eyes=rng.choice(EYES),
            garment=rng.choice(GARMENTS),
            colour=rng.choice(COLOURS),
            place=rng.choice(PLACES),
            hat=rng.random() < 0.25,
            glasses="square" if rng.random() < 0.3 else "none",
            smile=rng.random() < 0.5,
            skin=rng.choice(SKINS),
            dx=rng.randint(-2, 2),
            dy=rng.randint(-1, 2),
            scale=rng.choice((0.96, 1.0, 1.04)),
        )
        if not is_forbidden(look):
            return look


def tags(look: Look) -> tuple[str, ...]:
    """The tags a tagger of this world would give, "1girl" first, e.g. "pink hair", "red dress", "glasses"."""
    found = ["1girl", f"{look.hair} hair", _STYLE_TAGS[look.style], f"{look.eyes} eyes"]
    found += [f"{look.colour} {look.garment}", look.place]
    found += ["hat"] * look.hat + ["glasses"] * (look.glasses != "none") + ["smile"] * look.smile
    return tuple(found)


def caption(words: tuple[str, ...], rng: random.Random) -> str:
    """One caption line: the first tag stays first, the others are shuffled, joined by ", "."""
    rest = list(words[1:])
    rng.shuffle(rest)
    return ", ".join([*words[:1], *rest])


def vocabulary() -> tuple[str, ...]:
    """Every tag of the world, "1girl" first."""
    clothes = [f"{colour} {garment}" for garment in GARMENTS for colour in COLOURS]
    looks = [f"{hair} hair" for hair in HAIR] + list(_STYLE_TAGS.values()) + [f"{eyes} eyes" for eyes in EYES]
    return ("1girl", *looks, *clothes, *PLACES, "hat", "glasses", "smile")
