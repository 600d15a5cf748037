"""The live plan and test firing, asked from outside by plain HTTP."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from lora_forge.dataset.project import Group, Project
from tests.train import full
from tests.web.conftest import Served

NUMBERS = itertools.count()


@pytest.fixture
def project(open_server: Served) -> Project:
    """Three photos, one of them in a group that is seen 7 times."""
    made = Project.create(open_server.desk.data_root() / f"plan {next(NUMBERS)}", "ohwx")
    for place in ("photos/a.png", "photos/b.png", "side/c.png"):
        path = made.images_dir / place
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((70, 70, 3), np.uint8)).save(path)
    return made


def plan(served: Served, project: Project, language: str = "en", **more: Any) -> Any:
    wanted = {"project": project.root.name, "kind": "person", "name": "anna_v9", "trigger_word": "ohwx", "values": {}}
    got = served.post("/lora_forge/train/plan", {**wanted, "language": language, **more})
    assert got.status == 200, got.body
    return got.json


def test_photos_times_repeats_is_steps(open_server: Served, project: Project) -> None:
    (open_server.desk.data_root() / "speeds.json").unlink(missing_ok=True)
    got = plan(open_server, project, values={"repeats": 10, "epochs": 10})
    assert got["problems"] == []
    assert (got["photos"], got["repeats"], got["pictures_per_epoch"]) == (3, 10, 30)
    assert (got["steps_per_epoch"], got["total_steps"]) == (30, 300)
    assert (got["seconds"], got["seconds_source"]) == (None, "unknown")
    assert got["sentence"].startswith("3 photos x 10 repeats = 30 steps an epoch, 300 in all, time not measured yet")
    assert got["memory"]["fits"] is got["disk"]["fits"] is True
    assert got["disk"]["bytes"] > 1e6


def test_groups_batches_and_an_early_end_count(open_server: Served, project: Project) -> None:
    project.set_group(Group("side", 7))
    got = plan(open_server, project, values={"repeats": 4, "batch_size": 2, "gradient_accumulation": 2, "epochs": 5})
    assert (got["pictures_per_epoch"], got["steps_per_epoch"], got["total_steps"]) == (15, 4, 20)
    assert got["sentence"].startswith("3 photos, 15 pictures an epoch = 4 steps an epoch, 20 in all")
    assert plan(open_server, project, values={"repeats": 4, "max_steps": 7})["total_steps"] == 7


def test_every_problem_names_its_setting(open_server: Served, project: Project) -> None:
    got = plan(open_server, project, name="", values={"rank": 0, "learning_rate": -1})
    assert [one["key"] for one in got["problems"]] == ["name", "rank", "learning_rate"]
    assert got["problems"][1]["sentence"] == "rank is 0, it must be 1 to 1024"
    assert (got["sentence"], got["total_steps"]) == ("", 0)
    assert [one["key"] for one in plan(open_server, project, values={"rnk": 8})["problems"]] == ["rnk"]
    assert [one["key"] for one in plan(open_server, project, kind="zebra")["problems"]] == ["kind"]
    assert [one["key"] for one in plan(open_server, project, name="a<b")["problems"]] == ["name"]


def test_a_taken_name_is_a_problem(open_server: Served, project: Project) -> None:
    (open_server.desk.lora_dir() / "taken-000001.safetensors").write_bytes(b"x")
    assert [one["key"] for one in plan(open_server, project, name="taken")["problems"]] == ["name"]
    state = project.runs_dir / "again" / "state"
    state.mkdir(parents=True)
    (state / "step-00000001.safetensors").write_bytes(b"x")
    (problem,) = plan(open_server, project, "zh", name="again")["problems"]
    assert "again" in problem["sentence"]
    assert "already" not in problem["sentence"]


def test_no_photos_is_a_problem_and_no_project_is_refused(open_server: Served) -> None:
    empty = Project.create(open_server.desk.data_root() / f"empty {next(NUMBERS)}")
    (problem,) = plan(open_server, empty)["problems"]
    assert problem["key"] == ""
    got = open_server.post("/lora_forge/train/plan", {"project": "nobody", "values": {}})
    assert got.status == 400


def test_nothing_is_written(open_server: Served, project: Project) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in open_server.desk.data_root().rglob("*"))
    plan(open_server, project)
    assert sorted((path, path.stat().st_mtime_ns) for path in open_server.desk.data_root().rglob("*")) == before


def test_strangers_plan_nothing(locked_server: Served) -> None:
    assert locked_server.post("/lora_forge/train/plan", {"project": "anna"}).status == 401


TINY = {"resolution_px": 64, "bucket_min_px": 64, "bucket_max_px": 128, "rank": 2, "preview_steps": 2, "epochs": 2}


def body(project: Project, **values: Any) -> dict[str, Any]:
    changed = {**TINY, "preview_every_steps": 5, **values}
    return {"project": project.root.name, "kind": "person", "name": "t", "trigger_word": "ohwx", "values": changed}


def fire(served: Served, project: Project, **values: Any) -> Any:
    """Start it, wait for its end; the board."""
    got = served.post("/lora_forge/train/trial", body(project, **values))
    assert got.status == 200, got.body
    served.board.join(60.0)
    return served.board.snapshot()


def last(served: Served, project: Project, more: str = "", language: str = "en") -> Any:
    got = served.get(f"/lora_forge/train/trial?project={quote(project.root.name)}&language={language}{more}")
    assert got.status == 200, got.body
    return got.json


def test_a_test_firing_measures_and_leaves_nothing_but_its_figures(open_server: Served, project: Project) -> None:
    assert last(open_server, project) is None
    before = {path.relative_to(project.root) for path in project.root.rglob("*")}
    board = fire(open_server, project)
    assert (board["state"], board["error"], board["about"]) == (
        "done", None, {"project": project.root.name, "name": "t"},
    )  # fmt: skip
    got = last(open_server, project)
    assert (got["fits"], got["failed_at"], got["ladder"], got["is_stale"]) == (True, "", [], False)
    assert min(got["step_s"], got["preview_s"], got["encode_s"]) > 0
    assert got["peak_bytes"] > 50e6
    assert got["sentence"].startswith("It fits: ")
    assert got["sentence"] in [one["text"] for one in board["log"]]
    assert "It fits" not in last(open_server, project, language="zh")["sentence"]
    assert {path.relative_to(project.root) for path in project.root.rglob("*")} - before == {Path("trial.json")}
    assert not list(open_server.desk.lora_dir().glob("t-*"))
    planned = plan(open_server, project, values=body(project)["values"])
    assert planned["seconds_source"] == "measured"
    similar = plan(open_server, project, values={**body(project)["values"], "batch_size": 2})
    assert similar["seconds_source"] == "similar"


def test_a_test_firing_goes_stale_with_what_it_measured(open_server: Served, project: Project) -> None:
    fire(open_server, project)
    wish = body(project)
    for changed, is_stale in (({"epochs": 9}, False), ({"learning_rate": 2e-4}, False), ({"rank": 4}, True)):
        values = quote(json.dumps({**wish["values"], **changed}))
        assert last(open_server, project, f"&kind=person&values={values}")["is_stale"] is is_stale, changed
    longer = quote(json.dumps({**wish["values"], "epochs": 40}))
    told = last(open_server, project, f"&kind=person&values={longer}")
    assert (
        told["seconds"]
        > last(open_server, project, f"&kind=person&values={quote(json.dumps(wish['values']))}")["seconds"]
    )
    open_server.post("/lora_forge/train/draft", {**wish, "values": {**wish["values"], "batch_size": 2}})
    assert last(open_server, project)["is_stale"] is True
    open_server.post("/lora_forge/train/draft", wish)
    assert last(open_server, project)["is_stale"] is False


@pytest.mark.parametrize(
    ("stage", "ids"),
    [
        ("backward", ["checkpointing", "batch_one", "small_cache", "resolution"]),
        ("encode", ["small_cache", "resolution"]),
        ("preview", ["no_previews", "resolution"]),
    ],
)
def test_what_does_not_fit_is_offered_the_ladder(
    open_server: Served, project: Project, stage: str, ids: list[str]
) -> None:
    with full.full_at(open_server.desk.model, stage, full.Fuse(times=99)):
        board = fire(open_server, project, batch_size=2, resolution_px=128)
    assert (board["state"], board["error"]) == ("done", None)
    got = last(open_server, project)
    assert (got["fits"], got["failed_at"]) == (False, stage)
    assert [rung["id"] for rung in got["ladder"]] == ids
    assert got["ladder"][-1]["changes"] == {"resolution_px": 64}
    assert "memory was full" in got["sentence"]
    chinese = last(open_server, project, language="zh")
    assert "memory" not in json.dumps([chinese["sentence"], chinese["ladder"]], ensure_ascii=False)


def test_one_job_at_a_time_and_bad_settings_are_refused_at_once(open_server: Served, project: Project) -> None:
    assert open_server.post("/lora_forge/train/trial", body(project, rank=0)).status == 400
    empty = Project.create(open_server.desk.data_root() / f"empty {next(NUMBERS)}")
    refused = open_server.post("/lora_forge/train/trial", body(empty))
    assert refused.status == 400
    assert refused.json["error"]["what"].startswith("There are no photos")
    with open_server.desk.lock:
        assert open_server.post("/lora_forge/train/trial", body(project)).status == 200
        assert open_server.post("/lora_forge/train/trial", body(project)).status == 409
        open_server.post("/lora_forge/command", {"command": "stop"})
        open_server.board.join(60.0)
    assert open_server.board.snapshot()["state"] == "stopped"
    assert last(open_server, project) is None
    assert not (project.root / ".trial").exists()


def test_strangers_fire_nothing(locked_server: Served) -> None:
    assert locked_server.post("/lora_forge/train/trial", {"project": "anna"}).status == 401
    assert locked_server.get("/lora_forge/train/trial?project=anna").status == 401
