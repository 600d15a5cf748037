"""The generalisation test asked from outside by plain HTTP, with a real server on the bundled toy world."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from PIL import Image

from lora_forge.dataset.project import Project
from tests.web.conftest import Served
from tests.web.test_test_routes import served as toy_served
from tests.web.test_test_routes import toy_loras, wait

__all__ = ["toy_loras", "toy_served"]

pytestmark = pytest.mark.once
ASKED: dict[str, Any] = {
    "kind": "toyworld", "name": "toy", "epoch": 2, "strength": 1.0, "scenes": ["toy-snow", "toy-red-dress"],
    "own": ["city, smile"], "steps": 2, "seed": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def served(toy_served: Served) -> Served:
    return toy_served


def get(served: Served, route: str, status: int = 200, **query: Any) -> Any:
    got = served.get(f"/lora_forge/album/{route}?{urlencode({'project': 'anna', **query}, quote_via=quote)}")
    assert got.status == status, got.body
    return got.json


def post(served: Served, route: str, status: int = 200, **values: Any) -> Any:
    got = served.post(f"/lora_forge/album/{route}", {"project": "anna", **values})
    assert got.status == status, got.body
    return got.json


@pytest.fixture(scope="module")
def drawn(served: Served) -> str:
    """The id of an album of three pictures."""
    number = post(served, "start", **ASKED)["id"]
    assert served.board.snapshot()["about"] == {"project": "anna", "name": "toy", "album": number}
    assert wait(served)["state"] == "done"
    return str(number)


def test_the_form_offers_scenes_in_both_languages(served: Served) -> None:
    told = get(served, "form", kind="toyworld", name="toy", language="zh")
    assert (told["name"], told["epochs"], told["epoch"], told["strength"]) == ("toy", [1, 2, 3], 3, 0.8)
    assert told["steps"] == 8
    first = told["scenes"][0]
    assert (first["id"], first["group"], first["label"], first["prompt"]) == ("toy-snow", "地点", "雪地", "snow")
    assert sum(one["is_chosen"] for one in told["scenes"]) == 9
    groups = [one["group"] for one in told["scenes"]]
    assert len(list(dict.fromkeys(groups))) == sum(a != b for a, b in zip([None, *groups], groups, strict=False))
    assert {one["score"] for one in told["judges"]} >= {"identity", "obedience"}
    assert get(served, "form", kind="person", epoch=2, strength=0.5)["strength"] == 0.5


def test_an_album_is_drawn_as_a_job_and_told(served: Served, drawn: str) -> None:
    told = get(served, "state", id=drawn, language="zh")
    assert (told["state"], told["done"], told["total"], told["can_resume"]) == ("done", 3, 3, False)
    assert (told["name"], told["epoch"], told["strength"], told["seed"], told["base"]) == (
        *("toy", 2, 1.0, 3),
        "toyworld",
    )
    assert [one["label"] for one in told["pictures"]] == ["雪地", "红裙", "city, smile"]
    assert [ask["tag"] for ask in told["pictures"][2]["asks"]] == ["city", "smile"]
    assert told["verdict"]["is_pass"] in (True, False, None)
    assert "：" in told["verdict"]["sentence"]
    for path in (told["pictures"][0]["path"], f"anna/images/{told['photos'][0]}"):
        picture = served.get(f"/lora_forge/picture?{urlencode({'path': path, 'side': 64})}")
        assert picture.status == 200
    assert get(served, "form", kind="toyworld")["albums"][0]["id"] == drawn


def test_the_sheet_comes_as_a_png_to_save(served: Served, drawn: str) -> None:
    sizes = []
    for photos in (1, 0):
        got = served.get(f"/lora_forge/album/sheet?{urlencode({'project': 'anna', 'id': drawn, 'photos': photos})}")
        assert (got.status, got.headers["content-type"]) == (200, "image/png")
        assert got.headers["content-disposition"] == f"attachment; filename*=UTF-8''{drawn}.png"
        with Image.open(io.BytesIO(got.body)) as picture:
            sizes.append(picture.width)
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scenes": [], "own": []}, "一个场景也没有选"),
        ({"scenes": ["moon"]}, "没有场景 'moon'"),
        ({"epoch": 9}, "toy-000009"),
        ({"strength": 0}, "强度 0"),
        ({"strength": True}, "strength"),
        ({"width": 65}, "65x64"),
        ({"name": "../x"}, "x"),
    ],
)
def test_what_can_not_be_drawn_is_refused_at_once(served: Served, changes: dict[str, Any], words: str) -> None:
    before = served.board.snapshot()["job"]
    told = post(served, "start", 400, **{**ASKED, **changes}, language="zh")
    assert words in told["error"]["what"] + told["error"]["remedy"]
    assert served.board.snapshot()["job"] == before
    assert len(get(served, "form")["albums"]) <= 1


def test_a_stopped_one_goes_on_and_one_removed_is_gone(served: Served) -> None:
    number = post(served, "start", **{**ASKED, "steps": 60})["id"]
    assert post(served, "resume", 409, id=number)["error"]["what"].startswith("Generalisation test of toy")
    assert post(served, "remove", 409, id=number)["error"]["what"] == f"The album {number} is being drawn."
    served.post("/lora_forge/command", {"command": "stop"})
    assert wait(served)["state"] == "stopped"
    told = get(served, "state", id=number)
    assert (told["state"], told["can_resume"]) == ("stopped", True)
    post(served, "resume", id=number)
    wait(served)
    assert get(served, "state", id=number)["done"] == 3
    assert post(served, "remove", id=number) == {"removed": number}
    get(served, "state", 400, id=number)
    assert (Project.load(served.desk.data_root() / "anna").trash_dir / "albums" / number / "01.png").is_file()


def test_nothing_outside_the_project_can_be_asked_for(served: Served) -> None:
    for number in ("..", "../..", "", "%2e%2e", "a/b"):
        get(served, "state", 400, id=number)
        get(served, "sheet", 400, id=number)
        post(served, "remove", 400, id=number)
