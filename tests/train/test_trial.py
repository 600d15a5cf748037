"""Test firing: what it measures, and that nothing is left of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.errors import TrainingError
from lora_forge.events import Progress
from lora_forge.model.devices import GLOBAL_FLAGS
from lora_forge.ports import BorrowedModel
from lora_forge.train.encoding import StoppedError
from lora_forge.train.trial import fire
from tests.train import full, tiny

CONFIG = tiny.config(preview_every_steps=1, te_learning_rate=1e-3, batch_size=3, gradient_accumulation=4)


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedSet:
    return tiny.build_project(tmp_path / "project", ((70, 70), (70, 70)))


@pytest.fixture
def model() -> Iterator[BorrowedModel]:
    """As lent before, so after: weights, modes, hooks and torch's generator and flags."""
    made = tiny.build_model()
    networks = (made.unet, made.vae, made.text_towers[0].module)
    before = [{name: tensor.clone() for name, tensor in one.state_dict().items()} for one in networks]
    modules = [type(module) for module in made.unet.modules()]
    random, flags = torch.get_rng_state(), {name: read() for name, (read, _) in GLOBAL_FLAGS.items()}
    yield made
    assert torch.equal(random, torch.get_rng_state())
    assert flags == {name: read() for name, (read, _) in GLOBAL_FLAGS.items()}
    assert modules == [type(module) for module in made.unet.modules()]
    for network, kept in zip(networks, before, strict=True):
        assert network.state_dict().keys() == kept.keys()
        assert all(torch.equal(tensor, kept[name]) for name, tensor in network.state_dict().items())
        assert not any(parameter.requires_grad or parameter.grad is not None for parameter in network.parameters())
        assert not network.training


def no() -> bool:
    return False


def test_everything_is_measured_at_the_real_shape(prepared: PreparedSet, model: BorrowedModel, tmp_path: Path) -> None:
    shapes = []
    handle = model.unet.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    files = sorted(tmp_path.rglob("*"))
    said = tiny.Recorder()
    found = fire(model, prepared.images, CONFIG, said, no)
    handle.remove()
    assert found.failed_at == found.cause == ""
    assert found.batch_s is not None
    assert found.encode_s is not None
    assert found.preview_s is not None
    assert min(found.batch_s, found.encode_s, found.preview_s) > 0
    assert (found.preview_steps, found.is_checkpointed) == (2, False)
    side = prepared.images[0].bucket.width // 8
    steps = [shape for shape in shapes if shape[0] == 3]
    assert steps[:4] == [(3, 4, side, side)] * 4, "two steps of two batches: four are as two"
    assert len(shapes) > 4, "and a preview"
    assert (found.peak_bytes or 0) > 50e6
    assert (found.total_bytes or 0) > (found.free_bytes or 0) > 0
    assert [event.done for event in said.of(Progress)] == [1, 2, 3, 4, 5]
    assert sorted(tmp_path.rglob("*")) == files


def test_without_previews_none_is_drawn(prepared: PreparedSet, model: BorrowedModel) -> None:
    config = CONFIG.replace(preview_every_steps=0, gradient_checkpointing="on")
    found = fire(model, prepared.images, config, tiny.Recorder(), no)
    assert (found.preview_s, found.preview_steps, found.failed_at, found.is_checkpointed) == (None, 0, "", True)


@pytest.mark.parametrize("stage", ["encode", "text", "forward", "backward", "optimizer", "preview"])
def test_full_memory_is_a_result_that_names_its_stage(prepared: PreparedSet, model: BorrowedModel, stage: str) -> None:
    # the optimizer is asked for a step of its own first, to see whether it has a fused one
    with full.full_at(model, stage, full.Fuse(calls=int(stage == "optimizer"))):
        found = fire(model, prepared.images, CONFIG, tiny.Recorder(), no)
    assert found.failed_at == stage
    assert "can't allocate memory" in found.cause
    assert found.peak_bytes is not None


def test_another_error_is_one(prepared: PreparedSet, model: BorrowedModel) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("shape '[2]' is invalid")

    with full.full_at(model, "forward", fail), pytest.raises(RuntimeError, match="invalid"):
        fire(model, prepared.images, CONFIG, tiny.Recorder(), no)
    nothing = CONFIG.replace(learning_rate=0.0)
    without = dataclasses.replace(model, text_towers=())
    with pytest.raises(TrainingError, match="text encoder"):
        fire(without, prepared.images, nothing.replace(clip_skip=1), tiny.Recorder(), no)


def test_a_stop_is_obeyed_between_two_steps(prepared: PreparedSet, model: BorrowedModel) -> None:
    said = tiny.Recorder()
    with pytest.raises(StoppedError):
        fire(model, prepared.images, CONFIG, said, lambda: len(said.of(Progress)) >= 2)
    assert [event.done for event in said.of(Progress)] == [1, 2]
