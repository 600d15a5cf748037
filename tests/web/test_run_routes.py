"""The runs and their queue by HTTP: listed, begun, ordered, resumed, reported and taken out."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_forge.dataset.project import Project
from tests.train import tiny
from tests.web.conftest import Served, _serve
from tests.work.conftest import SMALL

LONG_S = 120.0
PROJECT = "小红 v2"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of our own: the others' runs are not in its list."""
    for made in _serve(tmp_path_factory.mktemp("runs")):
        tiny.build_project(made.desk.data_root() / PROJECT, ((70, 70), (90, 70), (70, 70)))
        yield made


@pytest.fixture
def server(served: Served) -> Iterator[Served]:
    """Every test leaves an idle board and an empty queue."""
    yield served
    post(served, "queue/hold")
    while served.board.is_busy:
        served.post("/lora_forge/command", {"command": "stop"})
        served.board.join(LONG_S)
    if served.desk.lock.locked():
        served.desk.lock.release()
    for entry in listing(served)["queue"]:
        post(served, "queue/remove", id=entry["id"])
    post(served, "queue/go")


def listing(served: Served, query: str = "") -> Any:
    return served.get(f"/lora_forge/runs{query}").json


def post(served: Served, route: str, **body: Any) -> Any:
    got = served.post(f"/lora_forge/{route}", body)
    return got.json | {"status": got.status}


def start(served: Served, name: str, **changes: Any) -> Any:
    values = {**SMALL, "epochs": 1, "repeats": 1}
    wanted = {"project": PROJECT, "name": name, "kind": "style", "trigger_word": "ohwx", "values": values}
    return post(served, "start", **{**wanted, "queue": True, **changes})


def run_to_the_end(served: Served, name: str) -> None:
    assert start(served, name)["state"] == "started"
    served.board.join(LONG_S)


def test_a_run_is_begun_with_what_was_changed_and_listed(server: Served) -> None:
    run_to_the_end(server, "first")
    got = listing(server)
    assert (got["queue"], got["is_held"]) == ([], False)
    (row,) = [row for row in got["runs"] if row["name"] == "first"]
    assert (row["project"], row["kind"], row["state"], row["can_resume"]) == (PROJECT, "style", "done", False)
    assert (row["step"], row["total"], row["epoch"], row["epochs"]) == (3, 3, 1, 1)
    assert row["files"] == ["first-000001.safetensors"]
    assert set(row) == {
        *("project", "name", "kind", "state", "step", "total", "epoch", "epochs", "started_at", "ended_at"),
        *("window_mse", "validation_loss", "files", "message", "can_resume"),
    }
    board = server.get("/lora_forge/status").json
    assert board["about"] == {"project": PROJECT, "name": "first"}
    assert "memory_bytes" in board
    assert [row["name"] for row in listing(server, "?project=anna")["runs"]] == []
    assert server.get("/lora_forge/runs?project=nobody").status == 400
    config = json.loads((server.desk.data_root() / PROJECT / "runs" / "first" / "config.json").read_text("utf-8"))
    assert (config["trigger_word"], config["rank"], config["epochs"]) == ("ohwx", 2, 1)


def test_the_queue_is_filled_and_changed(server: Served) -> None:
    server.desk.lock.acquire()
    first = start(server, "now")
    assert (first["state"], first["title"], first["status"]) == ("started", "now", 200)
    second, third = start(server, "second"), start(server, "third")
    assert (second["state"], third["state"]) == ("queued", "queued")
    moved = post(server, "queue/move", id=third["id"], index=0)
    assert [row["name"] for row in moved["queue"]] == ["third", "second"]
    edited = post(server, "queue/edit", id=third["id"], values={"rank": 4}, name="renamed", language="zh")
    assert [row["name"] for row in edited["queue"]] == ["renamed", "second"]
    assert edited["queue"][0]["sentence"].endswith("4。")
    settings = server.get(f"/lora_forge/runs/settings?id={third['id']}").json
    assert (settings["kind"], settings["values"], settings["name"], settings["trigger_word"]) == (
        "style", {"rank": 4}, "renamed", "ohwx"
    )  # fmt: skip
    same = server.get("/lora_forge/runs/settings?" + "project=%E5%B0%8F%E7%BA%A2%20v2&name=renamed").json
    assert same == settings
    copied = post(server, "queue/duplicate", id=third["id"])
    assert [row["name"] for row in copied["queue"]] == ["renamed", "renamed-2", "second"]
    assert copied["made"] == copied["queue"][1]["id"]
    left = post(server, "queue/remove", id=copied["made"])
    assert [row["name"] for row in left["queue"]] == ["renamed", "second"]
    assert post(server, "queue/hold")["is_held"] is True
    assert post(server, "queue/go")["is_held"] is False
    assert {row["name"]: row["state"] for row in listing(server)["runs"]}["now"] == "waiting"


@pytest.mark.parametrize(
    ("route", "body", "words"),
    [
        ("queue/move", {"id": "none", "index": 0}, "not in the queue any more"),
        ("queue/move", {"id": 3, "index": 0}, "id must be text"),
        ("queue/edit", {"id": "none"}, "not in the queue any more"),
        ("queue/duplicate", {"id": "none"}, "not in the queue any more"),
        ("queue/remove", {"id": "none"}, "not in the queue any more"),
        ("queue/sweep", {"request": {}, "key": "rank", "values": [1]}, "project is missing"),
        ("queue/sweep", {"request": {"project": PROJECT, "name": "s"}, "key": "name", "values": [1]}, "no setting"),
        ("queue/sweep", {"request": {"project": PROJECT, "name": "s"}, "key": "rank", "values": []}, "Give 1 to 20"),
        ("runs/resume", {"project": PROJECT, "name": "none"}, "no run named none"),
        ("runs/remove", {"project": PROJECT, "name": "../anna"}, "no run named"),
        ("runs/remove", {"project": "../x", "name": "x"}, "can't be called"),
        ("start", {"project": PROJECT, "name": "x", "values": {"rank": -1}}, "rank"),
        ("start", {"project": PROJECT, "name": "x", "values": []}, "values must be an object"),
    ],
)
def test_what_can_not_be_is_refused_in_a_sentence(server: Served, route: str, body: Any, words: str) -> None:
    got = server.post(f"/lora_forge/{route}", body)
    assert got.status == 400
    assert words in got.json["error"]["what"]
    chinese = server.post(f"/lora_forge/{route}", {**body, "language": "zh"}).json["error"]["what"]
    assert any("\u4e00" <= char <= "\u9fff" for char in chinese)
    assert listing(server)["queue"] == []


def test_a_sweep_is_queued_whole_or_not_at_all(server: Served) -> None:
    server.desk.lock.acquire()
    start(server, "busy")
    request = {"project": PROJECT, "name": "try", "kind": "person", "values": {**SMALL, "epochs": 1}}
    got = post(server, "queue/sweep", request=request, key="learning_rate", values=[1e-4, 2e-4, 1e-4])
    assert [row["name"] for row in got["queue"]] == ["try-lr1e-4", "try-lr2e-4"]
    assert len(got["made"]) == 2
    refused = post(server, "queue/sweep", request=request, key="learning_rate", values=[3e-4, "much"])
    assert refused["status"] == 400
    again = post(server, "queue/sweep", request=request, key="learning_rate", values=[3e-4, 2e-4])
    assert "waits in the queue already" in again["error"]["what"]
    assert [row["name"] for row in listing(server)["queue"]] == ["try-lr1e-4", "try-lr2e-4"]


def test_a_run_that_was_cut_off_goes_on_and_ends_as_one_that_was_not(server: Served) -> None:
    run_to_the_end(server, "whole")
    folder = server.desk.data_root() / PROJECT / "runs"
    server.desk.lock.acquire()
    start(server, "cut", values={**SMALL, "epochs": 1, "repeats": 1, "state_every_steps": 1})
    while server.get("/lora_forge/status").json["state"] != "waiting":
        pass
    server.desk.lock.release()
    until_step(server)
    server.post("/lora_forge/command", {"command": "stop"})
    server.board.join(LONG_S)
    make_as_if_killed(folder / "cut")
    (row,) = [row for row in listing(server)["runs"] if row["name"] == "cut"]
    assert (row["state"], row["can_resume"]) == ("interrupted", True)
    assert post(server, "runs/resume", project=PROJECT, name="cut")["state"] == "started"
    server.board.join(LONG_S)
    (row,) = [row for row in listing(server)["runs"] if row["name"] == "cut"]
    assert (row["state"], row["step"], row["files"]) == ("done", 3, ["cut-000001.safetensors"])
    assert tensors(server, "cut") == tensors(server, "whole")
    refused = post(server, "runs/resume", project=PROJECT, name="cut")
    assert (refused["status"], refused["error"]["what"]) == (
        400, "The run cut is done: there is nothing to go on with."
    )  # fmt: skip


def until_step(server: Served) -> None:
    while server.get("/lora_forge/status").json["step"] < 1 and server.board.is_busy:
        pass


def tensors(server: Served, name: str) -> dict[str, bytes]:
    from safetensors.torch import load_file

    found = load_file(server.desk.lora_dir() / f"{name}-000001.safetensors")
    return {key: tensor.numpy().tobytes() for key, tensor in found.items()}


def make_as_if_killed(folder: Path) -> None:
    """As the disk is when the process was killed: no end in the journal, none in the note."""
    lines = (folder / "journal.jsonl").read_text("utf-8").splitlines(keepends=True)
    (folder / "journal.jsonl").write_text("".join(line for line in lines if '"RunEnded"' not in line), "utf-8")
    values = json.loads((folder / "run.json").read_text("utf-8"))
    (folder / "run.json").write_text(json.dumps({**values, "outcome": None, "journal_bytes": 0}), "utf-8")


def test_a_run_that_never_took_a_step_begins_again_with_what_was_asked_for(server: Served) -> None:
    server.desk.lock.acquire()
    start(server, "early", folder="people")
    while server.get("/lora_forge/status").json["state"] != "waiting":
        pass
    server.post("/lora_forge/command", {"command": "stop"})
    server.board.join(LONG_S)
    server.desk.lock.release()
    (row,) = [row for row in listing(server)["runs"] if row["name"] == "early"]
    assert (row["state"], row["can_resume"]) == ("stopped", True)
    assert post(server, "runs/resume", project=PROJECT, name="early")["state"] == "started"
    server.board.join(LONG_S)
    assert (server.desk.lora_dir() / "people" / "early-000001.safetensors").is_file()


def test_a_report_has_what_helps_and_nothing_personal(server: Served) -> None:
    run_to_the_end(server, "told")
    query = "project=%E5%B0%8F%E7%BA%A2%20v2&name=told"
    text = server.get(f"/lora_forge/runs/report?{query}").json["text"]
    for words in ("LoRA Forge report: told", "torch ", "Tiny 1.0", "rank = 2", "Saved told-000001.safetensors", "done"):
        assert words in text
    for secret in (str(server.desk.root), str(Path.home()), "ohwx", "tmp/"):
        assert secret not in text
    chinese = server.get(f"/lora_forge/runs/report?{query}&language=zh").json["text"]
    assert "训练设置" in chinese
    server.board.start("other", lambda emit, commands: "done")
    server.board.join(LONG_S)
    later = server.get(f"/lora_forge/runs/report?{query}").json["text"]
    assert "LoraSaved: path told-000001.safetensors" in later
    assert str(server.desk.root) not in later


def test_a_run_is_moved_to_the_trash_but_not_while_it_is_at_work(server: Served) -> None:
    run_to_the_end(server, "gone")
    project = Project.load(server.desk.data_root() / PROJECT)
    assert post(server, "runs/remove", project=PROJECT, name="gone") == {"removed": "gone", "status": 200}
    assert (project.trash_dir / "runs" / "gone" / "journal.jsonl").is_file()
    server.desk.lock.acquire()
    start(server, "going")
    refused = post(server, "runs/remove", project=PROJECT, name="going")
    assert (refused["status"], refused["error"]["what"]) == (409, "The run going is at work already.")


def test_settings_of_a_run_without_a_note_are_what_differs_from_the_proposal(server: Served) -> None:
    run_to_the_end(server, "plain")
    query = "project=%E5%B0%8F%E7%BA%A2%20v2&name=plain"
    told = server.get(f"/lora_forge/runs/settings?{query}").json
    assert (told["kind"], told["values"]) == ("style", {**SMALL, "epochs": 1, "repeats": 1})
    (server.desk.data_root() / PROJECT / "runs" / "plain" / "run.json").unlink()
    bare = server.get(f"/lora_forge/runs/settings?{query}").json
    assert (bare["values"]["rank"], bare["values"]["epochs"], bare["kind"]) == (2, 1, "person")
    assert "name" not in bare["values"]
    assert "seed" not in bare["values"]


def test_two_starts_of_one_name_at_once_are_one_run(server: Served) -> None:
    server.desk.lock.acquire()
    told: list[Any] = []
    threads = [threading.Thread(target=lambda: told.append(start(server, "twin"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert sorted(one["status"] for one in told) == [200, 400, 400, 400]
    assert {one["error"]["what"] for one in told if "error" in one} == {"The run twin is at work already."}
