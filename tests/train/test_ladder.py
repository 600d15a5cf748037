"""The ladder: what it lowers, in which order, and a run that takes its rungs and goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_forge.config import TrainConfig
from lora_forge.config import load as load_config
from lora_forge.dataset.prepare import PrepareSettings, prepare
from lora_forge.dataset.prepared import PreparedSet
from lora_forge.dataset.project import Project
from lora_forge.errors import TrainingError
from lora_forge.events import Command, CommandBox, LoraSaved, RunEnded, RunStarted, StateSaved, StepDone, Warned
from lora_forge.lora_file.writer import load_lora
from lora_forge.ports import BorrowedModel
from lora_forge.train.full_memory import FullMemory, is_full, stage_of
from lora_forge.train.ladder import rungs
from lora_forge.train.run import RunResult, train
from tests.train import full, tiny

PLAIN = tiny.config(state_every_steps=1, resolution_px=128, bucket_step_px=16, bucket_min_px=64, bucket_max_px=256)
ROOM = 12 * 12  # latents of one photo at 96 px


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedSet:
    tiny.build_project(tmp_path / "project")
    return prepare(Project.load(tmp_path / "project"), PrepareSettings.from_config(PLAIN), lambda _: None)


@pytest.fixture
def model() -> Iterator[BorrowedModel]:
    """As lent before, so after."""
    made = tiny.build_model()
    before = {name: tensor.clone() for name, tensor in made.unet.state_dict().items()}
    random = torch.get_rng_state()
    yield made
    assert torch.equal(random, torch.get_rng_state())
    assert made.unet.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.unet.state_dict().items())
    assert not made.unet.training
    assert not made.unet.is_gradient_checkpointing


def run(
    where: Path,
    settings: TrainConfig,
    prepared: PreparedSet,
    model: BorrowedModel,
    emit: Any = None,
    resume: bool = False,
    commands: CommandBox | None = None,
) -> RunResult:
    """Train in ``where/run`` into ``where/out``, with photos that can be prepared again."""
    project = Project.load(where / "project")

    def again(config: TrainConfig) -> PreparedSet:
        return prepare(project, PrepareSettings.from_config(config), lambda _: None)

    return train(
        model, prepared, settings, where / "run", where / "out", emit or tiny.Recorder(), commands or CommandBox(),
        resume=resume, cache_dir=where / "cache", prepare_again=again,
    )  # fmt: skip


def weights(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        modules = load_lora(path).weights
        found[path.name] = {f"{n}.{k}": getattr(m, k) for n, m in modules.items() for k in ("down", "up")}
    return found


def test_the_order_is_checkpointing_batches_of_one_cache_resolution() -> None:
    config = TrainConfig(batch_size=4, gradient_accumulation=2, resolution_px=768)
    assert [(rung.id, dict(rung.changes)) for rung in rungs(config)] == [
        ("checkpointing", {"gradient_checkpointing": "on"}),
        ("batch_one", {"batch_size": 1, "gradient_accumulation": 8}),
        ("small_cache", {"encode_ahead": "off"}),
        ("resolution", {"resolution_px": 576}),
    ]
    assert [rung.id for rung in rungs(config, "encode")] == ["small_cache", "resolution"]


def test_resolution_falls_to_256_and_no_further() -> None:
    px, seen = 1024, [1024]
    while True:
        config = TrainConfig(
            resolution_px=px, gradient_checkpointing=True, batch_size=1, encode_ahead="off", bucket_max_px=2048
        )
        left = rungs(config)
        if not left:
            break
        px = left[0].changes["resolution_px"]
        seen.append(px)
    assert seen == [1024, 768, 576, 448, 320, 256]


def test_full_memory_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        full.allocate_too_much()
    assert is_full(caught.value)
    assert is_full(MemoryError())
    assert is_full(RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"))
    assert is_full(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    assert not is_full(RuntimeError("shape '[2]' is invalid for input of size 3"))
    assert not is_full(ValueError("out of memory"))
    wrapped = TrainingError("x")
    wrapped.__cause__ = MemoryError("Unable to allocate 8 GiB")
    assert is_full(wrapped)
    assert FullMemory.of(wrapped).cause == "Unable to allocate 8 GiB"


@pytest.mark.parametrize("stage", full.STAGES)
def test_full_memory_at_any_stage_lowers_one_thing_and_the_run_goes_on(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, stage: str
) -> None:
    said = tiny.Recorder()
    fuse = full.Fuse(calls=1 if stage in ("encode", "text") else 2)
    with full.full_at(model, stage, fuse):
        result = run(tmp_path, PLAIN, prepared, model, said)
    assert fuse.is_blown
    assert (result.outcome, [path.name for path in result.files]) == (
        "done", ["tiny-000001.safetensors", "tiny-000002.safetensors"],
    )  # fmt: skip
    (warning,) = [one for one in said.of(Warned) if "The memory is full" in one.message]
    lowered = "read from the disk" if stage == "encode" else "Gradient checkpointing"
    assert lowered in warning.message
    assert "can't allocate memory" in warning.message
    (taken,) = json.loads((tmp_path / "run" / "ladder.json").read_text())["taken"]
    assert taken["stage"] == stage
    kept = load_config(tmp_path / "run" / "config.json")
    expected = ("auto", "off") if stage == "encode" else ("on", "auto")
    assert (kept.gradient_checkpointing, kept.encode_ahead) == expected
    steps = [event.step for event in said.of(StepDone)]
    assert sorted(set(steps)) == list(range(1, 7))
    assert [event.outcome for event in said.of(RunEnded)] == ["done"]


def test_checkpointing_taken_in_the_middle_ends_in_the_same_files(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    (tmp_path / "plain").mkdir()
    tiny.run(tmp_path / "plain", PLAIN, prepared, model)
    with full.full_at(model, "backward", full.Fuse(calls=3)):
        run(tmp_path, PLAIN, prepared, model)
    expected, got = weights(tmp_path / "plain" / "out"), weights(tmp_path / "out")
    assert expected.keys() == got.keys()
    for name, tensors in expected.items():
        for key, tensor in tensors.items():
            assert torch.equal(tensor, got[name][key]), (name, key)


def test_batches_of_one_see_the_same_pictures_in_the_same_steps(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    """Of two shapes, so that an epoch planned anew for batches of one would have fewer steps."""
    settings = PLAIN.replace(gradient_checkpointing=True, batch_size=4, repeats=3)
    (tmp_path / "plain").mkdir()
    one = tiny.Recorder()
    tiny.run(tmp_path / "plain", settings, prepared, model, one)
    other = tiny.Recorder()
    with full.full_at(model, "forward", full.Fuse(calls=3)):
        run(tmp_path, settings, prepared, model, other)
    kept = load_config(tmp_path / "run" / "config.json")
    assert (kept.batch_size, kept.gradient_accumulation) == (1, 4)
    steps = {event.steps_per_epoch for event in other.of(RunStarted)}
    assert steps == {event.steps_per_epoch for event in one.of(RunStarted)} == {3}
    mse = {event.step: event.mse for event in other.of(StepDone)}
    assert mse == pytest.approx({event.step: event.mse for event in one.of(StepDone)}, rel=1e-4)
    assert len(weights(tmp_path / "out")) == 2


def test_the_whole_ladder_down_to_a_lower_resolution(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    """A card with room for 12 x 12 latents at a time: neither 128 px nor batches of two fit, one at 96 px does."""
    said = tiny.Recorder()
    with full.small_card(model, ROOM):
        result = run(tmp_path, PLAIN, prepared, model, said)
    taken = json.loads((tmp_path / "run" / "ladder.json").read_text())["taken"]
    assert [one["id"] for one in taken] == ["checkpointing", "batch_one", "small_cache", "resolution"]
    assert len([one for one in said.of(Warned) if "The memory is full" in one.message]) == 4
    assert load_config(tmp_path / "run" / "config.json").resolution_px == 96
    assert (result.outcome, len(result.files)) == ("done", 2)
    assert load_lora(result.files[-1]).metadata["ss_resolution"] == "(96, 96)"


def test_what_was_lowered_stays_lowered_in_a_resumed_run(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    box = CommandBox()
    stop = tiny.Recorder(lambda event: box.send(Command.STOP) if isinstance(event, StateSaved) else None)
    with full.small_card(model, ROOM):
        stopped = run(tmp_path, PLAIN, prepared, model, stop, commands=box)
        assert stopped.outcome == "stopped"
        kept = load_config(tmp_path / "run" / "config.json")
        again = prepare(Project.load(tmp_path / "project"), PrepareSettings.from_config(kept), lambda _: None)
        said = tiny.Recorder()
        result = run(tmp_path, kept, again, model, said, resume=True)
    assert (result.outcome, len(result.files)) == ("done", 2)
    assert not [one for one in said.of(Warned) if "memory" in one.message]
    assert said.of(RunStarted)[0].first_step > 1
    assert {event.steps_per_epoch for event in (*stop.of(RunStarted), *said.of(RunStarted))} == {3}


def test_a_state_from_before_the_rung_is_gone_on_from(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    """The card shrinks in the second step, and another program kills the run before it has saved another state."""
    said = tiny.Recorder()
    settings = PLAIN.replace(gradient_checkpointing=True, encode_ahead="off")
    with full.full_at(model, "forward", full.Fuse(calls=1, times=2)):
        run(tmp_path, settings, prepared, model, said)
    starts = [event.first_step for event in said.of(RunStarted)]
    assert starts == [1, 2, 2]
    assert load_config(tmp_path / "run" / "config.json").resolution_px == 96


def test_only_what_the_ladder_did_may_differ(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    box = CommandBox()
    stop = tiny.Recorder(lambda event: box.send(Command.STOP) if isinstance(event, StateSaved) else None)
    with full.small_card(model, ROOM):
        run(tmp_path, PLAIN, prepared, model, stop, commands=box)
    kept = load_config(tmp_path / "run" / "config.json")
    again = prepare(Project.load(tmp_path / "project"), PrepareSettings.from_config(kept), lambda _: None)
    for change in ({"rank": 4}, {"batch_size": 2, "gradient_accumulation": 1}, {"gradient_accumulation": 3}):
        with pytest.raises(TrainingError, match="would not be the same run"):
            run(tmp_path, kept.replace(**change), again, model, resume=True)
    (tmp_path / "project" / "images" / "subject" / "photo0.txt").write_text("another", encoding="utf-8")
    changed = prepare(Project.load(tmp_path / "project"), PrepareSettings.from_config(kept), lambda _: None)
    with pytest.raises(TrainingError, match=r"photos changed .*photo0\.png"):
        run(tmp_path, kept, changed, model, resume=True)


def test_when_nothing_is_left_to_lower_it_is_said_and_all_files_stay(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    said = tiny.Recorder()
    fuse = full.full_at(model, "forward", full.Fuse(calls=5, times=99))
    with fuse, pytest.raises(TrainingError, match="The memory is full") as caught:
        run(tmp_path, PLAIN, prepared, model, said)
    assert "resume" in caught.value.remedy
    assert [event.outcome for event in said.of(RunEnded)] == ["failed"]
    taken = [one["id"] for one in json.loads((tmp_path / "run" / "ladder.json").read_text())["taken"]]
    assert taken == ["checkpointing", "batch_one", "small_cache", "resolution", "resolution"]
    assert [path.name for path in (event.path for event in said.of(LoraSaved))] == ["tiny-000001.safetensors"]
    again = prepare(
        Project.load(tmp_path / "project"),
        PrepareSettings.from_config(load_config(tmp_path / "run" / "config.json")),
        lambda _: None,
    )
    kept = load_config(tmp_path / "run" / "config.json")
    assert run(tmp_path, kept, again, model, resume=True).outcome == "done"
    assert len(weights(tmp_path / "out")) == 2


def test_a_caption_edited_meanwhile_does_not_get_into_the_run(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    caption = tmp_path / "project" / "images" / "subject" / "photo0.txt"
    edit = tiny.Recorder(
        lambda event: caption.write_text("other", encoding="utf-8") if isinstance(event, StepDone) else 0
    )
    settings = PLAIN.replace(gradient_checkpointing=True, encode_ahead="off", batch_size=1)
    with full.full_at(model, "forward", full.Fuse(calls=2)):
        result = run(tmp_path, settings, prepared, model, edit)
    assert load_config(tmp_path / "run" / "config.json").resolution_px == 96
    assert "other" not in load_lora(result.files[-1]).metadata["ss_tag_frequency"]


def test_without_a_way_to_prepare_again_the_resolution_stays(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    settings = PLAIN.replace(gradient_checkpointing=True, encode_ahead="off", batch_size=1)
    with full.full_at(model, "forward", full.Fuse()), pytest.raises(TrainingError, match="The memory is full"):
        tiny.run(tmp_path, settings, prepared, model)


def test_a_new_run_forgets_an_old_ones_ladder(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "ladder.json").write_text("{}")
    run(tmp_path, PLAIN, prepared, model)
    assert not (tmp_path / "run" / "ladder.json").exists()


def test_the_stage_is_told_by_the_functions_the_error_came_through() -> None:
    assert stage_of(MemoryError()) == ""
