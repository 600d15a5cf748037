"""The kinds of LoRA a person chooses between, and how many pictures an epoch each is used to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lora_forge.i18n import word


@dataclass(frozen=True)
class Kind:
    """``label`` and ``sentence`` are words of the catalogue; ``pictures``: an epoch's usual number of them."""

    label: str
    sentence: str
    pictures: int
    is_toy: bool = False


# Peers' own numbers for 20-30 photos come to 200-300 pictures an epoch for a subject; styles bring more photos.
ABOUT: Mapping[str, Kind] = {
    "person": Kind(
        word("Person"), word("A real person: likeness first, and no mirroring, since faces are not symmetric."), 250
    ),
    "anime": Kind(
        word("Anime character"), word("A drawn character: mirrored too, and one text layer earlier on SD1.x."), 250
    ),
    "style": Kind(
        word("Art style"),
        word("How pictures are made: many different ones, few repeats, words dropped now and then."),
        100,
    ),
    "object": Kind(
        word("Clothing or object"), word("Clothes or a product: no mirroring, for the sake of logos and text."), 250
    ),
    "design": Kind(
        word("Architecture or graphic design"),
        word("Buildings, rooms or layouts: lines and texture count, so convolutions learn too; nothing is mirrored."),
        150,
    ),
    "concept": Kind(word("Concept"), word("A pose, a scene, an idea that many different subjects share."), 200),
    "toyworld": Kind(word("Toy world"), word("The bundled drawn world: a run that works in minutes."), 400, True),
    "toyworld_hot": Kind(
        word("Toy world, too hot"),
        word("The bundled drawn world at far too high a rate: too little, just right, ruined."),
        120,
        True,
    ),
}
KINDS: Mapping[str, str] = {kind: about.sentence for kind, about in ABOUT.items()}
IMAGES_PER_EPOCH = {kind: about.pictures for kind, about in ABOUT.items() if not about.is_toy}


def repeats_for(kind: str, photos: int) -> int:
    """Repeats that bring ``photos`` to the kind's usual number of pictures an epoch; 1 to 40."""
    return max(1, min(40, round(IMAGES_PER_EPOCH[kind] / max(photos, 1))))


def aligned(wanted: int, steps_per_epoch: int) -> int:
    """The divisor of ``steps_per_epoch`` nearest to ``wanted`` (the larger of two), so that each epoch ends with a
    preview; ``wanted`` itself where none lies within half to twice of it."""
    least, most = wanted / 2, wanted * 2
    fits = [step for step in range(1, steps_per_epoch + 1) if steps_per_epoch % step == 0 and least <= step <= most]
    return min(fits, key=lambda step: (abs(step - wanted), -step), default=wanted)
