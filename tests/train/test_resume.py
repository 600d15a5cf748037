"""A run that was stopped and resumed ends with the very bits of one that was not."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lora_forge.config import TrainConfig
from lora_forge.dataset.prepared import PreparedSet
from lora_forge.errors import TrainingError
from lora_forge.events import Command, CommandBox, LoraSaved, RunStarted, StageDone, StepDone, Warned
from lora_forge.lora_file.writer import load_lora
from lora_forge.ports import BorrowedModel
from lora_forge.train.schedules import rate_factor
from lora_forge.train.state import RunState, load_newest
from tests.train import tiny

PLAIN = tiny.config(state_every_steps=1, flip=True, noise_offset=0.05, tag_dropout=0.2, caption_dropout=0.2)
VARIANTS = {
    "plain": PLAIN,
    "accumulation": PLAIN.replace(batch_size=1, gradient_accumulation=2),
    "ema": PLAIN.replace(ema_decay=0.9),
    "text": PLAIN.replace(te_learning_rate=1e-3, lora_plus_ratio=4.0),
    "rank_dropout": PLAIN.replace(rank_dropout=0.5, max_norm=0.5),
    "conv": PLAIN.replace(conv_rank=1, warmup_steps=2),
    "adafactor": PLAIN.replace(optimizer="adafactor"),
    "lion": PLAIN.replace(optimizer="lion"),
    "prodigy": PLAIN.replace(optimizer="prodigy", learning_rate=1.0),
    "schedule_free": PLAIN.replace(optimizer="schedule_free", warmup_steps=2),
}
LIBRARIES = {"lion": "lion_pytorch", "prodigy": "prodigyopt", "schedule_free": "schedulefree"}


def stop_after(step: int, command: Command = Command.STOP_AND_SAVE) -> tuple[CommandBox, tiny.Recorder]:
    box = CommandBox()

    def act(event: object) -> None:
        if isinstance(event, StepDone) and event.step == step:
            box.send(command)

    return box, tiny.Recorder(act)


def newest(where: Path) -> RunState:
    state = load_newest(where / "run" / "state", pytest.fail)
    assert state is not None
    return state


def assert_same(one: Any, other: Any, place: str = "") -> None:
    assert type(one) is type(other), place
    if isinstance(one, Tensor):
        assert torch.equal(one, other), place
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            assert_same(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), place
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{place}[{index}]")
    else:
        assert one == other, place


def assert_same_end(one: RunState, other: RunState) -> None:
    for field in dataclasses.fields(RunState):
        if field.name != "started_at":
            assert_same(getattr(one, field.name), getattr(other, field.name), field.name)


def files_of(where: Path) -> dict[str, dict[str, Tensor]]:
    found = {}
    for path in sorted((where / "out").glob("tiny-0*.safetensors")):
        weights = load_lora(path).weights
        found[path.name] = {f"{n}.{k}": getattr(m, k) for n, m in weights.items() for k in ("down", "up")}
    return found


def run_through(where: Path, settings: TrainConfig, prepared: PreparedSet, model: BorrowedModel) -> RunState:
    assert tiny.run(where, settings, prepared, model).outcome == "done"
    return newest(where)


@pytest.mark.parametrize("variant", VARIANTS)
def test_stop_anywhere_and_resume(variant: str, tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    if variant in LIBRARIES and importlib.util.find_spec(LIBRARIES[variant]) is None:
        pytest.skip(f"{variant} is not installed")
    settings = VARIANTS[variant]
    straight = run_through(tmp_path / "straight", settings, prepared, model)
    # For the plain run every step, and interrupted twice; for the others one within an epoch.
    for stop in range(1, straight.step) if variant == "plain" else (2,):
        where = tmp_path / f"stop{stop}"
        box, recorder = stop_after(stop)
        result = tiny.run(where, settings, prepared, model, recorder, box)
        assert (result.outcome, result.step) == ("stopped", stop)
        if variant == "plain" and stop < straight.step - 2:
            box, recorder = stop_after(stop + 2)
            tiny.run(where, settings, prepared, model, recorder, box, resume=True)
            assert recorder.of(RunStarted)[0].first_step == stop + 1
        tiny.run(where, settings, prepared, model, resume=True)
        assert_same_end(straight, newest(where))
        assert_same(files_of(tmp_path / "straight"), files_of(where))


def test_events_of_a_resumed_run_are_those_it_would_have_had(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    whole = tiny.Recorder()
    tiny.run(tmp_path / "a", PLAIN, prepared, model, whole)
    box, first = stop_after(2)
    tiny.run(tmp_path / "b", PLAIN, prepared, model, first, box)
    second = tiny.Recorder()
    tiny.run(tmp_path / "b", PLAIN, prepared, model, second, resume=True)

    def figures(*recorders: tiny.Recorder) -> list[tuple[float, ...]]:
        steps = itertools.chain.from_iterable(recorder.of(StepDone) for recorder in recorders)
        return [(s.step, s.epoch, s.loss, s.mse, s.window_mse, s.learning_rate) for s in steps]

    assert figures(first, second) == figures(whole)


def test_more_epochs_may_be_asked_for(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    """At a constant rate a run that was done and goes on for four epochs is one that had them from the start."""
    constant = PLAIN.replace(schedule="constant", warmup_steps=3)
    straight = run_through(tmp_path / "straight", constant.replace(epochs=6), prepared, model)
    tiny.run(tmp_path / "more", constant, prepared, model)
    tiny.run(tmp_path / "more", constant.replace(epochs=6), prepared, model, resume=True)
    assert_same_end(straight, newest(tmp_path / "more"))
    assert list(files_of(tmp_path / "more")) == [f"tiny-{epoch:06d}.safetensors" for epoch in range(1, 7)]
    assert_same(files_of(tmp_path / "straight"), files_of(tmp_path / "more"))


def test_added_epochs_are_a_cycle_of_their_own_wherever_they_are_interrupted(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    settings, longer = PLAIN.replace(warmup_steps=1), PLAIN.replace(warmup_steps=1, epochs=4)
    first, told = tiny.Recorder(), tiny.Recorder()
    tiny.run(tmp_path / "whole", settings, prepared, model, first)
    tiny.run(tmp_path / "whole", longer, prepared, model, told, resume=True)
    whole = newest(tmp_path / "whole")
    end, last = whole.step // 2, whole.step
    rates = [step.learning_rate for step in told.of(StepDone)]
    assert rates == [1e-2 * rate_factor("cosine", step, last - end) for step in range(1, last - end + 1)]
    assert rates[0] == 1e-2 > first.of(StepDone)[-1].learning_rate
    assert (whole.total, whole.ends) == (last, [end])
    assert not told.of(Warned)
    assert any("goes on to 4" in done.summary for done in told.of(StageDone))
    for stop in range(end + 1, last):
        where = tmp_path / f"stop{stop}"
        tiny.run(where, settings, prepared, model)
        box, recorder = stop_after(stop)
        tiny.run(where, longer, prepared, model, recorder, box, resume=True)
        tiny.run(where, longer, prepared, model, resume=True)
        assert_same_end(whole, newest(where))
        assert_same(files_of(tmp_path / "whole"), files_of(where))


def test_a_run_may_be_made_longer_twice(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    told = tiny.Recorder()
    for epochs in (2, 3, 4):
        told = tiny.Recorder()
        tiny.run(tmp_path, PLAIN.replace(epochs=epochs), prepared, model, told, resume=epochs > 2)
    state = newest(tmp_path)
    assert state.ends == [state.step // 2, state.step * 3 // 4]
    assert told.of(StepDone)[0].learning_rate == 1e-2


def test_a_run_that_was_not_done_takes_the_curve_of_its_new_length(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    box, recorder = stop_after(2)
    tiny.run(tmp_path, PLAIN, prepared, model, recorder, box)
    told = tiny.Recorder()
    tiny.run(tmp_path, PLAIN.replace(epochs=4), prepared, model, told, resume=True)
    state = newest(tmp_path)
    assert state.ends == []
    assert told.of(StepDone)[0].learning_rate == 1e-2 * rate_factor("cosine", 3, state.step)
    assert any("that of the new length" in warned.message for warned in told.of(Warned))


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    tiny.run(tmp_path, PLAIN, prepared, model)
    again = tiny.Recorder()
    result = tiny.run(tmp_path, PLAIN, prepared, model, again, resume=True)
    assert (result.outcome, result.files) == ("done", ())
    assert not again.of(StepDone)


def test_a_stop_without_saving_goes_back_to_the_last_state(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    settings = PLAIN.replace(state_every_steps=2, repeats=4)
    straight = run_through(tmp_path / "straight", settings, prepared, model)
    box, recorder = stop_after(5, Command.STOP)
    tiny.run(tmp_path / "b", settings, prepared, model, recorder, box)
    assert newest(tmp_path / "b").step == 4
    tiny.run(tmp_path / "b", settings, prepared, model, resume=True)
    assert_same_end(straight, newest(tmp_path / "b"))


def test_a_damaged_newest_state_costs_only_its_steps(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    straight = run_through(tmp_path / "straight", PLAIN, prepared, model)
    box, recorder = stop_after(5)
    tiny.run(tmp_path / "b", PLAIN, prepared, model, recorder, box)
    path = tmp_path / "b" / "run" / "state" / "step-00000005.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    recorder = tiny.Recorder()
    tiny.run(tmp_path / "b", PLAIN, prepared, model, recorder, resume=True)
    assert "step-00000005" in recorder.of(Warned)[0].message
    assert recorder.of(RunStarted)[0].first_step == 5
    assert_same_end(straight, newest(tmp_path / "b"))


@pytest.mark.parametrize(
    ("change", "named"),
    [({"learning_rate": 2e-2}, "learning_rate was 0.01 and is 0.02"), ({"seed": 1, "rank": 3}, "rank was 2 and is 3")],
)
def test_other_settings_are_refused_by_name(
    change: dict[str, Any], named: str, tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    box, recorder = stop_after(2)
    tiny.run(tmp_path, PLAIN, prepared, model, recorder, box)
    with pytest.raises(TrainingError, match=named):
        tiny.run(tmp_path, PLAIN.replace(**change), prepared, model, resume=True)


def test_other_photos_captions_and_bases_are_refused_by_name(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    box, recorder = stop_after(2)
    tiny.run(tmp_path, PLAIN, prepared, model, recorder, box)
    first, second, third = prepared.images
    recaptioned = dataclasses.replace(prepared, images=(dataclasses.replace(first, caption="cat"), second, third))
    with pytest.raises(TrainingError, match=r"changed .*photo0\.png"):
        tiny.run(tmp_path, PLAIN, recaptioned, model, resume=True)
    with pytest.raises(TrainingError, match=r"gone: photo2\.png"):
        tiny.run(tmp_path, PLAIN, dataclasses.replace(prepared, images=(first, second)), model, resume=True)
    with pytest.raises(TrainingError, match="base checkpoint is another"):
        tiny.run(tmp_path, PLAIN, prepared, tiny.build_model(seed=1), resume=True)


def test_what_is_shown_and_saved_may_change(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    straight = run_through(tmp_path / "straight", PLAIN, prepared, model)
    box, recorder = stop_after(2)
    tiny.run(tmp_path / "b", PLAIN, prepared, model, recorder, box)
    other = PLAIN.replace(validation_photos=0, preview_every_steps=2, save_every_epochs=2, state_every_steps=0)
    tiny.run(tmp_path / "b", other, prepared, model, resume=True)
    assert_same_end(straight, newest(tmp_path / "b"))


def test_there_must_be_something_to_resume(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    with pytest.raises(TrainingError, match="no run to resume"):
        tiny.run(tmp_path, PLAIN, prepared, model, resume=True)


def test_a_run_killed_before_its_first_state_starts_over(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    box, recorder = stop_after(1, Command.STOP)
    settings = PLAIN.replace(state_every_steps=0)
    tiny.run(tmp_path, settings, prepared, model, recorder, box)
    recorder = tiny.Recorder()
    assert tiny.run(tmp_path, settings, prepared, model, recorder, resume=True).outcome == "done"
    assert "from the beginning" in recorder.of(Warned)[0].message
    assert [event.epoch for event in recorder.of(LoraSaved)] == [1, 2]


def test_a_run_is_not_started_over_another(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    box, recorder = stop_after(2)
    tiny.run(tmp_path, PLAIN, prepared, model, recorder, box)
    with pytest.raises(TrainingError, match="holds a run already"):
        tiny.run(tmp_path, PLAIN, prepared, model)
