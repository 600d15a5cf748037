"""On a card: recorded steps, and what a run leaves there. Skipped where there is none."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.events import Command, CommandBox, StepDone, Warned
from lora_forge.model.devices import empty_cache, pick_device, pick_dtype, used_memory_bytes
from lora_forge.model.graphs import records
from lora_forge.ports import BorrowedModel
from tests.train import tiny

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not records(pick_device()), reason="NO GPU TEST RAN: there is no NVIDIA card here"),
]


@pytest.fixture(scope="module")
def lent() -> BorrowedModel:
    """The tiny checkpoint on the card, in the type that it does well."""
    device = pick_device()
    model = tiny.build_model(dtype=pick_dtype("auto", device))
    for module in (model.unet, model.vae, *(tower.module for tower in model.text_towers)):
        module.to(device)
    return dataclasses.replace(model, device=device)


def run(where: Path, prepared: PreparedSet, lent: BorrowedModel, **changes: Any) -> tuple[list[float], dict[str, Any]]:
    """Losses and last file of a run in which nothing had to be warned of."""
    recorder = tiny.Recorder()
    settings = tiny.config(repeats=6, **changes)
    result = tiny.run(where, settings, prepared, lent, recorder)
    assert recorder.of(Warned) == []
    return [event.loss for event in recorder.of(StepDone)], load_file(result.files[-1])


@pytest.mark.parametrize(
    "changes", [{}, {"gradient_checkpointing": "on"}, {"gradient_accumulation": 2, "batch_size": 3}, {"conv_rank": 2}]
)
def test_recorded_steps_are_plain_ones(
    changes: dict[str, Any], tmp_path: Path, prepared: PreparedSet, lent: BorrowedModel
) -> None:
    plain, expected = run(tmp_path / "plain", prepared, lent, graphs="off", **changes)
    recorded, found = run(tmp_path / "recorded", prepared, lent, **changes)
    assert recorded == pytest.approx(plain, rel=1e-2)
    for key, values in expected.items():
        torch.testing.assert_close(found[key].float(), values.float(), atol=5e-3, rtol=5e-2)


def test_a_run_that_was_stopped_goes_on_to_the_same_end(
    tmp_path: Path, prepared: PreparedSet, lent: BorrowedModel
) -> None:
    settings = tiny.config(repeats=6)
    whole = tiny.Recorder()
    tiny.run(tmp_path / "whole", settings, prepared, lent, whole)
    box = CommandBox()
    stopped = tiny.Recorder(lambda e: box.send(Command.STOP_AND_SAVE) if getattr(e, "step", 0) == 9 else None)
    tiny.run(tmp_path / "cut", settings, prepared, lent, stopped, box)
    again = tiny.Recorder()
    tiny.run(tmp_path / "cut", settings, prepared, lent, again, resume=True)
    losses = [[s.loss for one in runs for s in one.of(StepDone)] for runs in ((whole,), (stopped, again))]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_nothing_stays_on_the_card(tmp_path: Path, prepared: PreparedSet, lent: BorrowedModel) -> None:
    run(tmp_path / "first", prepared, lent)  # libraries keep workspaces
    empty_cache(lent.device)
    before = used_memory_bytes(lent.device) or 0
    run(tmp_path / "second", prepared, lent)
    empty_cache(lent.device)
    assert (used_memory_bytes(lent.device) or 0) <= before + 2**20
