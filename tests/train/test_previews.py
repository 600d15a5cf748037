"""Previews during a run: their columns, when they are drawn, what a run can be told about them, and what may fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lora_forge import config as settings
from lora_forge.dataset.prepared import PreparedSet
from lora_forge.events import (
    Command,
    CommandBox,
    LoraSaved,
    NewPrompts,
    Paused,
    PreviewMade,
    RunEnded,
    StepDone,
    Warned,
)
from lora_forge.ports import BorrowedModel
from lora_forge.train.preview import draw_preview, filled_in, prompts_of
from lora_forge.train.tensor_file import load_tree
from tests.train import tiny

COLUMNS = ("TRIGGER", "TRIGGER, white hair")


def shown(**changes: Any) -> Any:
    return tiny.config(preview_every_steps=2, preview_prompts=COLUMNS, **changes)


def places(recorder: tiny.Recorder) -> list[tuple[int, int, str]]:
    return [(made.step, made.column, made.prompt) for made in recorder.of(PreviewMade)]


def pixels(path: Path) -> Any:
    with Image.open(path) as picture:
        return np.asarray(picture, dtype=int)


def on_step(box: CommandBox, orders: dict[int, list[Any]]) -> tiny.Recorder:
    """A recorder that sends ``orders`` after the step they stand for."""

    def act(event: object) -> None:
        for command in orders.get(event.step, []) if isinstance(event, StepDone) else []:
            box.send(command)

    return tiny.Recorder(act)


def test_prompts_of_a_run() -> None:
    assert prompts_of(shown(), "a photo") == ("ohwx", "ohwx, white hair")
    assert prompts_of(tiny.config(), "a photo") == ("ohwx",)
    assert prompts_of(tiny.config(trigger_word=""), "a photo") == ("a photo",)
    assert filled_in(("TRIGGER and TRIGGER",), "x") == ("x and x",)


def test_the_columns_of_every_second_step_and_of_the_last(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    recorder = tiny.Recorder()
    tiny.run(tmp_path, shown(max_steps=5), prepared, model, recorder)
    told = ("ohwx", "ohwx, white hair")
    assert places(recorder) == [
        (2, 0, "ohwx"),
        *((step, column, told[column - 1]) for step in (2, 4, 5) for column in (1, 2)),
    ]
    names = sorted(path.name for path in (tmp_path / "run" / "previews").iterdir())
    base = recorder.of(PreviewMade)[0].path.name
    assert names == [base, *(f"step-{step:08d}-{column}.png" for step in (2, 4, 5) for column in (1, 2))]
    assert base.startswith("base-")


def test_column_0_is_the_base_alone_and_all_columns_have_the_runs_seed(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    recorder = tiny.Recorder()
    chosen = shown(te_learning_rate=1e-2, seed=123)
    tiny.run(tmp_path, chosen, prepared, model, recorder)
    base = pixels(recorder.of(PreviewMade)[0].path)
    drawn = draw_preview(model, chosen, "ohwx", lambda: False)
    assert drawn is not None
    assert np.array_equal(base, np.asarray(drawn, dtype=int))
    assert not np.array_equal(base, pixels(recorder.of(PreviewMade)[-2].path))


def test_an_untrained_lora_changes_nothing_so_columns_differ_by_their_prompt_alone(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    """Before the first step, with the same prompt twice: three times the same picture."""
    box, recorder = CommandBox(), tiny.Recorder()
    box.send(NewPrompts(("ohwx", "ohwx")))
    box.send(Command.PREVIEW_NOW)
    tiny.run(tmp_path, tiny.config(max_steps=1), prepared, model, recorder, box)
    made = [pixels(event.path) for event in recorder.of(PreviewMade)]
    assert [(event.step, event.column) for event in recorder.of(PreviewMade)] == [(0, 0), (0, 1), (0, 2)]
    assert np.array_equal(made[0], made[1])
    assert np.array_equal(made[0], made[2])


def test_the_base_is_drawn_once_and_again_where_its_prompt_changes(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    box = CommandBox()
    recorder = on_step(box, {3: [NewPrompts(("TRIGGER, snow",))]})
    tiny.run(tmp_path, shown(epochs=1), prepared, model, recorder, box)
    drawn = {event.path: event.path.stat().st_mtime_ns for event in recorder.of(PreviewMade) if event.column == 0}
    assert len(drawn) == 1  # the epoch ends at step 3, before the command is obeyed

    again = tiny.Recorder()
    tiny.run(tmp_path, shown(epochs=2), prepared, model, again, CommandBox(), resume=True)
    assert [(event.step, event.column) for event in again.of(PreviewMade)][:2] == [(4, 0), (4, 1)]
    assert {event.path for event in again.of(PreviewMade) if event.column == 0} == set(drawn)
    assert all(path.stat().st_mtime_ns == when for path, when in drawn.items())


def test_new_prompts_are_drawn_from_the_next_preview_on_and_outlive_the_run(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    box = CommandBox()
    orders = {2: [NewPrompts(("TRIGGER, snow", "hair"))], 5: [Command.STOP_AND_SAVE]}
    recorder = on_step(box, orders)
    tiny.run(tmp_path, shown(), prepared, model, recorder, box)
    assert places(recorder) == [
        (2, 0, "ohwx"), (2, 1, "ohwx"), (2, 2, "ohwx, white hair"),
        (4, 0, "ohwx, snow"), (4, 1, "ohwx, snow"), (4, 2, "hair"),
    ]  # fmt: skip
    kept = settings.load(tmp_path / "run" / "config.json")
    assert kept == shown().replace(preview_prompts=("TRIGGER, snow", "hair"))
    again = tiny.Recorder()
    tiny.run(tmp_path, kept, prepared, model, again, resume=True)
    assert places(again) == [(6, 0, "ohwx, snow"), (6, 1, "ohwx, snow"), (6, 2, "hair")]


def test_no_prompts_at_all_are_the_trigger_word(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    box = CommandBox()
    recorder = on_step(box, {1: [NewPrompts(()), Command.PREVIEW_NOW]})
    tiny.run(tmp_path, shown(max_steps=2), prepared, model, recorder, box)
    assert places(recorder) == [(1, 0, "ohwx"), (1, 1, "ohwx"), (2, 1, "ohwx")]
    assert settings.load(tmp_path / "run" / "config.json").preview_prompts == ()


def test_commands_before_the_first_step_do_no_harm(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    box = CommandBox()
    for command in (Command.SAVE_NOW, Command.PREVIEW_NOW, Command.RESUME):
        box.send(command)
    recorder, plain = tiny.Recorder(), tiny.Recorder()
    assert tiny.run(tmp_path / "a", tiny.config(), prepared, model, recorder, box).outcome == "done"
    tiny.run(tmp_path / "b", tiny.config(), prepared, model, plain)
    assert ["Nothing was learned yet" in warned.message for warned in recorder.of(Warned)] == [True]
    assert [(event.step, event.column) for event in recorder.of(PreviewMade)] == [(0, 0), (0, 1)]
    assert [saved.path.name for saved in recorder.of(LoraSaved)] == [s.path.name for s in plain.of(LoraSaved)]
    assert weights(tmp_path / "a", 6) == weights(tmp_path / "b", 6)


def weights(where: Path, step: int) -> dict[str, bytes]:
    tree = load_tree(where / "run" / "state" / f"step-{step:08d}.safetensors")["weights"]
    return {name: tensor.numpy().tobytes() for name, tensor in tree.items()}


def test_a_paused_run_draws_and_takes_prompts(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    box = CommandBox()
    orders = [NewPrompts(("snow",)), Command.PREVIEW_NOW, Command.PAUSE, Command.SAVE_NOW, Command.RESUME]

    def act(event: object) -> None:
        if isinstance(event, StepDone) and event.step == 1:
            box.send(Command.PAUSE)
        if isinstance(event, Paused):
            for order in orders:
                box.send(order)

    recorder = tiny.Recorder(act)
    assert tiny.run(tmp_path, tiny.config(), prepared, model, recorder, box).outcome == "done"
    assert places(recorder) == [(1, 0, "snow"), (1, 1, "snow")]
    assert len(recorder.of(Paused)) == 1
    assert recorder.of(LoraSaved)[0].path.name == "tiny-step00000001.safetensors"


def test_every_step_tells_the_memory_it_took(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    recorder = tiny.Recorder()
    tiny.run(tmp_path, tiny.config(epochs=1), prepared, model, recorder)
    told = [step.memory_bytes for step in recorder.of(StepDone)]
    if Path("/proc/self/status").exists():
        assert all(isinstance(one, int) and 2**26 < one < 2**40 for one in told)
    else:
        assert told == [None] * 3


class Failing:
    """The VAE's decoder, which only previews use, fails at the calls in ``when``."""

    def __init__(self, model: BorrowedModel, error: Exception, when: set[int]) -> None:
        self.calls, self._decode = 0, model.vae.decode
        self._error, self._when = error, when
        model.vae.decode = self

    def __call__(self, *values: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls in self._when:
            raise self._error
        return self._decode(*values, **named)


ERRORS = {
    "the memory is full": RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "the disk is full": OSError(28, "No space left on device"),
    "ZeroDivisionError: by nothing": ZeroDivisionError("by nothing"),
}


@pytest.mark.parametrize("said", ERRORS)
def test_a_preview_that_fails_is_said_and_the_run_goes_on(said: str, tmp_path: Path, prepared: PreparedSet) -> None:
    model, recorder, plain = tiny.build_model(), tiny.Recorder(), tiny.Recorder()
    Failing(model, ERRORS[said], {1, 3})
    assert tiny.run(tmp_path / "a", shown(ema_decay=0.9), prepared, model, recorder).outcome == "done"
    warnings = [warned.message for warned in recorder.of(Warned)]
    assert warnings == [f"The preview at step {step} could not be drawn ({said}). The run goes on." for step in (2, 4)]
    # At step 2 the base failed; at 4 it was drawn and the first column failed; at 6 all went well.
    assert [(step, column) for step, column, _ in places(recorder)] == [(4, 0), (6, 1), (6, 2)]
    tiny.run(tmp_path / "b", tiny.config(ema_decay=0.9), prepared, None, plain)
    assert weights(tmp_path / "a", 6) == weights(tmp_path / "b", 6)


def test_after_three_failures_none_is_tried_until_one_is_asked_for(tmp_path: Path, prepared: PreparedSet) -> None:
    model, box = tiny.build_model(), CommandBox()
    failing = Failing(model, RuntimeError("out of memory"), {1, 2, 3})
    recorder = on_step(box, {5: [Command.PREVIEW_NOW]})
    chosen = tiny.config(preview_every_steps=1, preview_prompts=("TRIGGER",))
    assert tiny.run(tmp_path, chosen, prepared, model, recorder, box).outcome == "done"
    said = [warned.message for warned in recorder.of(Warned)]
    assert len(said) == 4
    assert said[3].startswith("3 previews in a row could not be drawn")
    assert places(recorder) == [(5, 0, "ohwx"), (5, 1, "ohwx"), (6, 1, "ohwx")]
    assert failing.calls == 6


def test_a_failing_listener_is_not_taken_for_a_failing_preview(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    def act(event: object) -> None:
        if isinstance(event, PreviewMade):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tiny.run(tmp_path, shown(), prepared, model, tiny.Recorder(act))


@pytest.mark.parametrize("command", [Command.STOP, Command.STOP_AND_SAVE])
def test_a_stop_does_not_wait_for_a_preview(command: Command, tmp_path: Path, prepared: PreparedSet) -> None:
    """Asked for after the base's picture: the two others of that step are left out, and none is half done."""
    box = CommandBox()
    recorder = tiny.Recorder(lambda event: box.send(command) if isinstance(event, PreviewMade) else None)
    result = tiny.run(tmp_path, shown(preview_steps=5), prepared, tiny.build_model(), recorder, box)
    assert (result.outcome, result.step) == ("stopped", 2)
    assert [(step, column) for step, column, _ in places(recorder)] == [(2, 0)]
    assert not list((tmp_path / "run" / "previews").glob("step-*"))
    assert recorder.of(RunEnded)[0].outcome == "stopped"
    saved = [event.path.name for event in recorder.of(LoraSaved)]
    assert saved == (["tiny-step00000002.safetensors"] if command is Command.STOP_AND_SAVE else [])


def test_the_journal_knows_the_columns(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    tiny.run(tmp_path, shown(epochs=1), prepared, model)
    lines = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_text("utf-8").splitlines()]
    made = [(line["step"], line["column"]) for line in lines if line["event"] == "PreviewMade"]
    assert made == [(2, 0), (2, 1), (2, 2), (3, 1), (3, 2)]
