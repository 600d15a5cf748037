"""Runs that wait: begun one after the other, changed, kept over a restart; of two at once exactly one is taken."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from lora_forge.errors import LoraForgeError, TrainingError
from lora_forge.events import Command
from lora_forge.jobs import JobBoard, JobError
from lora_forge.work import RunRequest
from lora_forge.work.queue import RunQueue, queue_of
from lora_forge.work.queue_words import entry_row
from lora_forge.work.runs import all_runs
from tests.train import tiny
from tests.work.conftest import SMALL, request_for
from tests.work.desk import TinyDesk

LONG_S = 120.0


@pytest.fixture
def board(desk: TinyDesk) -> Iterator[JobBoard]:
    """Its run waits for the checkpoint until the test lets go of ``desk.lock``."""
    made = JobBoard()
    desk.lock.acquire()
    yield made
    queue_of(desk, made).hold()
    while made.is_busy:
        made.send(Command.STOP)
        made.join(LONG_S)
    if desk.lock.locked():
        desk.lock.release()


@pytest.fixture
def queue(desk: TinyDesk, board: JobBoard) -> RunQueue:
    return queue_of(desk, board)


def asked_for(desk: TinyDesk, name: str, **changes: Any) -> RunRequest:
    return request_for(desk, **{"name": name, "epochs": 1, **changes})


def names(queue: RunQueue) -> list[str]:
    return [entry.request.name for entry in queue.entries()]


def until(is_so: Any) -> None:
    """Wait for another thread; a test that would wait for ever fails."""
    end = time.monotonic() + LONG_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def fill(desk: TinyDesk, queue: RunQueue, *more: str) -> dict[str, str]:
    """One run that waits for the checkpoint, and ``more`` behind it; their ids by name."""
    assert queue.submit(asked_for(desk, "now"), may_wait=True)[0] == "started"
    return {name: queue.submit(asked_for(desk, name), may_wait=True)[1] for name in more}


def test_the_first_begins_and_the_others_follow_by_themselves(desk: TinyDesk, board: JobBoard, queue: RunQueue) -> None:
    fill(desk, queue, "b", "c")
    assert (names(queue), board.snapshot()["title"]) == (["b", "c"], "now")
    assert json.loads((desk.data_root() / "queue.json").read_text(encoding="utf-8"))["entries"][0]["name"] == "b"
    desk.lock.release()
    until(lambda: not queue.entries() and not board.is_busy)
    assert [(one.name, one.state) for one in all_runs(desk.data_root())] == [
        ("c", "done"),
        ("b", "done"),
        ("now", "done"),
    ]
    assert sorted(path.name for path in desk.lora_dir().iterdir() if not path.name.startswith(".")) == [
        f"{name}-000001.safetensors" for name in ("b", "c", "now")
    ]


def test_a_run_that_fails_does_not_stop_the_others(desk: TinyDesk, board: JobBoard, queue: RunQueue) -> None:
    tiny.build_project(desk.data_root() / "eve")
    fill(desk, queue, "bad")
    queue.submit(asked_for(desk, "good", project=desk.data_root() / "eve"), may_wait=True)
    for photo in (desk.data_root() / "anna" / "images" / "subject").glob("*.png"):
        photo.write_bytes(b"no picture")
    board.send(Command.STOP)
    desk.lock.release()
    until(lambda: not queue.entries() and not board.is_busy)
    states = {one.name: one.state for one in all_runs(desk.data_root())}
    assert states == {"now": "stopped", "bad": "failed", "good": "done"}


def test_one_that_can_not_begin_keeps_its_place_and_says_why(desk: TinyDesk, board: JobBoard, queue: RunQueue) -> None:
    fill(desk, queue, "taken", "free")
    taken = desk.lora_dir() / "taken-000001.safetensors"
    taken.write_bytes(b"somebody else's")
    desk.lock.release()
    until(lambda: names(queue) == ["taken"] and not board.is_busy)
    (row,) = [entry_row(entry, "en") for entry in queue.entries()]
    assert "exists already" in row["problem"]
    chinese = entry_row(queue.entries()[0], "zh")["problem"]
    assert any("\u4e00" <= char <= "\u9fff" for char in chinese)
    assert "free" in {one.name for one in all_runs(desk.data_root()) if one.state == "done"}
    taken.unlink()
    queue.go()
    until(lambda: not queue.entries() and not board.is_busy)
    assert all_runs(desk.data_root())[0].name == "taken"


def test_what_waits_is_ordered_duplicated_and_removed(desk: TinyDesk, queue: RunQueue) -> None:
    ids = fill(desk, queue, "b", "c", "d")
    queue.move(ids["d"], 0)
    assert names(queue) == ["d", "b", "c"]
    queue.move(ids["d"], 99)
    assert names(queue) == ["b", "c", "d"]
    made = queue.duplicate(ids["b"])
    assert names(queue) == ["b", "b-2", "c", "d"]
    assert queue.find(made).request == replace(queue.find(ids["b"]).request, name="b-2")
    queue.duplicate(ids["b"])
    assert names(queue) == ["b", "b-3", "b-2", "c", "d"]
    queue.remove(ids["c"])
    assert names(queue) == ["b", "b-3", "b-2", "d"]
    numbers = [entry.id for entry in queue.entries()]
    assert len(set(numbers)) == len(numbers)
    for again in (queue.remove, queue.duplicate, lambda number: queue.move(number, 0)):
        with pytest.raises(TrainingError, match="not in the queue any more"):
            again(ids["c"])


def test_what_waits_is_edited_and_a_wrong_edit_changes_nothing(desk: TinyDesk, queue: RunQueue) -> None:
    ids = fill(desk, queue, "b", "c")
    queue.edit(ids["b"], lambda was: replace(was, name="bb", settings={**SMALL, "rank": 4}))
    assert (names(queue), queue.find(ids["b"]).request.settings["rank"]) == (["bb", "c"], 4)
    before = queue.entries()
    for wrong in ({"name": "c"}, {"name": "C"}, {"name": "now"}, {"name": "a/b"}, {"settings": {"rank": -1}}):
        with pytest.raises(LoraForgeError):
            queue.edit(ids["b"], lambda was, wrong=wrong: replace(was, **wrong))
    assert queue.entries() == before


@pytest.mark.parametrize("name", ["now", "b", "B"])
def test_a_name_is_taken_by_what_runs_and_by_what_waits(desk: TinyDesk, queue: RunQueue, name: str) -> None:
    fill(desk, queue, "b")
    with pytest.raises(TrainingError, match="already"):
        queue.submit(asked_for(desk, name), may_wait=True)
    assert names(queue) == ["b"]


def test_of_many_starts_of_one_name_at_once_exactly_one_is_taken(desk: TinyDesk, queue: RunQueue) -> None:
    outcomes: list[str] = []
    gate = threading.Barrier(8)

    def start(may_wait: bool) -> None:
        gate.wait(LONG_S)
        try:
            outcomes.append(queue.submit(asked_for(desk, "same"), may_wait=may_wait)[0])
        except (TrainingError, JobError) as refused:
            outcomes.append(type(refused).__name__)

    threads = [threading.Thread(target=start, args=(number % 2 == 0,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert len(outcomes) == 8
    assert outcomes.count("started") == 1
    assert "queued" not in outcomes
    assert queue.entries() == []


def test_many_starts_of_different_names_at_once_are_all_kept(desk: TinyDesk, queue: RunQueue) -> None:
    fill(desk, queue)
    threads = [
        threading.Thread(target=queue.submit, args=(asked_for(desk, f"n{number}"),), kwargs={"may_wait": True})
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert sorted(names(queue)) == [f"n{number}" for number in range(6)]
    assert len({entry.id for entry in queue.entries()}) == 6


def test_two_programs_on_one_data_root_lose_nothing_of_each_other(desk: TinyDesk, queue: RunQueue) -> None:
    fill(desk, queue, "b")
    other = RunQueue(desk, JobBoard())
    assert other.is_held
    other.add([asked_for(desk, "theirs")])
    queue.submit(asked_for(desk, "mine"), may_wait=True)
    assert names(queue) == names(other) == ["b", "theirs", "mine"]
    added = [
        threading.Thread(target=one.add, args=([asked_for(desk, f"{place}{number}")],))
        for number in range(4)
        for place, one in (("x", queue), ("y", other))
    ]
    for thread in added:
        thread.start()
    for thread in added:
        thread.join(LONG_S)
    assert sorted(names(queue)[3:]) == sorted(f"{place}{number}" for place in "xy" for number in range(4))
    assert len({entry.id for entry in queue.entries()}) == 11


def test_after_a_restart_the_queue_is_as_it_was_and_held(desk: TinyDesk, board: JobBoard, queue: RunQueue) -> None:
    fill(desk, queue, "b")
    queue.submit(asked_for(desk, "c", folder="people", prove="weights", trigger_word="ohwx"), may_wait=True)
    later = JobBoard()
    after = RunQueue(desk, later)
    assert after.entries() == queue.entries()
    one = after.entries()[1].request
    assert (one.folder, one.prove, one.trigger_word, one.settings["epochs"]) == ("people", "weights", "ohwx", 1)
    assert after.is_held
    after.move(after.entries()[0].id, 5)
    time.sleep(1.2)  # as long as a queue that is not held takes to look twice
    assert (later.is_busy, names(after)) == (False, ["c", "b"])
    queue.hold()
    board.send(Command.STOP)
    board.join(LONG_S)
    desk.lock.release()
    after.go()
    until(lambda: not after.entries() and not later.is_busy)
    assert {one.name for one in all_runs(desk.data_root()) if one.state == "done"} == {"b", "c"}


def test_a_queue_that_is_held_begins_nothing_when_the_run_ends(
    desk: TinyDesk, board: JobBoard, queue: RunQueue
) -> None:
    fill(desk, queue, "b")
    queue.hold()
    desk.lock.release()
    board.join(LONG_S)
    time.sleep(1.2)
    assert (board.is_busy, names(queue), queue.is_held) == (False, ["b"], True)
    assert queue.submit(asked_for(desk, "c"), may_wait=True)[0] == "started"
    queue.go()
    assert not queue.is_held
    until(lambda: not queue.entries() and not board.is_busy)


def test_an_empty_queue_is_not_held_and_one_of_a_board_is_kept(desk: TinyDesk) -> None:
    board = JobBoard()
    assert queue_of(desk, board) is queue_of(desk, board)
    assert queue_of(desk, board) is not queue_of(desk, JobBoard())
    assert not queue_of(desk, board).is_held
    assert not (desk.data_root() / "queue.json").exists()


def test_one_that_may_not_wait_is_refused_while_another_runs(desk: TinyDesk, queue: RunQueue) -> None:
    fill(desk, queue)
    with pytest.raises(JobError, match="now is not over yet"):
        queue.submit(asked_for(desk, "b"), may_wait=False)
    assert queue.entries() == []


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"entries": 3}', '{"entries": [3, {}, {"name": "x", "project": "../x"}]}']
)
def test_a_damaged_file_is_no_end_of_the_queue(desk: TinyDesk, queue: RunQueue, text: str) -> None:
    (desk.data_root() / "queue.json").write_text(text, encoding="utf-8")
    assert queue.entries() == []
    fill(desk, queue, "b")
    assert names(queue) == ["b"]
    if text == "{":
        assert (desk.data_root() / "queue.json.damaged").read_text(encoding="utf-8") == "{"


def test_what_waits_is_told_in_words(desk: TinyDesk, queue: RunQueue) -> None:
    fill(desk, queue)
    few = RunRequest(
        desk.data_root() / "anna", "few", "style", settings={"rank": 8, "learning_rate": 2e-4, "flip": True}
    )
    queue.add([few, replace(few, name="none", settings={}), replace(few, name="many", settings=SMALL)])
    told = [entry_row(entry, "en") for entry in queue.entries()]
    assert [(row["project"], row["name"], row["kind"], row["problem"]) for row in told] == [
        ("anna", "few", "style", None), ("anna", "none", "style", None), ("anna", "many", "style", None)
    ]  # fmt: skip
    assert told[0]["sentence"] == "Changed: Rank (dim) 8, Learning rate 0.0002, Mirror images On."
    assert told[1]["sentence"] == "All settings as proposed."
    assert told[2]["sentence"].endswith(f" and {len(SMALL) - 4} more.")
    assert "改动" in entry_row(queue.entries()[0], "zh")["sentence"]
