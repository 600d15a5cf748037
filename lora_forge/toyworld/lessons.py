"""Three things to learn, one for each kind of preset that the toy world can check: a person, a style, an object.

The person is ``subject``. The style is a way to paint scenery, in light and dark stripes, that no tag names, on many
girls; the object is a star ornament, which no tag names either, on many wearers whose own traits are tagged. No photo
of any of them shows what its ``scene`` asks for. Needs pillow alone; whether a mark is there is asked of the judge for
the person and the object, and of the pixels for the style.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from PIL import Image, ImageStat

from lora_forge.toyworld import subject
from lora_forge.toyworld.paint import SIZE_PX, STRIPE_PX, paint
from lora_forge.toyworld.world import Look, draw, random_look, tags

__all__ = ["LESSONS", "TRIGGER", "Lesson", "has_stripes", "stripe_contrast"]

TRIGGER = subject.TRIGGER
_LEAST_CONTRAST = 0.15
_EDGE_PX = 4
_STRIPED = ("beach", "city", "simple background")
"""Where the checkpoint's VAE can show stripes in every picture. It hides a fifth of them in the dark of the forest and
the night, and the judge takes striped snow for something else."""

Photos = list[tuple[Image.Image, tuple[str, ...]]]


@dataclass(frozen=True)
class Lesson:
    """What one kind of preset is to learn.

    ``photos(seed, count)``: drawings with the tags their captions hold, without the trigger word. ``scene``: tags of
    a picture that no photo shows. ``look(rng)``: a girl who may be asked for in words, for prompts from full captions.
    """

    kind: str
    photos: Callable[[int, int], Photos]
    scene: tuple[str, ...]
    look: Callable[[random.Random], Look]


def _person_photos(seed: int, count: int) -> Photos:
    """The subject, the tags of her traits deleted, so that the trigger word alone calls them."""
    return [
        (picture, tuple(tag for tag in words if tag not in subject.TRAIT_TAGS))
        for picture, words in subject.photos(seed, count)
    ]


def _look_where(rng: random.Random, is_wanted: Callable[[Look], bool]) -> Look:
    while True:
        look = random_look(rng)
        if is_wanted(look):
            return look


def _is_red_dress(look: Look) -> bool:
    return (look.garment, look.colour) == ("dress", "red")


def _style_photos(seed: int, count: int) -> Photos:
    """Striped scenery behind girls of every kind; no red dress."""
    rng = random.Random(f"style {seed}")
    looks = [_look_where(rng, lambda look: look.place in _STRIPED and not _is_red_dress(look)) for _ in range(count)]
    return [(paint(look, is_striped=True), tags(look)) for look in looks]


def _object_photos(seed: int, count: int) -> Photos:
    """The star ornament on girls of every kind; no snow, no red dress."""
    rng = random.Random(f"object {seed}")
    looks = [_look_where(rng, lambda look: look.place != "snow" and not _is_red_dress(look)) for _ in range(count)]
    return [(draw(replace(look, star=True)), tags(look)) for look in looks]


def _style_look(rng: random.Random) -> Look:
    """Anyone, where stripes can be seen."""
    return _look_where(rng, lambda look: look.place in _STRIPED)


LESSONS: Mapping[str, Lesson] = MappingProxyType(
    {
        "person": Lesson("person", _person_photos, ("red dress", "snow"), random_look),
        "style": Lesson("style", _style_photos, ("red dress", "beach"), _style_look),
        "object": Lesson("object", _object_photos, ("red dress", "snow"), random_look),
    }
)


def stripe_contrast(image: Image.Image) -> float:
    """How much lighter the light rows are than the dark ones, over the mean, in the outer columns, where nobody stands.

    About 0 without stripes. Of 300 drawings: plain -0.12 to 0.16; striped and through the checkpoint's VAE 0.36 in the
    middle, above 0.15 in 93 %.
    """
    grey = image.convert("L").resize((SIZE_PX, SIZE_PX), Image.Resampling.BOX)
    levels = [0.0, 0.0]
    for number in range(SIZE_PX // STRIPE_PX):
        for left in (0, SIZE_PX - _EDGE_PX):
            patch = grey.crop((left, number * STRIPE_PX, left + _EDGE_PX, (number + 1) * STRIPE_PX))
            levels[number % 2] += ImageStat.Stat(patch).mean[0]
    return 2 * (levels[0] - levels[1]) / max(sum(levels), 1.0)


def has_stripes(image: Image.Image) -> bool:
    """True where the contrast is more than any plain drawing shows (but one of 300, at 0.16)."""
    return stripe_contrast(image) > _LEAST_CONTRAST
