"""Scenes: what each kind is asked for, which nine make the test, the words around them, and noise that stays put."""

from __future__ import annotations

import pytest

from lora_forge.dataset.traits import Traits
from lora_forge.dataset.words import Words
from lora_forge.evaluate.scene_lists import GROUPS, SCENES, Scene
from lora_forge.evaluate.scenes import (
    COUNT,
    Wording,
    beside,
    chosen,
    label_of,
    own_scenes,
    prompt_of,
    scenes_for,
    seed_of,
)
from lora_forge.presets import KINDS
from lora_forge.toyworld.world import vocabulary

WORDS = Words.load()
NOBODY = Traits()


def scene(name: str, kind: str = "person") -> Scene:
    return next(one for one in SCENES[kind] if one.id == name)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_nine_and_all_are_told_in_both_languages(kind: str) -> None:
    scenes = scenes_for(kind, NOBODY)
    assert len({one.id for one in scenes}) == len(scenes) >= COUNT
    assert len(chosen(scenes)) == COUNT
    for one in scenes:
        assert one.group in GROUPS
        assert one.asks
        assert one.prompt.isascii()
        assert all(WORDS.zh(tag) for tag in one.asks), one.asks
        assert not label_of(one, "zh", WORDS).isascii()
        assert label_of(one, "en", WORDS).isascii()


def test_the_toy_worlds_scenes_are_in_its_own_words() -> None:
    asked = {tag for one in SCENES["toyworld"] for tag in one.asks}
    assert asked <= set(vocabulary())
    assert all(set(one.prompt.split(", ")) <= set(vocabulary()) for one in SCENES["toyworld"])


def test_changeable_traits_come_first_in_another_colour() -> None:
    traits = Traits({"black dress": "changeable", "smile": "changeable", "blue eyes": "part"})
    first = scenes_for("person", traits)[0]
    assert (first.id, first.group, first.asks) == ("trait:white dress", "traits", ("white dress",))
    assert label_of(first, "zh", WORDS) == "白色连衣裙"
    taken = chosen(scenes_for("person", traits))
    assert taken[0] == first.id
    assert len(taken) == COUNT


def test_at_most_three_of_the_nine_come_from_the_traits() -> None:
    colours = ("black dress", "blue shirt", "brown coat", "green skirt", "pink hat")
    traits = Traits(dict.fromkeys(colours, "changeable"))
    taken = chosen(scenes_for("anime", traits))
    assert sum(one.startswith("trait:") for one in taken) == 3


def test_what_the_subject_excludes_is_marked_and_not_among_the_nine() -> None:
    traits = Traits({"pink hair": "part", "white dress": "part"})
    by_id = {one.id: one for one in scenes_for("person", traits)}
    assert by_id["white-hair"].contradicts == "pink hair"
    assert by_id["black-dress"].contradicts == "white dress"
    assert by_id["snow"].contradicts == ""
    assert not {"white-hair", "black-dress"} & set(chosen(tuple(by_id.values())))


def test_the_same_trait_and_another_axis_contradict_nothing() -> None:
    assert beside(scene("white-hair"), Traits({"white hair": "part", "green eyes": "part"})).contradicts == ""
    assert beside(scene("short-hair"), Traits({"pink hair": "part"})).contradicts == ""
    assert beside(scene("short-hair"), Traits({"long_hair": "part"})).contradicts == "long_hair"


def test_what_the_photos_show_anyway_is_asked_last() -> None:
    scenes = scenes_for("person", NOBODY)
    assert "beach" in chosen(scenes)
    without = chosen(scenes, {"Beach", "ocean", "outdoors"})
    assert "beach" not in without
    assert "night" in without
    assert len(chosen(scenes[:3], {"snow"})) == 3


def test_own_prompts_ask_for_the_tags_they_hold() -> None:
    first, second = own_scenes(["  riding a horse,  castle , white_hair", "", "吃面", "吃面"], WORDS)
    assert first.asks == ("castle", "white hair")
    assert (first.group, label_of(first, "zh", WORDS)) == ("own", "riding a horse, castle , white_hair")
    assert second.asks == ()


def test_the_prompt_has_every_word_once_in_order() -> None:
    wording = Wording("ohwx", "1girl, solo", "RAW photo, best quality", "lowres")
    assert prompt_of(scene("white-hair"), wording) == "RAW photo, best quality, ohwx, 1girl, solo, white hair"
    assert prompt_of(scene("sketch"), wording) == (
        "ohwx, 1girl, solo, pencil sketch, sketch, monochrome, graphite (medium)"
    )
    (own,) = own_scenes(["1girl, a portrait of OHWX, Solo"], WORDS)
    assert prompt_of(own, wording) == "RAW photo, best quality, 1girl, a portrait of OHWX, Solo"
    assert prompt_of(scene("white-hair"), Wording()) == "white hair"


def test_a_scenes_noise_is_its_own_and_stays() -> None:
    seeds = {seed_of(one, 0) for one in SCENES["person"]}
    assert len(seeds) == len(SCENES["person"])
    assert seed_of(scene("snow"), 0) == 486475991
    assert seed_of(scene("snow"), 1) != seed_of(scene("snow"), 0)
    assert all(0 <= seed < 2**31 for seed in seeds)
