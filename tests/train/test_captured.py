"""Recorded steps: the numbers of plain ones, whatever happens between. A tape stands for the card: to replay is to do
the very same work on the very same places again, where nothing may be read back and nothing brought in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.events import Command, CommandBox, PreviewMade, StepDone, Warned
from lora_forge.model.graphs import Work
from lora_forge.ports import BorrowedModel
from lora_forge.train.captured import WARM_UP, Replays
from tests.train import tiny

# What a recording can't hold: a value that the CPU reads, a number that the CPU brings, a size that hangs on values.
FORBIDDEN = {"_local_scalar_dense", "lift_fresh", "nonzero", "masked_select", "equal", "is_nonzero", "unique_dim"}


class Watch(TorchDispatchMode):
    """Refuses what a card's recording refuses."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.split(".")[0]
        if name in FORBIDDEN:
            raise RuntimeError(f"{name} while a step is recorded")
        return func(*args, **(kwargs or {}))


class Tape:
    """Records on the CPU. ``fails``: as a card that can't."""

    def __init__(self, fails: bool = False) -> None:
        self.recorded, self.replayed, self._fails = 0, 0, fails

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        yield

    def record(self, work: Work) -> Work:
        if self._fails:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            with Watch():
                work()

        return replay


def put_in(monkeypatch: pytest.MonkeyPatch, tape: Tape) -> None:
    """Let the CPU record on ``tape``."""
    monkeypatch.setattr("lora_forge.train.step.records", lambda device: True)
    monkeypatch.setattr("lora_forge.train.step.recorder_for", lambda device: tape)


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Tape:
    made = Tape()
    put_in(monkeypatch, made)
    return made


def trained(where: Path, prepared: PreparedSet, model: BorrowedModel, **changes: Any) -> tuple[Any, dict[str, Any]]:
    """What was told of a run, and its last file."""
    recorder = tiny.Recorder()
    result = tiny.run(where, tiny.config(**changes), prepared, model, recorder)
    return recorder, load_file(result.files[-1])


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two batches a step, one of them smaller": {"batch_size": 3, "gradient_accumulation": 2},
    "weights and masks": {"min_snr_gamma": 5.0, "masked_loss": True, "noise_offset": 0.1},
    "checkpointed": {"gradient_checkpointing": "on"},
    "convolutions, two scales": {"conv_rank": 2, "conv_alpha": 1.0, "alpha": 1.0},
    "average and limit": {"ema_decay": 0.9, "max_norm": 0.5},
    "an optimizer that can't be told on the device": {"optimizer": "adafactor"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_recorded_steps_are_plain_ones(name: str, tmp_path: Path, prepared: PreparedSet, tape: Tape) -> None:
    changes = {"repeats": 5, **SETTINGS[name]}
    model = tiny.build_model(dtype=torch.bfloat16)
    plain, expected = trained(tmp_path / "plain", prepared, model, graphs="off", **changes)
    assert tape.replayed == 0
    recorded, found = trained(tmp_path / "recorded", prepared, model, **changes)
    assert tape.replayed > 4
    losses = [[(s.loss, s.mse) for s in one.of(StepDone)] for one in (plain, recorded)]
    assert losses[0] == losses[1]
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_each_shape_is_recorded_once(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, tape: Tape) -> None:
    recorder, _ = trained(tmp_path, prepared, model, batch_size=1, repeats=4)
    steps = len(recorder.of(StepDone))
    assert tape.recorded == 3  # two shapes of photos, and the update
    assert tape.replayed == 2 * steps - 3 * WARM_UP


@pytest.mark.parametrize("changes", [{"te_learning_rate": 1e-3}, {"rank_dropout": 0.5}, {"graphs": "off"}])
def test_what_needs_the_cpu_in_every_step_is_not_recorded(
    changes: dict[str, Any], tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, tape: Tape
) -> None:
    trained(tmp_path, prepared, model, epochs=1, repeats=4, **changes)
    assert tape.recorded == 0


def test_a_card_that_refuses_costs_one_line(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, expected = trained(tmp_path / "plain", prepared, model, graphs="off", repeats=5)
    put_in(monkeypatch, Tape(fails=True))
    recorder, found = trained(tmp_path / "refused", prepared, model, repeats=5)
    (warned,) = recorder.of(Warned)
    assert warned.values == {"cause": "operation not permitted when stream is capturing"}
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_a_stop_a_preview_and_a_resume_leave_no_trace(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, tape: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny.config(repeats=6, preview_every_steps=3)
    whole = tiny.Recorder()
    expected = load_file(tiny.run(tmp_path / "whole", settings, prepared, model, whole).files[-1])
    monkeypatch.setattr("lora_forge.train.step.ROOM_BYTES", 2**60)  # never enough: each preview lets go of all
    box = CommandBox()
    stopped = tiny.Recorder(lambda e: box.send(Command.STOP_AND_SAVE) if getattr(e, "step", 0) == 7 else None)
    assert tiny.run(tmp_path / "cut", settings, prepared, model, stopped, box).outcome == "stopped"
    again = tiny.Recorder()
    resumed = tiny.run(tmp_path / "cut", settings, prepared, model, again, resume=True)
    found = load_file(resumed.files[-1])
    assert len(again.of(PreviewMade)) > 1
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    losses = [[s.loss for one in runs for s in one.of(StepDone)] for runs in ((whole,), (stopped, again))]
    assert losses[0] == losses[1]


def test_a_recording_is_made_anew_where_the_weights_have_moved() -> None:
    tape, place, done = Tape(), [1], list[int]()
    replays = Replays(tape, lambda: place[0], print)
    for turn in range(6):
        if turn == 4:
            place[0] = 2
        replays.run("turn", lambda tensors: done.append(1), [torch.zeros(2)])
    assert tape.recorded == 2
    assert len(done) == 6


def test_inputs_are_read_where_the_recording_looks() -> None:
    total = torch.zeros(3)
    replays = Replays(Tape(), lambda: 0, print)

    def add(tensors: Any) -> None:
        total.add_(tensors[0])

    for turn in range(5):
        replays.run("add", add, [torch.full((3,), float(turn)), None])
    assert total.tolist() == [10.0, 10.0, 10.0]
