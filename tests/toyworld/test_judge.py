"""The judge of pictures, on drawings it has never met and on what the checkpoint's VAE makes of them."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import pytest

from lora_forge.toyworld import subject
from lora_forge.toyworld.data import mixed_looks
from lora_forge.toyworld.judge import ATTRIBUTES, Sighting, labels_of, load_judge, weights_path
from lora_forge.toyworld.world import Look, draw, random_look, tags

torch = pytest.importorskip("torch")

FRESH = 800
LEAST = 0.97


@cache
def _fresh() -> tuple[list[Look], list[Sighting]]:
    looks = mixed_looks(seed=20_261_122, count=FRESH, allow_pair=True)
    return looks, load_judge().look_at([draw(look) for look in looks])


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_reads_fresh_drawings(attribute: str) -> None:
    looks, seen = _fresh()
    pairs = zip(looks, seen, strict=True)
    right = sum(sighting.label(attribute) == labels_of(look)[attribute] for look, sighting in pairs)
    assert right / FRESH >= LEAST


def test_probabilities_sum_to_one() -> None:
    for sighting in _fresh()[1][:20]:
        for attribute, labels in ATTRIBUTES.items():
            assert sum(sighting.probability(attribute, label) for label in labels) == pytest.approx(1.0, abs=1e-5)


def test_shows_every_tag_of_a_picture_and_not_others() -> None:
    looks, seen = _fresh()
    for look, sighting in zip(looks[:100], seen[:100], strict=True):
        assert sum(sighting.shows(tag) for tag in tags(look)) >= len(tags(look)) - 1
    sighting = load_judge().look_at([draw(Look(garment="shirt", colour="red", place="night"))])[0]
    assert sighting.shows("red shirt")
    assert not sighting.shows("red dress")
    assert not sighting.shows("blue shirt")
    assert not sighting.shows("snow")
    with pytest.raises(ValueError, match="purple elephant"):
        sighting.shows("purple elephant")


def test_knows_the_subject() -> None:
    judge = load_judge()
    photos = judge.look_at([image for image, _ in subject.photos(5)])
    others = judge.look_at([draw(random_look(random.Random(seed))) for seed in range(60)])
    assert all(sighting.is_subject and sighting.identity > 0.9 for sighting in photos)
    assert not any(sighting.is_subject for sighting in others)
    assert sum(sighting.identity for sighting in others) / len(others) < 0.3


@pytest.mark.parametrize(
    ("mark", "value"), [("hair", "blonde"), ("eyes", "blue"), ("star", False), ("glasses", "none")]
)
def test_identity_falls_by_a_quarter_with_each_missing_mark(mark: str, value: object) -> None:
    whole = Look(hair="pink", style="long", eyes="green", glasses="round", star=True)
    less = replace(whole, **{mark: value})  # type: ignore[arg-type]
    first, second = load_judge().look_at([draw(whole), draw(less)])
    assert first.identity - second.identity == pytest.approx(0.25, abs=0.06)


def test_takes_pictures_of_other_sizes() -> None:
    look = Look(hair="red", colour="green", place="city")
    large = draw(look).resize((256, 256))
    sighting = load_judge().look_at([large])[0]
    assert {sighting.label(name) for name in ("hair", "colour", "place")} == {"red", "green", "city"}


def test_weights_are_small() -> None:
    assert weights_path().stat().st_size < 1.5e6
