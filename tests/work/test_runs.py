"""What a list of runs tells of each: after a run, a kill, a damaged file, a clock set back; also of other programs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_forge.dataset.project import Project
from lora_forge.errors import DatasetError, LoraForgeError, TrainingError
from lora_forge.events import CommandBox
from lora_forge.jobs import JobBoard
from lora_forge.train.claim import claimed, is_claimed
from lora_forge.work import run, run_file
from lora_forge.work.journal_facts import journal_facts, tail_lines
from lora_forge.work.runs import RunList, all_runs, find_run, remove_run
from tests.train.tiny import Recorder
from tests.work.conftest import request_for
from tests.work.desk import TinyDesk

LONG_S = 120.0
_HOLDER = """
import sys
from pathlib import Path
from lora_forge.train.claim import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def rows(desk: TinyDesk, board: JobBoard | None = None, language: str = "en", **queued: Any) -> list[dict[str, Any]]:
    live = (board or JobBoard()).snapshot()
    return RunList(desk.data_root(), desk.lora_dir(), live).rows("", language, **queued)


def runs_dir(desk: TinyDesk) -> Path:
    return desk.data_root() / "anna" / "runs"


def planted(desk: TinyDesk, name: str, *lines: dict[str, Any], asked: dict[str, Any] | None = None) -> Path:
    """A run's folder with a journal of ``lines``, and a run.json of ``asked``."""
    folder = runs_dir(desk) / name
    folder.mkdir(parents=True)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (folder / "journal.jsonl").write_text(text, encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"epochs": 7}), encoding="utf-8")
    if asked is not None:
        (folder / "run.json").write_text(json.dumps(asked), encoding="utf-8")
    return folder


def step(number: int, at: float = 100.0) -> dict[str, Any]:
    figures = {"epoch": 1 + number // 10, "window_mse": number / 1000, "loss": 0.5}
    return {"time": at, "event": "StepDone", "step": number, "total_steps": 70, **figures}


@contextlib.contextmanager
def held_elsewhere(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another program at work in ``folder``."""
    command = [sys.executable, "-c", _HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.kill()


def test_a_run_that_ended_is_told_with_its_figures_and_files(desk: TinyDesk) -> None:
    run(desk, request_for(desk, folder="people", kind="style"), Recorder(), CommandBox())
    (row,) = rows(desk)
    assert (row["project"], row["name"], row["kind"], row["state"]) == ("anna", "girl", "style", "done")
    assert (row["step"], row["total"], row["epoch"], row["epochs"]) == (6, 6, 2, 2)
    assert row["files"] == ["girl-000001.safetensors", "girl-000002.safetensors"]
    assert row["window_mse"] > 0
    assert row["started_at"] <= row["ended_at"]
    assert (row["message"], row["can_resume"]) == ("", False)
    (desk.lora_dir() / "people" / "girl-000001.safetensors").unlink()
    assert rows(desk)[0]["files"] == ["girl-000002.safetensors"]


@pytest.mark.parametrize(
    ("last", "state", "can_resume"),
    [
        (step(13), "interrupted", True),
        ({"time": 1.0, "event": "Paused", "step": 13}, "interrupted", True),
        ({"time": 1.0, "event": "RunEnded", "outcome": "stopped", "step": 13, "files": []}, "stopped", True),
        ({"time": 1.0, "event": "RunEnded", "outcome": "failed", "step": 13, "message": "Full."}, "failed", True),
        ({"time": 1.0, "event": "RunEnded", "outcome": "done", "step": 13, "files": []}, "done", False),
        ({"time": 1.0, "event": "RunEnded", "outcome": ["odd"], "step": None}, "interrupted", True),
    ],
)
def test_a_run_of_the_command_line_is_judged_by_its_journals_end(
    desk: TinyDesk, last: dict[str, Any], state: str, can_resume: bool
) -> None:
    planted(desk, "girl", step(12), step(13), last)
    (row,) = rows(desk)
    assert (row["state"], row["can_resume"], row["step"], row["total"]) == (state, can_resume, 13, 70)
    assert (row["epochs"], row["epoch"], row["window_mse"]) == (7, 2, 0.013)
    assert row["message"] == ("Full." if state == "failed" else "")


def test_a_line_that_a_kill_left_unfinished_means_that_it_was_going_on(desk: TinyDesk) -> None:
    ended = {"time": 1.0, "event": "RunEnded", "outcome": "stopped", "step": 13, "files": []}
    folder = planted(desk, "girl", step(13), ended)
    assert rows(desk)[0]["state"] == "stopped"
    with (folder / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"time": 2.0, "event": "RunSt')
    (row,) = rows(desk)
    assert (row["state"], row["step"]) == ("interrupted", 13)


def test_another_programs_run_counts_as_running_until_it_is_killed(desk: TinyDesk) -> None:
    folder = planted(desk, "girl", step(13))
    with held_elsewhere(folder) as other:
        assert is_claimed(folder)
        assert rows(desk)[0]["state"] == "running"
        with (folder / "journal.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": 3.0, "event": "Paused", "step": 13}) + "\n")
        assert [(row["state"], row["can_resume"], row["ended_at"]) for row in rows(desk)] == [("paused", False, None)]
        with pytest.raises(TrainingError, match="girl is at work already"):
            remove_run(Project.load(desk.data_root() / "anna"), "girl")
        other.kill()
        other.wait()
        assert [(row["state"], row["can_resume"]) for row in rows(desk)] == [("interrupted", True)]
    assert is_claimed(runs_dir(desk) / "none") is False
    assert not (runs_dir(desk) / "none").exists()


def test_whoever_only_looks_does_not_keep_a_run_from_starting(tmp_path: Path) -> None:
    """A list is drawn all the time; each look holds the lock for a moment."""
    with claimed(tmp_path):
        pass
    code = (
        "import sys; from pathlib import Path; from lora_forge.train.claim import is_claimed\n"
        "print('looking', flush=True)\nwhile True: is_claimed(Path(sys.argv[1]))"
    )
    looking = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert looking.stdout is not None
        looking.stdout.readline()
        for _ in range(5000):
            with claimed(tmp_path):
                assert is_claimed(tmp_path)
    finally:
        looking.kill()
        looking.communicate()


def test_the_board_knows_its_own_run_better_than_the_disk(desk: TinyDesk) -> None:
    board = JobBoard()
    desk.lock.acquire()
    about = {"project": "anna", "name": "girl"}
    board.start("girl", lambda emit, commands: run(desk, request_for(desk), emit, commands).outcome, about)
    while board.snapshot()["state"] != "waiting":
        pass
    assert [row["state"] for row in rows(desk, board)] == ["waiting"]
    assert [row["state"] for row in rows(desk, JobBoard())] == ["running"]
    from lora_forge.events import Command

    board.send(Command.STOP)
    board.join(LONG_S)
    desk.lock.release()
    (row,) = rows(desk, board)
    assert (row["state"], row["can_resume"], row["step"], row["kind"]) == ("stopped", True, 0, "person")


def test_what_failed_before_the_trainer_began_is_said_in_the_pages_language(desk: TinyDesk) -> None:
    for photo in (desk.data_root() / "anna" / "images" / "subject").glob("*.png"):
        photo.write_bytes(b"no picture")
    with pytest.raises(DatasetError):
        run(desk, request_for(desk), Recorder(), CommandBox())
    (row,) = rows(desk)
    assert (row["state"], row["can_resume"], row["step"]) == ("failed", True, 0)
    assert row["message"]
    (chinese,) = rows(desk, language="zh")
    assert chinese["message"] != row["message"]
    assert any("\u4e00" <= char <= "\u9fff" for char in chinese["message"])
    assert str(desk.root) not in json.dumps(rows(desk))


def test_a_newer_journal_counts_more_than_the_note_of_an_earlier_attempt(desk: TinyDesk) -> None:
    """The command line resumed it, without a note of ours, and was killed."""
    asked = {"kind": "person", "values": {}, "outcome": "done", "journal_bytes": 0, "order": 5.0, "error": None}
    folder = planted(desk, "girl", step(13), asked=asked)
    assert rows(desk)[0]["state"] == "interrupted"
    size = (folder / "journal.jsonl").stat().st_size
    (folder / "run.json").write_text(json.dumps({**asked, "journal_bytes": size}), encoding="utf-8")
    assert rows(desk)[0]["state"] == "done"
    (folder / "run.json").write_text("{", encoding="utf-8")
    assert rows(desk)[0]["state"] == "interrupted"


def test_a_clock_that_was_set_back_changes_neither_order_nor_states(
    desk: TinyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [2_000_000_000.0]
    monkeypatch.setattr(run_file.time, "time", lambda: clock[0])
    for name in ("first", "second", "third"):
        with run_file.attempt(runs_dir(desk) / name, {"kind": "person"}):
            clock[0] -= 86_400.0
    assert [row["name"] for row in rows(desk)] == ["third", "second", "first"]
    assert {row["state"] for row in rows(desk)} == {"done"}
    assert all(row["started_at"] <= row["ended_at"] for row in rows(desk))
    with run_file.attempt(runs_dir(desk) / "first", {"kind": "person"}):
        pass
    assert [row["name"] for row in rows(desk)] == ["first", "third", "second"]


def test_only_the_ends_of_a_long_journal_are_read_and_only_once(desk: TinyDesk) -> None:
    """A middle that is no text at all would make a reader of the whole stumble; an unchanged file is not read again."""
    folder = planted(desk, "girl", step(1, at=50.0))
    path = folder / "journal.jsonl"
    with path.open("ab") as file:
        file.write(b"\xff\n" * 3_000_000)
        file.write(
            (json.dumps({"time": 90.0, "event": "Validated", "epoch": 4, "step": 40, "loss": 0.25}) + "\n").encode()
        )
        file.write((json.dumps(step(41, at=99.0)) + "\n").encode())
    facts = journal_facts(folder)
    assert (facts.began_at, facts.last_at, facts.step, facts.validation_loss) == (50.0, 99.0, 41, 0.25)
    assert journal_facts(folder) is facts
    assert len(tail_lines(folder)) == 2
    stat = path.stat()
    raw = path.read_bytes()
    path.write_bytes(b"x" * len(raw))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert journal_facts(folder) is facts
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert journal_facts(folder).step == 0


def test_a_run_goes_to_the_trash_whole_and_its_files_stay(desk: TinyDesk) -> None:
    project = Project.load(desk.data_root() / "anna")
    run(desk, request_for(desk, epochs=1), Recorder(), CommandBox())
    before = {path.name: path.read_bytes() for path in (runs_dir(desk) / "girl").iterdir() if path.is_file()}
    place = remove_run(project, "girl")
    assert place == project.root / "trash" / "runs" / "girl"
    assert {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()} == before
    assert (desk.lora_dir() / "girl-000001.safetensors").is_file()
    assert rows(desk) == []
    planted(desk, "girl", step(1))
    assert remove_run(project, "girl").name == "girl (2)"
    for name in ("girl", "", "..", "../anna", ".lock", "a/b", "a\\b"):
        with pytest.raises(TrainingError, match="no run named"):
            find_run(project, name)


def test_a_run_that_waits_to_go_on_is_queued(desk: TinyDesk) -> None:
    planted(desk, "girl", step(13))
    planted(desk, "boy", step(13), {"time": 1.0, "event": "RunEnded", "outcome": "done", "step": 13, "files": []})
    queued = [("anna", "girl"), ("anna", "boy")]
    states = {row["name"]: (row["state"], row["can_resume"]) for row in rows(desk, queued=queued)}
    assert states == {"girl": ("queued", False), "boy": ("done", False)}


def test_links_and_other_folders_are_no_runs(desk: TinyDesk, tmp_path: Path) -> None:
    planted(desk, "girl", step(13))
    (runs_dir(desk) / "empty").mkdir()
    (desk.data_root() / "linked").symlink_to(desk.data_root() / "anna")
    (desk.data_root() / "loose.txt").write_text("", encoding="utf-8")
    assert [(one.project, one.name) for one in all_runs(desk.data_root())] == [("anna", "girl")]
    assert all_runs(desk.data_root(), "nobody") == []


def test_a_second_start_of_a_run_leaves_the_first_ones_note_alone(desk: TinyDesk) -> None:
    """Two programs start it at once: both planned it, one got the folder, and was done before the other began."""
    folder = runs_dir(desk) / "girl"
    folder.mkdir(parents=True)
    with held_elsewhere(folder), pytest.raises(TrainingError, match=r"^The run girl is at work already\."):
        run(desk, request_for(desk), Recorder(), CommandBox())
    assert not (folder / "run.json").exists()
    run(desk, request_for(desk, epochs=1), Recorder(), CommandBox())
    note = (folder / "run.json").read_bytes()
    with pytest.raises(LoraForgeError):
        run(desk, request_for(desk, epochs=1), Recorder(), CommandBox())
    assert (folder / "run.json").read_bytes() == note
    assert rows(desk)[0]["state"] == "done"
