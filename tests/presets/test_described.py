"""Every setting of the form is described in both languages, and every default has its reason and source."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest

from lora_forge import config
from lora_forge.config import Family, TrainConfig
from lora_forge.i18n import catalogue
from lora_forge.presets import KINDS, aligned, preset
from lora_forge.presets.fields import KNOBS, NO_FIELDS, described, keys, shape_of
from lora_forge.presets.reason_table import SOURCES, SPECIAL
from lora_forge.presets.reasons import reason_for, reasons

_NAMES = {"LoRA", "Clip skip", "LoRA+", "Beta 1", "Beta 2", "Min-SNR"}
_TERMS = {"AdamW", "AdamW 8-bit", "Adafactor", "Lion", "Prodigy", "Schedule-Free", "fp32", "bf16", "fp16"}


def test_the_form_holds_every_setting_once() -> None:
    names = [one.name for one in dataclasses.fields(TrainConfig) if one.name not in NO_FIELDS]
    assert sorted(keys()) == sorted(names)
    assert set(KNOBS) <= set(keys())


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_word_of_the_form_is_said_in_the_language(language: str) -> None:
    groups = described(language)
    assert [group["id"] for group in groups][:2] == ["learn", "photos"]
    texts = [group["title"] for group in groups]
    for field in (field for group in groups for field in group["fields"]):
        assert field["help"].endswith((".", "。"))
        texts += [field["label"], field["help"], *filter(None, field["effect"].values())]
        texts += [choice["label"] for choice in field["choices"]]
    strange = {text for text in texts if bool(re.search(r"[\u4e00-\u9fff]", text)) != (language == "zh")}
    assert strange - _NAMES - _TERMS == set()


@pytest.mark.parametrize(
    ("key", "kind", "choices"),
    [
        ("rank", "int", 0), ("alpha", "float", 0), ("flip", "bool", 0), ("schedule", "choice", 5),
        ("targets", "choices", 3), ("device", "text", 0), ("preview_prompts", "texts", 0),
    ],
)  # fmt: skip
def test_a_setting_asks_for_the_widget_of_its_kind(key: str, kind: str, choices: int) -> None:
    shape = shape_of(key)
    assert (shape.kind, len(shape.choices)) == (kind, choices)


def test_bounds_are_those_that_the_config_holds_to() -> None:
    assert (shape_of("rank").least, shape_of("rank").most, shape_of("rank").step) == (1, 1024, 1)
    assert (shape_of("max_steps").least, shape_of("max_steps").most) == (0, None)
    assert shape_of("learning_rate").step is None


@pytest.mark.parametrize(("kind", "family"), list(itertools.product(KINDS, Family)))
def test_every_default_has_a_reason_in_both_languages_and_a_source(kind: str, family: Family) -> None:
    made = config.from_dict(preset(kind, family, 24))
    found = reasons(kind, family, made, 24)
    assert [one.key for one in found] == list(keys())
    for one in found:
        assert one.sentence.template in catalogue(), one.key
        assert "{" not in one.sentence.text("en") + one.sentence.text("zh")
        assert one.source.text("en"), one.key


def test_no_reason_is_for_a_kind_or_setting_that_is_not_there() -> None:
    for kind, family, key in SPECIAL:
        assert kind in {"", *KINDS}
        assert family in {"", *(one.value for one in Family)}
        assert key in keys()
    assert {name for one in SPECIAL.values() for name in one.sources} <= set(SOURCES)


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("toyworld")])
def test_a_default_that_differs_between_presets_has_another_reason(kind: str, family: Family) -> None:
    """Where a kind departs from a person's number on the same family, it says why in its own words."""
    own, usual = preset(kind, family), preset("person", family)
    is_same_scale = own["alpha"] / own["rank"] == usual["alpha"] / usual["rank"]
    for key in (own.keys() | usual.keys()) - ({"alpha"} if is_same_scale else set()):
        if own.get(key, getattr(TrainConfig(), key)) != usual.get(key, getattr(TrainConfig(), key)):
            assert reason_for(key, kind, family) != reason_for(key, "person", family), key


def test_what_the_project_says_is_not_given_out_as_the_presets() -> None:
    made = config.from_dict({**preset("person", Family.SD1), "resolution_px": 768, "preview_prompts": ["TRIGGER, red"]})
    said = {one.key: str(one.sentence) for one in reasons("person", Family.SD1, made, 25)}
    assert said["resolution_px"] == "As the photos of this project are prepared."
    assert said["bucket_min_px"].startswith("Half to twice")
    assert said["preview_prompts"].startswith("The trigger word alone, and with")


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        (240, 48),
        (250, 50),
        (100, 50),
        (50, 50),
        (96, 48),
        (30, 30),
        (20, 50),
        (101, 50),
        (0, 50),
        (1000, 50),
        (90, 45),
        (120, 60),
    ],
)
def test_previews_are_aligned_to_the_epoch(steps: int, wanted: int) -> None:
    assert aligned(50, steps) == wanted
