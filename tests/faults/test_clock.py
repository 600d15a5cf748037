"""The clock is set back, stands still or leaps: it names nothing, orders nothing and decides nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_forge import atomic
from lora_forge.dataset import trash
from lora_forge.dataset.project import Project
from lora_forge.events import Command, CommandBox, RunStarted, StepDone
from lora_forge.lora_file.writer import load_metadata
from lora_forge.ports import BorrowedModel
from lora_forge.train.journal import read_journal
from tests.faults import checks
from tests.train import tiny

NOON = 1_800_000_000.0
CLOCKS: dict[str, Callable[[int], float]] = {
    "goes_back": lambda look: NOON - 3600.0 * look,
    "stands": lambda _: NOON,
    "begins_anew": lambda look: NOON if look < 20 else 0.0,
    "leaps": lambda look: NOON + 86_400.0 * look,
}


def set_clock(monkeypatch: pytest.MonkeyPatch, clock: Callable[[int], float]) -> None:
    """The standard library's ``time.time`` gives ``clock`` of how often it was asked."""
    looks = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: clock(next(looks)))


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_run_under_a_bad_clock_loses_nothing(
    clock: str, tmp_path: Path, prepared: Any, model: BorrowedModel, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = CommandBox()

    def stop(event: Any) -> None:
        if isinstance(event, StepDone) and event.step == 5:
            box.send(Command.STOP_AND_SAVE)

    set_clock(monkeypatch, CLOCKS[clock])
    tiny.run(tmp_path, checks.SETTINGS, prepared, model, tiny.Recorder(stop), box)
    # The state to go on from is the one of the highest step, whatever the files' times say.
    paths = sorted((tmp_path / "run" / "state").glob("step-*"))
    for age, path in enumerate(reversed(paths)):
        os.utime(path, (NOON + 1000 * age, NOON + 1000 * age))
    set_clock(monkeypatch, lambda look: NOON - 10**7 - look)
    recorder = tiny.Recorder()
    checks.finish(tmp_path, prepared, model, recorder)
    assert recorder.of(RunStarted)[0].first_step == 6
    extra = tmp_path / "out" / "tiny-step00000005.safetensors"
    load_metadata(extra)
    extra.unlink()
    checks.assert_same_end(tmp_path, straight)
    steps = [line["step"] for line in read_journal(tmp_path / "run") if line["event"] == "StepDone"]
    assert steps == list(range(1, checks.STEPS + 1))  # in the order in which things happened
    for path in (tmp_path / "out").iterdir():
        assert load_metadata(path)["ss_training_started_at"]


@pytest.mark.parametrize("clock", ["goes_back", "leaps"])
def test_what_is_taken_out_keeps_its_order_and_its_place(
    clock: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.build_project(tmp_path)
    project = Project.load(tmp_path)
    set_clock(monkeypatch, CLOCKS[clock])
    photos = [photo.path for photo in project.photos()]
    contents = [path.read_bytes() for path in photos]
    for path in photos:
        trash.take_out(project, path)
    taken = trash.trashed(project)
    assert [entry.image_path.name for entry in taken] == [path.name for path in photos]
    assert [entry.image_path.read_bytes() for entry in taken] == contents
    assert [trash.put_back(project, entry).read_bytes() for entry in taken] == contents


def test_a_leap_of_the_clock_does_not_take_a_file_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program clears leavings of the same name an hour old, by a clock that was just put right."""
    target = tmp_path / "a.json"

    def write(temporary: Path) -> None:
        temporary.write_bytes(b"first")
        os.utime(temporary, (0, 0))
        monkeypatch.setattr(os, "getpid", lambda: 1)  # the other writer is another program
        atomic.write_bytes(target, b"second")
        monkeypatch.undo()

    atomic.write_atomically(target, write)
    assert target.read_bytes() == b"first"
