"""Speeds that are kept, and what is judged by them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from lora_forge.config import Family, TrainConfig
from lora_forge.events import RunEnded, RunStarted, StepDone
from lora_forge.i18n import Said
from lora_forge.work.estimate import Count, guessed, run_seconds, shape_of
from lora_forge.work.speeds import (
    STANDARD_WEIGHTS,
    Guess,
    Lent,
    Shape,
    Speed,
    SpeedWatch,
    guess,
    load_speeds,
    note_speed,
)
from tests.train import tiny
from tests.work.desk import TinyDesk

CARD = Lent(Family.SD1, "base-a", "RTX 4060", 860_000_000)
CONFIG = TrainConfig(resolution_px=512, batch_size=2)
HUGE = TrainConfig(resolution_px=2048, batch_size=1024)
SHAPE = CARD.shape(CONFIG, False)
SPEED = Speed(SHAPE, CARD.weights, 0.5, preview_s=4.0, preview_steps=20, encode_s=0.1, peak_bytes=6_000_000_000)


def test_what_is_noted_is_read_again_and_replaces_what_was_known(tmp_path: Path) -> None:
    note_speed(tmp_path, SPEED)
    assert load_speeds(tmp_path) == [SPEED]
    note_speed(tmp_path, Speed(SHAPE, CARD.weights, 0.25))
    assert load_speeds(tmp_path) == [dataclasses.replace(SPEED, batch_s=0.25)]
    note_speed(tmp_path, dataclasses.replace(SPEED, shape=dataclasses.replace(SHAPE, rank=8)))
    assert len(load_speeds(tmp_path)) == 2


@pytest.mark.parametrize("content", ["", "[]", '{"version": 2}', '{"version": 1, "speeds": [{"shape": 3}]}', "\x00"])
def test_a_damaged_file_is_no_speeds(tmp_path: Path, content: str) -> None:
    (tmp_path / "speeds.json").write_text(content)
    assert load_speeds(tmp_path) == []
    note_speed(tmp_path, SPEED)
    assert load_speeds(tmp_path) == [SPEED]


def test_the_very_shape_is_measured_and_others_are_judged_by_pixels() -> None:
    found = guess([SPEED], SHAPE, 10)
    assert found is not None
    assert (found.source, found.batch_s, found.preview_s, found.encode_s) == ("measured", 0.5, 2.0, 0.1)
    assert found.peak_bytes == 6_000_000_000
    other = CARD.shape(CONFIG.replace(resolution_px=1024, batch_size=1), True)
    found = guess([SPEED], other, 20)
    assert found is not None
    assert (found.source, found.peak_bytes, found.preview_s) == ("similar", None, 16.0)
    assert found.batch_s == pytest.approx(0.5 * 4 / 2 * 1.33)


def test_another_device_or_another_size_of_checkpoint_tells_nothing() -> None:
    assert guess([SPEED], dataclasses.replace(SHAPE, device="CPU"), 20) is None
    assert guess([SPEED], dataclasses.replace(SHAPE, family="sdxl"), 20) is None
    toy = dataclasses.replace(SPEED, weights=900_000, shape=dataclasses.replace(SHAPE, base="toyworld"))
    assert guess([toy], SHAPE, 20) is None, "a toy says nothing of a full-size checkpoint"
    smaller = dataclasses.replace(toy.shape, batch_size=1)
    found = guess([SPEED, toy], smaller, 20)
    assert found is not None
    assert found.batch_s == pytest.approx(0.25), "nor the other way round"
    new = guess([SPEED, toy], dataclasses.replace(SHAPE, base="never-seen"), 20)
    assert new is not None
    assert (new.source, new.batch_s) == ("similar", 0.5)


@pytest.mark.parametrize("family", [Family.SD1, Family.SDXL])
def test_automatic_checkpointing_counts_as_the_run_will_have_it(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that is short by far, and by far not; a speed is measured by what was, not by the setting's name."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    model = tiny.build_model()
    desk = TinyDesk(tmp_path, dataclasses.replace(model, info=dataclasses.replace(model.info, family=family)))
    for config, is_needed in ((TrainConfig(resolution_px=64), False), (HUGE, True)):
        shapes = {word: shape_of(desk, config.replace(gradient_checkpointing=word)) for word in ("off", "on", "auto")}
        assert [shape.is_checkpointed for shape in shapes.values()] == [False, True, is_needed]
        assert shapes["auto"] == shapes["on" if is_needed else "off"]
    assert guessed(desk, HUGE) is None
    note_speed(desk.data_root(), Speed(shapes["off"], int(STANDARD_WEIGHTS[family]), 3.0))
    assert [_seconds(desk, word) for word in ("off", "on", "auto")] == [3.0, 3.0 * 1.33, 3.0 * 1.33]
    note_speed(desk.data_root(), Speed(shapes["on"], int(STANDARD_WEIGHTS[family]), 5.0))
    assert [_seconds(desk, word) for word in ("off", "on", "auto")] == [3.0, 5.0, 5.0]


def _seconds(desk: TinyDesk, word: str) -> float:
    found = guessed(desk, HUGE.replace(gradient_checkpointing=word))
    assert found is not None
    return found.batch_s


def started(is_checkpointed: bool = False) -> RunStarted:
    return RunStarted("a", "sd1", "epsilon", Said("x"), "cpu", "fp32", 3, 9, 90, 1, 5, is_checkpointed)


def step(number: int, images_per_s: float, memory: int | None) -> StepDone:
    return StepDone(number, 90, 1, 0.1, 0.1, 0.1, 1e-4, images_per_s, 9.0, memory_bytes=memory)


def test_a_runs_speed_is_noted_at_its_end_and_whenever_it_starts_over(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    CONFIG.save(run_dir / "config.json")
    seen: list[object] = []
    watch = SpeedWatch(seen.append, tmp_path, run_dir, CARD)
    watch(started(is_checkpointed=True))
    for number, rate in enumerate([1.0, 4.0, 4.0, 4.0]):
        watch(step(number, rate, 5 + number))
    CONFIG.replace(batch_size=1, gradient_accumulation=2).save(run_dir / "config.json")
    watch(started())
    for number in range(3):
        watch(step(number, 2.0, 3))
    watch(RunEnded("done", 3, 3))
    first, second = load_speeds(tmp_path)
    assert (first.shape.batch_size, first.batch_s, first.peak_bytes) == (2, 0.5, 8)
    assert (second.shape.batch_size, second.batch_s, second.peak_bytes) == (1, 0.5, 3)
    assert (first.shape.is_checkpointed, second.shape.is_checkpointed) == (True, False)
    assert len(seen) == 10


def test_a_run_of_two_steps_or_without_a_config_notes_nothing(tmp_path: Path) -> None:
    watch = SpeedWatch(lambda _: None, tmp_path, tmp_path / "nowhere", CARD)
    for event in (started(), step(1, 1.0, None), step(2, 1.0, None), RunEnded("stopped", 2, 9)):
        watch(event)
    assert load_speeds(tmp_path) == []


def test_no_more_than_two_hundred_are_kept(tmp_path: Path) -> None:
    speeds = [
        dataclasses.asdict(
            dataclasses.replace(SPEED, shape=Shape(*["x", "sd1", f"b{n}", "auto", 64, 1, False, False, 1, 0]))
        )
        for n in range(200)
    ]
    (tmp_path / "speeds.json").write_text(json.dumps({"version": 1, "speeds": speeds}))
    note_speed(tmp_path, SPEED)
    kept = load_speeds(tmp_path)
    assert (len(kept), kept[-1], kept[0].shape.base) == (200, SPEED, "b1")


def test_a_run_is_expected_to_take_its_steps_and_the_previews_that_are_drawn() -> None:
    counted = Count(photos=10, pictures=100, steps_per_epoch=100, total_steps=1000, is_by_groups=False)
    speed = Guess(batch_s=0.5, preview_s=4.0, encode_s=0.1, peak_bytes=None, source="measured")
    plain = TrainConfig(preview_every_steps=300, preview_prompts=("a", "b"))
    assert run_seconds(counted, plain.replace(preview_every_steps=0), speed) == 501.0
    assert run_seconds(counted, plain, speed) == 501.0 + 4 * 8.0 + 4.0  # at 300, 600, 900, 1000, and the base
    often = plain.replace(preview_every_steps=10)
    assert run_seconds(counted, often, speed) == 501.0 + 100 * 8.0 + 4.0
    assert run_seconds(counted, often.replace(preview_share=0.2), speed) == pytest.approx(501.0 + 125.0)
    hardly = often.replace(preview_share=0.01)
    assert run_seconds(counted, hardly, speed) == 501.0 + 12.0 + 8.0  # the first and the last
