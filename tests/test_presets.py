"""Named defaults: every kind on every family is a valid config, and says what its kind stands for."""

from __future__ import annotations

import itertools

import pytest

from lora_forge import config
from lora_forge.config import Family
from lora_forge.errors import ConfigError
from lora_forge.presets import IMAGES_PER_EPOCH, KINDS, preset, repeats_for


@pytest.mark.parametrize(("kind", "family"), list(itertools.product(KINDS, Family)))
def test_every_preset_is_a_valid_config_of_ten_epochs(kind: str, family: Family) -> None:
    made = config.from_dict(preset(kind, family))
    assert made.epochs == 10
    assert made.bucket_min_px <= made.resolution_px <= made.bucket_max_px


def test_families_get_the_size_they_were_made_for() -> None:
    sizes = {family: preset("person", family)["resolution_px"] for family in Family}
    assert sizes == {Family.SD1: 512, Family.SD2: 768, Family.SDXL: 1024}


def test_kinds_differ_where_they_should() -> None:
    person, anime, style = (preset(kind, Family.SD1) for kind in ("person", "anime", "style"))
    assert (person["flip"], anime["flip"], style["flip"]) == (False, True, True)
    assert (person["clip_skip"], anime["clip_skip"]) == (1, 2)
    assert (person["rank"], person["alpha"]) == (32, 16.0)
    assert (style["alpha"], style["caption_dropout"]) == (32.0, 0.05)
    assert all(preset(kind, Family.SDXL)["te_learning_rate"] == 0 for kind in IMAGES_PER_EPOCH)


def test_repeats_bring_any_number_of_photos_to_about_the_same_epoch() -> None:
    assert [repeats_for("person", photos) for photos in (1, 5, 25, 250, 5000)] == [40, 40, 10, 1, 1]
    assert repeats_for("style", 25) == 4
    assert preset("person", Family.SD1, photos=50)["repeats"] == 5


def test_a_preset_is_a_copy() -> None:
    before = dict(preset("toyworld", Family.SD1))
    preset("toyworld", Family.SD1)["rank"] = 999
    assert preset("toyworld", Family.SD1) == before


def test_an_unknown_kind_names_the_known() -> None:
    with pytest.raises(ConfigError, match=r"no preset 'persn'.*person, anime"):
        preset("persn", Family.SD1)
