"""The live plan and test firing, asked from outside by plain HTTP."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lora_forge.dataset.project import Group, Project
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
