"""The disk is full while a LoRA, a state, the cache, the journal, a preview or a prepared photo is written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.errors import LoraFileError, LoraForgeError, TrainingError
from lora_forge.events import LoraSaved, StageDone, StageStarted, StepDone, Warned
from lora_forge.ports import BorrowedModel
from lora_forge.train.tensor_file import load_tree
from tests.faults import checks
from tests.faults.disks import NAMESPACE, file_limit, why_no_mounts
from tests.faults.programs import run_program
from tests.train import tiny

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of a program's files")
MAKE_ROOM = "Make room"


class Limiter:
    """Sets a limit when an event ``begins`` it, and lifts it when one ``ends`` it, or at :meth:`lift`."""

    def __init__(self, size: int, begins: object, ends: object = None) -> None:
        self._size, self._begins, self._ends = size, begins, ends
        self._limit: object = None
        self._is_used = False
        self.recorder = tiny.Recorder(self._act)

    def _act(self, event: object) -> None:
        if _is(event, self._begins) and not self._is_used:
            self._is_used = True
            self._limit = file_limit(self._size)
            self._limit.__enter__()  # type: ignore[attr-defined]
        elif _is(event, self._ends):
            self.lift()

    def lift(self) -> None:
        if self._limit is not None:
            self._limit.__exit__(None, None, None)  # type: ignore[attr-defined]
            self._limit = None


def _is(event: object, wanted: object) -> bool:
    if isinstance(wanted, int):
        return isinstance(event, StepDone) and event.step == wanted
    return wanted is not None and type(event) is wanted


@pytest.mark.parametrize(
    ("what", "size", "step", "kind", "kept"),
    [
        ("LoRA", 20_000, 6, LoraFileError, ["tiny-000001.safetensors"]),
        ("state", 100_000, 4, TrainingError, ["tiny-000001.safetensors"]),
        ("last state", 100_000, 9, TrainingError, [f"tiny-00000{n}.safetensors" for n in (1, 2, 3)]),
    ],
)
def test_a_save_in_the_middle_of_which_the_disk_is_full(
    what: str,
    size: int,
    step: int,
    kind: type[LoraForgeError],
    kept: list[str],
    tmp_path: Path,
    prepared: PreparedSet,
    model: BorrowedModel,
    straight: Path,
) -> None:
    limiter = Limiter(size, step)
    try:
        with pytest.raises(kind, match=MAKE_ROOM) as caught:
            tiny.run(tmp_path, checks.SETTINGS, prepared, model, limiter.recorder)
    finally:
        limiter.lift()
    assert "the file is larger than this disk or account allows" in caught.value.message()
    assert "Errno" not in caught.value.message()
    assert list(checks.loras(tmp_path)) == kept
    assert checks.leavings(tmp_path) == []
    checks.assert_saved_is_right(tmp_path, straight)
    checks.finish(tmp_path, prepared, model)
    checks.assert_same_end(tmp_path, straight)


def test_a_cache_that_can_not_be_written_is_said_once_and_done_without(
    tmp_path: Path, model: BorrowedModel, straight: Path
) -> None:
    prepared, limiter = tiny.build_project(tmp_path / "project"), Limiter(1_000, StageStarted, StageDone)
    settings = checks.SETTINGS.replace(encode_ahead="on")
    try:
        assert tiny.run(tmp_path, settings, prepared, model, limiter.recorder).outcome == "done"
    finally:
        limiter.lift()
    cached = [warned.message for warned in limiter.recorder.of(Warned) if "Encoded images" in warned.message]
    assert len(cached) == 1
    assert list((tmp_path / "project" / "cache").rglob("*.safetensors")) == []
    checks.assert_same_end(tmp_path, straight)
    again = tiny.run(tmp_path / "again", settings, prepared, model)
    assert again.outcome == "done"
    assert len([load_tree(path) for path in (tmp_path / "project" / "cache").rglob("*.safetensors")]) == 3


def test_a_journal_that_is_refused_for_a_while_is_whole_lines_before_and_after(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, straight: Path
) -> None:
    """Nothing but the journal is written from step 4 to 5; the limit is in the middle of step 5's line."""
    path, recorder = tmp_path / "run" / "journal.jsonl", tiny.Recorder()
    settings = checks.SETTINGS.replace(state_every_steps=0)
    limits: list[Limiter] = []

    def act(event: object) -> None:
        recorder(event)  # type: ignore[arg-type]
        if isinstance(event, StepDone) and event.step == 4:
            limits.append(Limiter(path.stat().st_size + 100, 4))
            limits[0].recorder(event)
        if isinstance(event, StepDone) and event.step == 5:
            limits[0].lift()

    tiny.run(tmp_path, settings, prepared, model, act)
    (warned,) = recorder.of(Warned)
    assert "journal.jsonl can't be written" in warned.message
    assert sorted(checks.steps_of(tmp_path)) == [1, 2, 3, 4, 6, 7, 8, 9]
    assert checks.loras(tmp_path) == checks.expected(straight)[0]
    assert len(recorder.of(LoraSaved)) == 3


@pytest.mark.slow
@pytest.mark.once
def test_real_disks_that_are_full_and_have_room_again(tmp_path: Path) -> None:
    problem = why_no_mounts() if sys.platform == "linux" else "mounts of one's own are Linux's"
    if problem:
        pytest.skip(f"NO SMALL DISK CAN BE MADE HERE, only limits on file sizes were tried: {problem}")
    said = run_program("full", str(tmp_path), before=NAMESPACE)
    assert len(said) == 7
    for case, message in said.items():
        assert "the disk is full" in message, case
        assert "Errno" not in message, case
    assert MAKE_ROOM in said["lora_save"]
    assert MAKE_ROOM in said["state_save"]
    assert MAKE_ROOM in said["full_from_the_start"]
    assert "Free some space" in said["preparing"]
    assert "The run goes on" in said["journal"]
    assert "The run goes on" in said["preview"]
