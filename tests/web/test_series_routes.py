"""The chart's lines and the strip's pictures, asked for over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from lora_forge.train.journal import FILE_NAME
from tests.web.conftest import Served

SERIES = "/lora_forge/runs/series?project=anna&name=girl"
PREVIEWS = "/lora_forge/runs/previews?project=anna&name=girl"


@pytest.fixture
def run_dir(open_server: Served) -> Path:
    """A run of four steps with one picture."""
    made = open_server.desk.data_root() / "anna" / "runs" / "girl"
    (made / "previews").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (80, 60), (10, 200, 10)).save(made / "previews" / "step-00000002-1.png")
    lines = [
        {
            "event": "StepDone",
            "step": step,
            "total_steps": 9,
            "loss": step / 8,
            "window_mse": None,
            "learning_rate": 1e-4,
        }
        for step in (1, 2, 3, 4)
    ]
    made_at = {"time": 7.0, "path": "elsewhere/step-00000002-1.png", "step": 2, "prompt": "ohwx"}
    lines.append({"event": "PreviewMade", **made_at, "column": 1})
    (made / FILE_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return made


def test_the_lines_of_a_run(open_server: Served, run_dir: Path) -> None:
    told = open_server.get(SERIES).json
    assert (told["steps"], told["loss"]) == ([1, 2, 3, 4], [0.125, 0.25, 0.375, 0.5])
    assert (told["window_mse"], told["objective"]) == ([None] * 4, [0.125, 0.1875, 0.25, 0.3125])
    assert (told["first"], told["last"], told["total"], told["is_new"]) == (1, 4, 9, True)
    more = open_server.get(f"{SERIES}&since=3&revision={told['revision']}").json
    assert (more["steps"], more["is_new"]) == ([4], False)
    assert open_server.get(f"{SERIES}&since=3&revision=another").json["is_new"] is True
    assert open_server.get(f"{SERIES}&from=3&to=3").json["steps"] == [2, 3, 4]
    assert open_server.get(f"{SERIES}&since=x&points=-5").json["steps"] == [1, 2, 3, 4]


def test_the_pictures_of_a_run_can_be_fetched(open_server: Served, run_dir: Path) -> None:
    told = open_server.get(PREVIEWS).json
    assert told["columns"] == [{"column": 1, "prompt": "ohwx"}]
    path = "anna/runs/girl/previews/step-00000002-1.png"
    assert told["steps"] == [{"step": 2, "pictures": {"1": path}, "prompts": {"1": "ohwx"}, "stamps": {"1": 7}}]
    picture = open_server.get(f"/lora_forge/picture?path={path}&side=256")
    assert (picture.status, picture.headers["content-type"]) == (200, "image/jpeg")


def test_a_run_that_has_not_begun_has_nothing(open_server: Served) -> None:
    assert open_server.get("/lora_forge/runs/series?project=anna&name=not-yet").json["steps"] == []
    told = open_server.get("/lora_forge/runs/previews?project=anna&name=not-yet").json
    assert told == {"columns": [], "steps": []}


@pytest.mark.parametrize("route", ["series", "previews"])
@pytest.mark.parametrize(
    "query",
    ["", "project=anna", "name=girl", "project=anna&name=..", "project=anna&name=.state", "project=anna&name=a/b",
     "project=anna&name=%2Fetc", "project=nobody&name=girl", "project=..&name=girl"],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(open_server: Served, route: str, query: str) -> None:
    got = open_server.get(f"/lora_forge/runs/{route}?{query}")
    assert got.status in (400, 404)
    assert got.json["error"]["what"]


def test_a_login_is_asked_for(locked_server: Served) -> None:
    assert locked_server.get(SERIES).status == 401
    assert locked_server.get(PREVIEWS).status == 401
