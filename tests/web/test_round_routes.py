"""The next round by HTTP: told, begun, gone on with, refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lora_forge.dataset.project import Project
from tests.train import tiny
from tests.web.conftest import Served, _serve
from tests.work.conftest import SMALL
from tests.work.planted_rounds import keep_test

LONG_S = 120.0
PROJECT = "小红 v2"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A run of two epochs that is done and was tested."""
    for made in _serve(tmp_path_factory.mktemp("rounds")):
        tiny.build_project(made.desk.data_root() / PROJECT, ((70, 70), (90, 70), (70, 70)))
        values = {**SMALL, "epochs": 2, "repeats": 1}
        wanted = {"project": PROJECT, "name": "girl", "kind": "style", "trigger_word": "ohwx", "values": values}
        assert made.post("/lora_forge/start", wanted).status == 200
        made.board.join(LONG_S)
        keep_test(project_of(made), "girl", made.desk.info(), lambda epoch: 0.1 + 0.02 * epoch, (1, 2))
        yield made


def project_of(server: Served) -> Project:
    return Project.load(server.desk.data_root() / PROJECT)


def told(server: Served, language: str = "en", **query: str) -> Any:
    more = "".join(f"&{key}={value}" for key, value in query.items())
    return server.get(f"/lora_forge/rounds?project=%E5%B0%8F%E7%BA%A2%20v2&language={language}{more}").json


def rows_of(server: Served) -> dict[str, Any]:
    return {row["name"]: row for row in server.get("/lora_forge/runs").json["runs"]}


def apply(server: Served, choice: str, **more: Any) -> Any:
    got = server.post("/lora_forge/rounds/apply", {"project": PROJECT, "kind": "style", "choice": choice, **more})
    return got.json | {"status": got.status}


def test_rounds_are_told_and_the_next_one_is_begun_and_one_goes_on(server: Served) -> None:
    found = told(server)
    assert [(one["name"], one["repeats"], one["epochs"]) for one in found["rounds"]] == [("girl", 1, 2)]
    advised, *others = found["advice"]["choices"]
    assert (advised["id"], advised["is_advised"], advised["changes"]) == ("more_repeats", True, {"repeats": 6})
    assert [one["id"] for one in others] == ["more_epochs", "better_photos"]
    assert told(server, "zh")["advice"]["choices"][0]["label"] == "重复次数 1 → 6"

    server.desk.lock.acquire()
    began = apply(server, "more_repeats", test=found["test"])
    assert (began["status"], began["state"], began["name"]) == (200, "started", "girl_v2")
    waits = apply(server, "more_epochs", test=found["test"])
    assert (waits["state"], waits["name"]) == ("queued", "girl")
    server.desk.lock.release()
    rows = rows_of(server)
    while rows["girl"]["step"] < 18 or rows["girl"]["state"] != "done":
        server.board.join(LONG_S)
        rows = rows_of(server)
    assert (rows["girl_v2"]["state"], rows["girl_v2"]["step"]) == ("done", 36)
    assert (rows["girl"]["state"], rows["girl"]["step"], rows["girl"]["epochs"]) == ("done", 18, 6)
    assert rows["girl"]["files"] == [f"girl-{epoch:06d}.safetensors" for epoch in range(1, 7)]
    assert [one["name"] for one in told(server)["rounds"]] == ["girl_v2", "girl"]


def test_what_trains_nothing_is_refused(server: Served) -> None:
    for choice in ("better_photos", "earlier_epoch", "nothing"):
        refused = apply(server, choice)
        assert (refused["status"], refused["error"]["what"]) == (400, f"The advice has no {choice} any more.")
    assert apply(server, "more_repeats", test="gone")["error"]["what"] == "This project has no test gone."


def test_a_project_without_a_test_has_no_round_to_begin(server: Served) -> None:
    Project.create(server.desk.data_root() / "new")
    assert server.get("/lora_forge/rounds?project=new").json["advice"] is None
    got = server.post("/lora_forge/rounds/apply", {"project": "new", "choice": "more_repeats"})
    assert (got.status, got.json["error"]["what"]) == (400, "No round of this project was tested yet.")


def test_a_stop_before_the_added_epochs_does_not_forget_them(server: Served) -> None:
    id = keep_test(project_of(server), "girl", server.desk.info(), lambda epoch: 0.1 + 0.02 * epoch, range(1, 7))
    server.desk.lock.acquire()
    assert apply(server, "more_epochs", test=id)["state"] == "started"
    while server.get("/lora_forge/status").json["state"] != "waiting":
        pass
    server.post("/lora_forge/command", {"command": "stop"})
    server.board.join(LONG_S)
    server.desk.lock.release()
    got = server.post("/lora_forge/runs/resume", {"project": PROJECT, "name": "girl"})
    assert got.json["state"] == "started"
    server.board.join(LONG_S)
    girl = rows_of(server)["girl"]
    assert (girl["state"], girl["step"]) == ("done", 30)
