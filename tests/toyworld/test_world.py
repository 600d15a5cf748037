"""The drawn world: same look, same pixels; the subject stays unknown to the base."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace

import pytest
from PIL import ImageChops

from lora_forge.toyworld import subject, world
from lora_forge.toyworld.judge import ATTRIBUTES, labels_of
from lora_forge.toyworld.world import Look, draw, random_look, tags

FRAMES = (0.96, 1.0, 1.04)


def test_same_look_same_pixels() -> None:
    for seed in range(20):
        look = random_look(random.Random(seed))
        assert draw(look).tobytes() == draw(replace(look)).tobytes()


def test_a_picture_is_small_rgb() -> None:
    picture = draw(Look())
    assert (picture.mode, picture.size) == ("RGB", (64, 64))


@pytest.mark.parametrize("attribute", [*ATTRIBUTES, "skin"])
def test_every_attribute_changes_many_pixels(attribute: str) -> None:
    """Each two values of an attribute differ clearly in at least 40 pixels (1 % of the picture)."""
    choices: dict[str, tuple[object, ...]] = {
        "hair": world.HAIR, "style": world.STYLES, "eyes": world.EYES, "garment": world.GARMENTS,
        "colour": world.COLOURS, "place": world.PLACES, "glasses": world.GLASSES, "skin": world.SKINS,
    }  # fmt: skip
    values = choices.get(attribute, (False, True))
    for k, first in enumerate(values):
        for second in values[k + 1 :]:
            difference = ImageChops.difference(
                draw(replace(Look(), **{attribute: first})),  # type: ignore[arg-type]
                draw(replace(Look(), **{attribute: second})),  # type: ignore[arg-type]
            ).convert("L")
            changed = sum(count for level, count in enumerate(difference.histogram()) if level > 12)
            assert changed >= 40, (attribute, first, second, changed)


def test_random_looks_keep_the_subject_unknown() -> None:
    rng = random.Random(0)
    looks = [random_look(rng) for _ in range(5000)]
    assert not any(look.hair == "pink" and look.eyes == "green" for look in looks)
    assert not any(look.star or look.glasses == "round" for look in looks)
    assert any(look.hair == "pink" for look in looks)
    assert any(look.eyes == "green" for look in looks)


def test_tags_name_what_is_drawn_and_nothing_else() -> None:
    look = Look(hair="pink", style="long", eyes="green", garment="dress", colour="red", place="snow", hat=True,
                glasses="round", smile=True, star=True)  # fmt: skip
    expected = ("1girl", "pink hair", "long hair", "green eyes", "red dress", "snow", "hat", "glasses", "smile")
    assert tags(look) == expected
    assert tags(Look())[0] == "1girl"
    assert set(tags(look)) <= set(world.vocabulary())


def test_labels_follow_the_look() -> None:
    labels = labels_of(Look(hair="blue", glasses="square", smile=True))
    assert labels["hair"] == "blue"
    assert labels["glasses"] == "square"
    assert (labels["smile"], labels["hat"], labels["star"]) == ("yes", "no", "no")


def test_photos_show_one_subject_and_never_a_red_dress_or_snow() -> None:
    photos = subject.photos(0)
    assert len(photos) == 24
    for _, words in photos:
        assert {"pink hair", "green eyes", "glasses", "long hair"} <= set(words)
        assert not {"red dress", "snow", "star", subject.TRIGGER} & set(words)
    assert len({hashlib.sha256(image.tobytes()).hexdigest() for image, _ in photos}) >= 20
    assert photos[0][0].tobytes() == subject.photos(0)[0][0].tobytes()
    assert photos[0][0].tobytes() != subject.photos(1)[0][0].tobytes()
