"""The board: one job at a time, all it said in a snapshot, and an end whatever happens to its thread."""

from __future__ import annotations

import ctypes
import gc
import json
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_forge import jobs
from lora_forge.errors import TrainingError
from lora_forge.events import (
    Command,
    CommandBox,
    Emit,
    EpochEnded,
    LoraSaved,
    Paused,
    Progress,
    Resumed,
    RunEnded,
    StageDone,
    StageStarted,
    StepDone,
    Warned,
)
from lora_forge.i18n import say
from lora_forge.jobs import JobBoard, JobError

LONG_S = 30.0


def texts(board: JobBoard) -> list[str]:
    return [line["text"] for line in board.snapshot()["log"]]


def finish(board: JobBoard, work: Callable[[Emit, CommandBox], str], title: str = "Work") -> dict[str, Any]:
    board.start(title, work)
    board.join(LONG_S)
    return board.snapshot()


def step(number: int, **changes: Any) -> StepDone:
    values = {"loss": 0.5, "mse": 0.4, "window_mse": 0.45, "learning_rate": 1e-4, "images_per_s": 2.0}
    return StepDone(number, 12, 1 + number // 6, seconds_left=3.0 * (12 - number), **{**values, **changes})


class Held:
    """Work that stops where it is told to, until it is let go."""

    def __init__(self, *said: Any) -> None:
        self.said, self.is_there, self.may_go = said, threading.Event(), threading.Event()

    def __call__(self, emit: Emit, commands: CommandBox) -> str:
        for event in self.said:
            emit(event)
        self.is_there.set()
        while not self.may_go.wait(0.01):  # in short waits: an exception is thrown in between two
            pass
        return "done"


def test_an_idle_board_has_every_field_and_is_json() -> None:
    snapshot = JobBoard().snapshot()
    assert (snapshot["state"], snapshot["log"], snapshot["error"], snapshot["files"]) == ("idle", [], None, [])
    assert json.loads(json.dumps(snapshot)) == snapshot


def test_a_running_job_shows_its_figures_and_sentences() -> None:
    board = JobBoard()
    saved = LoraSaved(Path("far") / "away" / "girl-000001.safetensors", 1, 6, 128, 18_000_000)
    held = Held(StageStarted("train", 12, "steps"), step(6), saved, EpochEnded(1, 6, 0.45, None), step(7))
    board.start("girl", held)
    assert held.is_there.wait(LONG_S)
    snapshot = board.snapshot()
    assert (snapshot["state"], snapshot["stage"], snapshot["title"]) == ("running", "train", "girl")
    assert (snapshot["step"], snapshot["total"], snapshot["epoch"]) == (7, 12, 2)
    assert (snapshot["loss"], snapshot["window_mse"], snapshot["seconds_left"]) == (0.5, 0.45, 15.0)
    assert snapshot["files"] == ["girl-000001.safetensors"]
    assert texts(board) == [
        "girl: started.",
        "Training: 12 steps.",
        "Saved girl-000001.safetensors (128 keys, 18 MB).",
        "Epoch 1: mean loss 0.4500.",
    ]
    assert "far" not in json.dumps(snapshot)
    held.may_go.set()
    board.join(LONG_S)
    assert board.snapshot()["state"] == "done"


def test_not_a_number_is_null_in_the_snapshot() -> None:
    held = Held(step(1, loss=float("nan"), window_mse=float("inf")))
    board = JobBoard()
    board.start("girl", held)
    assert held.is_there.wait(LONG_S)
    snapshot = board.snapshot()
    assert (snapshot["loss"], snapshot["window_mse"]) == (None, None)
    json.dumps(snapshot, allow_nan=False)
    held.may_go.set()
    board.join(LONG_S)


def test_waiting_for_the_host_is_a_state_of_its_own_and_a_stop_shows_in_it() -> None:
    board, held = JobBoard(), Held(StageStarted("wait", 0))
    board.start("girl", held)
    assert held.is_there.wait(LONG_S)
    assert board.snapshot()["state"] == "waiting"
    board.send(Command.STOP)
    assert board.snapshot()["state"] == "stopping"
    assert texts(board)[-1] == "Stopping."
    held.may_go.set()
    board.join(LONG_S)


def test_the_next_word_after_waiting_means_running() -> None:
    board, held = JobBoard(), Held(StageStarted("wait", 0), StageDone("wait"))
    board.start("girl", held)
    assert held.is_there.wait(LONG_S)
    assert board.snapshot()["state"] == "running"
    held.may_go.set()
    board.join(LONG_S)


def test_commands_reach_the_work_and_a_pause_shows() -> None:
    taken: list[Command | None] = []

    def work(emit: Emit, commands: CommandBox) -> str:
        taken.append(commands.take(LONG_S))
        emit(Paused(4))
        taken.append(commands.take(LONG_S))
        emit(Resumed(4))
        taken.append(commands.take(LONG_S))
        emit(RunEnded("stopped", 4, 12))
        return "stopped"

    board = JobBoard()
    board.start("girl", work)
    board.send(Command.PAUSE)
    while not board.snapshot()["is_paused"]:
        pass
    board.send(Command.RESUME)
    while board.snapshot()["is_paused"]:
        pass
    board.send(Command.STOP_AND_SAVE)
    board.join(LONG_S)
    assert taken == [Command.PAUSE, Command.RESUME, Command.STOP_AND_SAVE]
    assert board.snapshot()["state"] == "stopped"
    assert texts(board)[-2:] == ["Stopped at step 4 of 12; 0 files.", "girl: stopped."]


def test_a_second_start_is_refused_in_one_sentence_and_a_third_after_the_end_is_not() -> None:
    board, held = JobBoard(), Held()
    board.start("girl", held)
    with pytest.raises(JobError, match="girl is not over yet, and one job runs at a time"):
        board.start("boy", Held())
    assert board.snapshot()["title"] == "girl"
    held.may_go.set()
    board.join(LONG_S)
    assert finish(board, lambda emit, commands: "done", "boy")["title"] == "boy"


def test_commands_without_a_job_are_refused() -> None:
    board = JobBoard()
    with pytest.raises(JobError, match="Nothing is running"):
        board.send(Command.STOP)
    finish(board, lambda emit, commands: "done")
    with pytest.raises(JobError, match="Nothing is running"):
        board.send(Command.STOP)


def test_sentences_keep_their_numbers_over_jobs_and_only_the_last_are_kept() -> None:
    def talk(emit: Emit, commands: CommandBox) -> str:
        for number in range(300):
            emit(Warned("{odd} {number}", {"odd": "{odd}", "number": number}))
        return "done"

    board = JobBoard()
    log = finish(board, talk)["log"]
    assert [line["number"] for line in log] == list(range(103, 303))
    assert log[0] == {"number": 103, "level": "warning", "text": "{odd} 101"}
    assert [line["text"] for line in board.snapshot(since=301)["log"]] == ["Work: done."]
    assert finish(board, lambda emit, commands: "done")["log"][-1]["number"] == 304


def test_sentences_come_in_the_language_that_is_asked_for() -> None:
    board = JobBoard()
    finish(board, lambda emit, commands: "done", "小红")
    said = [line["text"] for line in board.snapshot(language="zh")["log"]]
    assert said == [say(text, "zh", title="小红") for text in ("{title}: started.", "{title}: done.")]


class UnspeakableError(Exception):
    """An error that can't even be written down."""

    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("cause", "what", "remedy"),
    [
        (TrainingError("{n:g} steps failed.", "Do {it}.", n=10, it="this"), "10 steps failed.", "Do this."),
        (MemoryError(), "The memory is full (MemoryError).", "gradient_checkpointing"),
        (RuntimeError("CUDA out of memory. Tried\nto allocate"), "(CUDA out of memory. Tried)", "batch_size"),
        (RuntimeError("shapes differ"), "RuntimeError: shapes differ.", "console"),
        (KeyError("x"), "KeyError: 'x'", "console"),
        (SystemExit(3), "ended from outside (SystemExit)", "resume"),
        (KeyboardInterrupt(), "ended from outside (KeyboardInterrupt)", "resume"),
        (GeneratorExit(), "ended from outside (GeneratorExit)", "resume"),
        (UnspeakableError(), "ended by UnspeakableError", ""),
    ],
)
def test_whatever_the_work_raises_ends_in_failed_with_a_sentence(cause: BaseException, what: str, remedy: str) -> None:
    def work(emit: Emit, commands: CommandBox) -> str:
        raise cause

    board = JobBoard()
    snapshot = finish(board, work)
    assert snapshot["state"] == "failed"
    assert what in snapshot["error"]["what"]
    assert remedy in snapshot["error"]["remedy"]
    assert snapshot["log"][-1]["level"] == "error"
    assert snapshot["log"][-1]["text"].startswith(snapshot["error"]["what"])
    json.dumps(snapshot)
    assert finish(board, lambda emit, commands: "done")["state"] == "done"


def test_an_unexpected_error_leaves_its_trace_in_the_console_and_an_expected_one_does_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def surprise(emit: Emit, commands: CommandBox) -> str:
        return str(1 // 0)

    def known(emit: Emit, commands: CommandBox) -> str:
        raise TrainingError("It can't be.")

    finish(JobBoard(), surprise)
    assert "ZeroDivisionError" in capsys.readouterr().err
    finish(JobBoard(), known)
    assert capsys.readouterr().err == ""


def test_work_that_gives_no_outcome_has_failed() -> None:
    assert finish(JobBoard(), lambda emit, commands: "fine")["state"] == "failed"


@pytest.mark.parametrize("thrown", [SystemExit, KeyboardInterrupt, MemoryError])
def test_what_is_thrown_into_the_thread_ends_the_job(thrown: type[BaseException]) -> None:
    board, held = JobBoard(), Held()
    board.start("girl", held)
    assert held.is_there.wait(LONG_S)
    thread = next(thread for thread in threading.enumerate() if thread.name == "lora-forge-job")
    assert thread.daemon
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(thrown)) == 1
    board.join(LONG_S)
    assert board.snapshot()["state"] == "failed"
    assert finish(board, lambda emit, commands: "done")["state"] == "done"


def test_a_thread_that_could_say_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    board = JobBoard()
    monkeypatch.setattr(board, "_end", lambda *_: None)  # killed on its very last lines
    board.start("girl", lambda emit, commands: "done")
    board.join(LONG_S)
    monkeypatch.undo()
    snapshot = board.snapshot()
    assert (snapshot["state"], snapshot["error"]["what"]) == ("failed", "The job's thread ended without a word.")
    assert not board.is_busy


def test_nothing_of_a_failed_job_is_kept_alive() -> None:
    class Model:
        pass

    seen: list[weakref.ref[Model]] = []

    def work(emit: Emit, commands: CommandBox) -> str:
        model = Model()
        seen.append(weakref.ref(model))
        try:
            raise RuntimeError("inner")
        except RuntimeError as cause:
            raise TrainingError("{cause}", cause=cause) from cause

    board = JobBoard()
    assert finish(board, work)["error"]["what"] == "inner"
    gc.collect()
    assert seen[0]() is None


def test_there_is_one_board_in_a_process() -> None:
    assert jobs.board() is jobs.board()


def test_progress_moves_the_bar_without_a_word() -> None:
    board, held = JobBoard(), Held(StageStarted("prepare", 3), Progress("prepare", 2, 3, 1.5))
    board.start("girl", held)
    assert held.is_there.wait(LONG_S)
    snapshot = board.snapshot()
    assert (snapshot["stage"], snapshot["step"], snapshot["total"], snapshot["seconds_left"]) == ("prepare", 2, 3, 1.5)
    assert texts(board) == ["girl: started.", "Preparing 3 photos."]
    held.may_go.set()
    board.join(LONG_S)


def test_a_page_finds_the_run_by_what_the_job_is_about() -> None:
    board = JobBoard()
    assert board.snapshot()["about"] == {}
    held = Held(step(1, memory_bytes=5_000_000_000))
    about = {"project": "anna", "name": "girl"}
    number = board.start("girl", held, about)
    about["name"] = "changed"
    assert held.is_there.wait(LONG_S)
    snapshot = board.snapshot()
    assert (snapshot["about"], snapshot["job"]) == ({"project": "anna", "name": "girl"}, number)
    assert snapshot["memory_bytes"] == 5_000_000_000
    held.may_go.set()
    board.join(LONG_S)
    assert finish(board, lambda emit, commands: "done")["about"] == {}
    assert board.snapshot()["memory_bytes"] is None
