"""Two starts at once, by two threads (`tests.faults.killed` tries two programs): one wins, the other is told why."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.errors import LoraForgeError
from lora_forge.events import CommandBox, Emit
from lora_forge.jobs import JobBoard, JobError
from tests.faults import checks
from tests.train import tiny

LONG_S = 120.0


def at_once(*works: Callable[[], str]) -> list[str]:
    """What each of ``works`` gives or is refused with, begun at the same moment."""
    gate, answers = threading.Barrier(len(works)), list[str]()

    def one(work: Callable[[], str]) -> None:
        gate.wait(LONG_S)
        try:
            answers.append(work())
        except LoraForgeError as error:
            answers.append(error.message())

    threads = [threading.Thread(target=one, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    return sorted(answers, key=lambda answer: answer != "done")


def trainer(run: Path, out: Path, prepared: PreparedSet) -> Callable[[], str]:
    """A run of its own model; ``run`` holds ``run/``, ``out`` the files."""
    model = tiny.build_model()

    def work() -> str:
        return tiny.train(
            model, prepared, checks.SETTINGS, run / "run", out / "out", tiny.Recorder(), CommandBox()
        ).outcome

    return work


def test_one_run_started_twice(tmp_path: Path, prepared: PreparedSet, straight: Path) -> None:
    both = [trainer(tmp_path, tmp_path, prepared) for _ in range(2)]
    won, refused = at_once(*both)
    assert won == "done"
    assert "Another run is at work in" in refused or "holds a run already" in refused
    checks.assert_same_end(tmp_path, straight)


def test_one_name_started_in_two_projects_that_share_a_folder(
    tmp_path: Path, prepared: PreparedSet, straight: Path
) -> None:
    both = [trainer(tmp_path / which, tmp_path, prepared) for which in ("one", "other")]
    won, refused = at_once(*both)
    assert won == "done"
    assert "Another run is writing tiny in" in refused or "exists already" in refused
    assert checks.loras(tmp_path) == checks.expected(straight)[0]
    assert not list((tmp_path / "out").glob(".*"))


def test_a_board_takes_one_of_two() -> None:
    board, may_go = JobBoard(), threading.Event()

    def work(emit: Emit, commands: CommandBox) -> str:
        may_go.wait(LONG_S)
        return "done"

    def start() -> str:
        try:
            board.start("girl", work)
        except JobError as error:
            return error.message()
        return "done"

    answers = at_once(*[start] * 8)
    may_go.set()
    board.join(LONG_S)
    assert answers[0] == "done"
    assert all("is not over yet" in answer for answer in answers[1:])
    assert board.snapshot()["job"] == 1
