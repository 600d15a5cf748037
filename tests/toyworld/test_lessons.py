"""The three lessons: photos that hold what is to be learned, never the scene asked for, never a word for it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from PIL import Image

from lora_forge.toyworld import subject
from lora_forge.toyworld.lessons import LESSONS, has_stripes, stripe_contrast
from lora_forge.toyworld.paint import paint
from lora_forge.toyworld.world import PLACES, Look, draw, random_look, tags, vocabulary


@pytest.mark.parametrize("kind", LESSONS)
def test_no_photo_shows_the_scene_nor_names_what_is_to_be_learned(kind: str) -> None:
    garment, place = LESSONS[kind].scene
    for seed in range(20):
        photos = LESSONS[kind].photos(seed, 24)
        assert len(photos) == 24
        for _, words in photos:
            assert set(words) <= set(vocabulary())
            assert garment not in words
            assert kind == "style" or place not in words


@pytest.mark.parametrize("kind", LESSONS)
def test_a_seed_gives_the_same_photos_and_another_seed_others(kind: str) -> None:
    first, again, other = (LESSONS[kind].photos(seed, 6) for seed in (3, 3, 4))
    assert [(image.tobytes(), words) for image, words in first] == [(image.tobytes(), words) for image, words in again]
    assert [image.tobytes() for image, _ in first] != [image.tobytes() for image, _ in other]


def test_the_persons_photos_are_hers_without_the_tags_of_her_traits() -> None:
    for (picture, words), (hers, all_tags) in zip(LESSONS["person"].photos(0, 24), subject.photos(0, 24), strict=True):
        assert picture.tobytes() == hers.tobytes()
        assert words == tuple(tag for tag in all_tags if tag not in subject.TRAIT_TAGS)


def test_the_wearers_of_the_star_differ_and_are_tagged() -> None:
    words = [words for _, words in LESSONS["object"].photos(0, 24)]
    assert len({tag for tags in words for tag in tags if tag.endswith(" hair")}) >= 6
    assert len({tag for tags in words for tag in tags if tag.endswith(" eyes")}) == 4


def test_the_wearers_of_the_star_wear_it() -> None:
    pytest.importorskip("torch")
    from lora_forge.toyworld.judge import load_judge

    seen = load_judge().look_at([picture for picture, _ in LESSONS["object"].photos(0, 24)])
    assert all(sighting.shows("star") for sighting in seen)


def test_only_striped_drawings_have_stripes() -> None:
    """Planted: each of 200 looks drawn plain and striped."""
    looks = [random_look(random.Random(f"stripes {seed}")) for seed in range(200)]
    plain = sum(has_stripes(draw(look)) for look in looks)
    striped = sum(has_stripes(paint(look, is_striped=True)) for look in looks)
    assert plain <= 2
    assert striped >= 198
    assert all(has_stripes(picture) for picture, _ in LESSONS["style"].photos(0, 24))


def test_contrast_is_exact() -> None:
    """Rows of 120 and 40 in turn: (120 - 40) / 80 = 1; one grey: 0."""
    picture = Image.new("RGB", (64, 64), (40, 40, 40))
    for top in range(0, 64, 16):
        picture.paste((120, 120, 120), (0, top, 64, top + 8))
    assert stripe_contrast(picture) == pytest.approx(1.0)
    assert stripe_contrast(Image.new("RGB", (64, 64), (90, 90, 90))) == pytest.approx(0.0)
    assert stripe_contrast(Image.new("RGB", (64, 64))) == 0.0


@pytest.mark.parametrize("place", PLACES)
def test_stripes_are_of_the_scenery_alone(place: str) -> None:
    """The face and the clothes keep their pixels; the edge of a dark row is half as light."""
    look = replace(Look(), place=place)
    plain, striped = draw(look), paint(look, is_striped=True)
    for box in ((22, 20, 42, 40), (24, 58, 40, 64)):
        assert plain.crop(box).tobytes() == striped.crop(box).tobytes()
    before, after = (picture.getpixel((0, 60)) for picture in (plain, striped))
    assert isinstance(before, tuple)
    assert isinstance(after, tuple)
    assert all(abs(now - level / 2) <= 1.5 for now, level in zip(after, before, strict=True))


def test_the_style_asks_for_places_its_photos_show() -> None:
    rng = random.Random(0)
    asked = {tag for _ in range(300) for tag in tags(LESSONS["style"].look(rng))} & set(PLACES)
    shown = {tag for seed in range(5) for _, words in LESSONS["style"].photos(seed, 24) for tag in words} & set(PLACES)
    assert asked == shown == {"beach", "city", "simple background"}
