"""Previews within their share of a run's time, by a clock that stands still but for what is planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.events import Command, CommandBox, Paused, PreviewMade, StageDone, StepDone
from lora_forge.ports import BorrowedModel
from lora_forge.train import preview_share
from lora_forge.train.preview_share import PreviewBudget, expected_s, fits
from tests.train import tiny


class Clock:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def drawn_in(
    share: float, steps: int, every: int, step_s: float, each_s: float, prompts: int = 1
) -> tuple[list[int], float]:
    """Which steps are drawn, and what share of the whole that takes; the first preview draws the base too."""
    clock = Clock()
    budget, drawn, spent = PreviewBudget(share, prompts, clock), [], 0.0
    for step in range(1, steps + 1):
        clock.s += step_s
        if step == steps or (step % every == 0 and budget.allows()):
            with budget.drawing():
                seconds = each_s if drawn else each_s + each_s / prompts
                clock.s += seconds
                spent += seconds
            drawn.append(step)
    return drawn, spent / (clock.s - 100.0)


def test_the_rule_keeps_room_for_the_one_at_the_end() -> None:
    # 10 s of previews so far, this one 5 s, the last one 5 s: 20 s are a tenth of 200 s, of which this one takes 5.
    assert fits(0.1, 10.0, 5.0, 195.0)
    assert not fits(0.1, 10.0, 5.0, 194.9)
    assert fits(0.0, 1000.0, 5.0, 1.0)


def test_known_steps_of_a_planted_run() -> None:
    # Two pictures in 4 s, the base's in 2. After the first: 6 + 2 x 4 <= 0.1 x (run + 4) from 136 s on: at step 130.
    drawn, taken = drawn_in(0.1, 400, 10, 1.0, 4.0, prompts=2)
    assert drawn == [10, 130, 170, 210, 240, 280, 310, 350, 390, 400]
    assert taken == 42 / 442


def test_cheap_previews_are_all_drawn_and_dear_ones_only_first_and_last() -> None:
    assert drawn_in(0.1, 2000, 50, 1.0, 0.25)[0] == list(range(50, 2001, 50))
    assert drawn_in(0.0, 2000, 50, 1.0, 500.0)[0] == list(range(50, 2001, 50))
    assert drawn_in(0.1, 2000, 50, 1.0, 200.0)[0] == [50, 2000]  # more than a tenth, and there is no helping it


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25])
@pytest.mark.parametrize("each_s", [1.0, 4.0, 30.0])
@pytest.mark.parametrize("prompts", [1, 3])
def test_previews_stay_within_their_share_of_the_run(share: float, each_s: float, prompts: int) -> None:
    drawn, taken = drawn_in(share, 2000, 50, 1.0, each_s, prompts)
    assert (drawn[0], drawn[-1]) == (50, 2000)
    assert taken <= share
    # One more would have been too much, or all are drawn.
    assert len(drawn) == 40 or taken * 2000 > share * 2000 - 3 * each_s - 50


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25])
@pytest.mark.parametrize("each_s", [1.0, 6.0, 30.0, 200.0])
def test_what_is_expected_is_what_a_planted_run_takes(share: float, each_s: float) -> None:
    drawn, taken = drawn_in(share, 2000, 50, 1.0, each_s)
    seconds = each_s * (len(drawn) + 1)
    assert taken == pytest.approx(seconds / (seconds + 2000))
    assert abs(expected_s(share, 40, 2 * each_s, each_s, 2000.0) - seconds) <= 3 * each_s


def test_nothing_is_expected_of_no_preview_and_the_first_whatever_it_takes() -> None:
    assert expected_s(0.1, 0, 5.0, 5.0, 100.0) == 0.0
    assert expected_s(0.1, 1, 9.0, 5.0, 10.0) == 9.0


def test_pauses_and_what_is_asked_for_are_no_part_of_the_run() -> None:
    clock = Clock()
    budget = PreviewBudget(0.1, 3, clock)
    with budget.drawing():
        clock.s += 4.0  # 3 s, and 1 s for the base
    assert budget.last_s == 3.0
    with budget.aside():
        clock.s += 1e6
    clock.s += 92.9  # 4 + 2 x 3 <= 0.1 x (97 + 3)
    assert not budget.allows()
    clock.s += 0.2
    assert budget.allows()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(preview_share, "perf_counter", clock)
    return clock


def recorder_of(clock: Clock, box: CommandBox, orders: dict[int, list[Command]]) -> tiny.Recorder:
    """A step takes a second, a picture two, a pause half an hour."""

    def act(event: object) -> None:
        if isinstance(event, StepDone):
            clock.s += 1.0
            for command in orders.get(event.step, []):
                box.send(command)
        elif isinstance(event, PreviewMade):
            clock.s += 2.0
        elif isinstance(event, Paused):
            clock.s += 1800.0
            box.send(Command.RESUME)

    return tiny.Recorder(act)


def shown(**changes: Any) -> Any:
    previews = {"preview_every_steps": 3, "preview_share": 0.25, "preview_steps": 1}
    return tiny.config(epochs=4, repeats=6, **previews, **changes)


def steps_drawn(recorder: tiny.Recorder) -> list[int]:
    return [made.step for made in recorder.of(PreviewMade) if made.column == 1]


def test_a_run_leaves_out_what_takes_too_long_and_says_so_once(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, clock: Clock
) -> None:
    box, recorder = CommandBox(), recorder_of(clock, CommandBox(), {})
    tiny.run(tmp_path, shown(), prepared, model, recorder, box)
    # The base and the first: 4 s at step 3. Then 4 + 2 x 2 <= 0.25 x (run + 2) from 30 s on: step 26 (due: 27);
    # after that 6 + 4 from 38 s on, step 32 (due: 33); and the last of the 36.
    assert recorder.of(StepDone)[-1].total_steps == 36
    assert steps_drawn(recorder) == [3, 27, 33, 36]
    said = [event for event in recorder.of(StageDone) if event.stage == "preview"]
    assert [event.values for event in said] == [{"seconds": 2.0, "share": "25"}]


def test_asked_previews_are_drawn_always_and_cost_the_due_ones_nothing(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, clock: Clock
) -> None:
    box = CommandBox()
    recorder = recorder_of(clock, box, {4: [Command.PREVIEW_NOW], 5: [Command.PREVIEW_NOW, Command.PAUSE]})
    tiny.run(tmp_path, shown(), prepared, model, recorder, box)
    assert steps_drawn(recorder) == [3, 4, 5, 27, 33, 36]
