"""The browser is gone for an hour: nobody asks, and the run goes on as if somebody did."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import pytest

from lora_forge.events import CommandBox, Emit, StepDone, Warned
from lora_forge.jobs import JobBoard
from lora_forge.jobs.board import MOST_SENTENCES
from lora_forge.ports import BorrowedModel
from lora_forge.train.journal import read_journal
from tests.faults import checks
from tests.train import tiny

HOUR_S = 3600.0
STEPS = 20_000


def test_a_run_that_nobody_asks_of_ends_and_is_told_in_one_answer(
    tmp_path: Path, prepared: tiny.PreparedSet, model: BorrowedModel, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, began = JobBoard(), time.time()

    def work(emit: Emit, commands: CommandBox) -> str:
        def later(event: object) -> None:
            emit(event)  # type: ignore[arg-type]
            if isinstance(event, StepDone) and event.step == 5:
                monkeypatch.setattr(time, "time", lambda: began + HOUR_S)

        return tiny.run(tmp_path, checks.SETTINGS, prepared, model, later, commands).outcome

    board.start("girl", work)
    board.join(120.0)
    snapshot = board.snapshot()
    assert (snapshot["state"], snapshot["step"], snapshot["total"]) == ("done", checks.STEPS, checks.STEPS)
    assert snapshot["files"] == sorted(checks.loras(straight))
    assert snapshot["ended_at"] - snapshot["started_at"] > HOUR_S - 120.0
    assert read_journal(tmp_path / "run")[-1]["outcome"] == "done"
    checks.assert_same_end(tmp_path, straight)


def test_what_is_kept_for_a_page_does_not_grow_with_the_hours() -> None:
    sizes: list[int] = []

    def work(emit: Emit, commands: CommandBox) -> str:
        tracemalloc.start()
        for step in range(1, STEPS + 1):
            emit(StepDone(step, STEPS, 1, 0.5, 0.4, 0.45, 1e-4, 2.0, 3.0))
            emit(Warned("Step {step} of {total}.", {"step": step, "total": STEPS}))
            if step in (STEPS // 2, STEPS):
                sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        return "done"

    board = JobBoard()
    board.start("girl", work)
    board.join(120.0)
    snapshot = board.snapshot(since=1)  # what a page asks that heard the first sentence, an hour ago
    assert snapshot["step"] == STEPS
    numbers = [line["number"] for line in snapshot["log"]]
    assert numbers == list(range(numbers[0], numbers[0] + MOST_SENTENCES))
    assert snapshot["log"][-2]["text"] == f"Step {STEPS} of {STEPS}."
    assert abs(sizes[1] - sizes[0]) < 20_000
    assert len(json.dumps(snapshot)) < 100_000
