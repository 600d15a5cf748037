"""The real person, style and object presets learn on the toy world, their rates times the one documented factor.

Shorter than the presets' ten epochs, so that all three take a minute and a half; the figures of the full runs, and of
the factor, are in benchmarks/README.md.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from lora_forge.config import Family, TrainConfig, from_dict
from lora_forge.presets import TOYWORLD_RATE_FACTOR, on_toyworld, preset
from lora_forge.toyworld import checkpoint_path
from lora_forge.toyworld.lessons import LESSONS

PICTURES = 12


@pytest.mark.parametrize("kind", LESSONS)
def test_the_toy_world_changes_the_size_and_the_rates_alone(kind: str) -> None:
    real = from_dict(preset(kind, Family.SD1, 24))
    toy = from_dict(on_toyworld(preset(kind, Family.SD1, 24)))
    changed = {field.name for field in fields(TrainConfig) if getattr(real, field.name) != getattr(toy, field.name)}
    assert changed == {"resolution_px", "bucket_min_px", "bucket_max_px", "learning_rate", "te_learning_rate"}
    assert toy.learning_rate == pytest.approx(real.learning_rate * TOYWORLD_RATE_FACTOR)
    assert toy.te_learning_rate == pytest.approx(real.te_learning_rate * TOYWORLD_RATE_FACTOR)


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize(("kind", "epochs", "least"), [("person", 1, 0.6), ("style", 2, 0.6), ("object", 1, 0.4)])
def test_a_short_run_of_the_real_preset_learns_and_obeys(kind: str, epochs: int, least: float, tmp_path: Path) -> None:
    """Shares of 24 pictures, half by the trigger word alone, half in a scene of no photo, whose words must be obeyed.

    Measured: person 0.92, style 0.96, object 0.67, the scene 1.0 in all; the base at most 0.04; style at the real
    rates 0.04.
    """
    pytest.importorskip("diffusers")
    from benchmarks.toyworld_presets import Artist, config_of, measure_calls, train_lesson
    from lora_forge.evaluate.plan import file_stem
    from lora_forge.toyworld.judge import load_judge

    config = config_of(kind, seed=0, epochs=epochs, validation_photos=0)
    train_lesson(LESSONS[kind], config, tmp_path, checkpoint_path())
    artist = Artist(checkpoint_path(), load_judge(), tmp_path / "loras", file_stem(config.name, epochs))
    base = measure_calls(LESSONS[kind], artist, PICTURES, with_lora=False)
    found = measure_calls(LESSONS[kind], artist, PICTURES, with_lora=True)
    assert (base["alone"] + base["scene"]) / 2 <= 0.15, base
    assert (found["alone"] + found["scene"]) / 2 >= least, found
    assert found["scene_obeyed"] >= 0.75, found
