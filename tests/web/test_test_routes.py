"""The Test step asked from outside by plain HTTP, with a real server on the bundled toy world."""

from __future__ import annotations

import io
import shlex
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from PIL import Image

from lora_forge.dataset.project import Project
from lora_forge.demo import write_project
from lora_forge.host.desk import TOYWORLD, StandaloneDesk
from tests.web.conftest import Served
from tests.work.testing.conftest import toy_loras

__all__ = ["toy_loras"]

pytestmark = pytest.mark.once
SMALL: dict[str, Any] = {
    "project": "anna", "kind": "toyworld", "name": "toy", "epochs": "1-2", "strengths": "0.5,1", "steps": 2,
    "prompt": "sks, 1girl, blue dress", "swaps": ["red dress"], "width": 64, "height": 64, "mode": "full",
}  # fmt: skip


class ToyDesk(StandaloneDesk):
    def __init__(self, root: Path) -> None:
        super().__init__(root / "data", root / "loras")
        self.root = root
        self.switch(TOYWORLD)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, toy_loras: Path) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("toy")
    desk = ToyDesk(root)
    made, _ = write_project(root / "demo")
    shutil.move(made.root, desk.data_root() / "anna")
    shutil.copytree(toy_loras, desk.lora_dir(), dirs_exist_ok=True)
    served = Served(desk)  # type: ignore[arg-type]
    yield served
    served.board.join(60)
    served.close()


def get(served: Served, route: str, status: int = 200, **query: Any) -> Any:
    got = served.get(f"/lora_forge/test/{route}?{urlencode({'project': 'anna', **query}, quote_via=quote)}")
    assert got.status == status, got.body
    return got.json


def post(served: Served, route: str, status: int = 200, **values: Any) -> Any:
    got = served.post(f"/lora_forge/test/{route}", {"project": "anna", **values})
    assert got.status == status, got.body
    return got.json


def wait(served: Served) -> dict[str, Any]:
    served.board.join(120)
    snapshot = served.board.snapshot()
    assert snapshot["error"] is None, snapshot["error"]
    return snapshot


@pytest.fixture(scope="module")
def done(served: Served) -> str:
    """One whole test."""
    id = post(served, "start", **SMALL)["id"]
    wait(served)
    return str(id)


def test_the_form_proposes_what_suits_the_newest_lora(served: Served) -> None:
    form = get(served, "form", kind="toyworld")
    assert form["name"] == "toy"
    assert form["loras"] == [{"name": "toy", "epochs": [1, 2, 3], "is_of_project": False, "trigger_word": ""}]
    assert (form["epochs"], form["strengths"]) == ("1-3", "0.1-1.0")
    assert form["prompt"] == "sks, 1girl, <lora:toy-NUM:STRENGTH>"  # its own file says its trigger word
    assert form["swaps"] == ["red dress", "snow"]
    assert (form["width"], form["height"], form["seeds"], form["sampler"]) == (64, 64, 1, "DPM++ 2M")
    assert form["sampler"] in form["samplers"]
    assert {one["score"] for one in form["judges"]} == {"identity", "obedience", "copying", "health"}
    assert all(one["title"] and one["sentence"] and one["source"] for one in form["judges"])
    assert form["missing"] == []


def test_the_form_follows_the_traits(served: Served) -> None:
    from lora_forge.dataset.tags.book import book_of
    from lora_forge.dataset.traits import FILE, answer

    project = Project.load(served.desk.data_root() / "anna")
    answer(book_of(project), {"blue dress": "changeable", "white shirt": "changeable"})
    form = get(served, "form", kind="toyworld", name="toy")
    assert form["swaps"] == ["red dress", "snow"]  # one garment at a time, and a place
    assert "red shirt" in form["swap_choices"]
    answer(book_of(project), {"pink hair": "part"})
    assert get(served, "form", kind="person", name="toy")["swaps"] == ["red dress", "snow"]  # her hair is her own
    (project.root / FILE).unlink()


def test_a_plan_says_what_it_comes_to_and_what_is_wrong(served: Served) -> None:
    plan = post(served, "plan", **SMALL)
    assert (plan["cells"], plan["pictures"], plan["most_pictures"], plan["problems"]) == (5, 10, 10, [])
    large = post(served, "plan", **{**SMALL, "epochs": "1-3", "strengths": "0.1-1.0", "mode": "smart"})
    assert (large["cells"], large["pictures"]) == (31, 62)
    assert large["most_pictures"] < 31
    wrong = post(served, "plan", **{**SMALL, "epochs": "0", "width": 65, "steps": "many", "sampler": "magic"})
    assert [one["key"] for one in wrong["problems"]] == ["epochs", "width", "steps", "sampler"]
    gone = post(served, "plan", **{**SMALL, "epochs": "2-4"})["problems"]
    assert [one["key"] for one in gone] == ["epochs"]
    assert "toy-000004.safetensors" in gone[0]["sentence"]
    other = post(served, "plan", **{**SMALL, "prompt": "x <lora:cat-NUM:STRENGTH>"})["problems"]
    assert [one["key"] for one in other] == ["prompt"]
    assert not (served.desk.data_root() / "anna" / "tests").exists() or post(served, "plan", **SMALL)["problems"] == []


def test_a_page_sees_only_what_is_new(served: Served, done: str) -> None:
    state = get(served, "state", id=done)
    assert (state["state"], state["done"], state["total"], state["is_complete"]) == ("done", 5, 5, True)
    assert [(one["epoch"], one["strength"]) for one in state["cells"]] == [(0, 0), (1, 0.5), (1, 1), (2, 0.5), (2, 1)]
    assert [one["id"] for one in state["prompts"]] == ["plain", "swaps"]
    assert state["prompts"][1]["prompt"] == "sks, 1girl, red dress, <lora:toy-NUM:STRENGTH>"
    for cell in state["cells"]:
        assert len(cell["pictures"]) == 2
        assert {"identity", "health", "copying"} <= cell["scores"].keys()
        assert all(0 <= one["mean"] <= 1 for one in cell["scores"].values())
        picture = served.get("/lora_forge/picture?" + urlencode({"path": cell["pictures"][0], "side": 64}))
        assert picture.status == 200
    assert {one["id"] for one in state["scores"]} == {"identity", "obedience", "copying", "health"}
    best = state["recommendation"]
    assert best["sentence"]
    assert (best["epoch"], best["strength"]) in {(one["epoch"], one["strength"]) for one in state["cells"]}
    assert state["diagnosis"]["kind"]
    assert len(state["photos"]) == 12
    assert state["request"]["epochs"] == "1-2"
    assert get(served, "state", id=done, since=state["revision"])["cells"] == []
    row = get(served, "form", kind="toyworld")["tests"][-1]
    assert (row["id"], row["state"], row["done"], row["epoch"]) == (done, "done", 5, best["epoch"])
    assert row["picture"].startswith("anna/tests/")


def test_every_sentence_of_a_state_is_chinese_on_the_chinese_page(served: Served, done: str) -> None:
    state = get(served, "state", id=done, language="zh")
    told = [state["recommendation"]["sentence"], state["diagnosis"]["sentence"], *state["diagnosis"]["evidence"]]
    told += [one[key] for one in state["judges"] for key in ("title", "sentence")]
    told += [one[key] for one in state["scores"] for key in ("title", "sentence")]
    assert all(any("\u4e00" <= letter <= "\u9fff" for letter in text) for text in told), told
    plan = post(served, "plan", **{**SMALL, "language": "zh", "prompt": "<lora:a-NUM:STRENGTH> <lora:b-NUM:STRENGTH>"})
    assert "好几个 LoRA" in plan["problems"][0]["sentence"]


def test_stop_go_on_and_finish(served: Served) -> None:
    """A smart test of 21 cells is stopped, goes on to its end, and is then drawn whole."""
    wanted = {**SMALL, "epochs": "1-3", "strengths": "0.4-1.0", "mode": "smart", "swaps": []}
    id = post(served, "start", **wanted)["id"]
    assert served.board.snapshot()["about"] == {"project": "anna", "name": "toy", "test": id}
    post(served, "start", 409, **SMALL)
    until = time.monotonic() + 120
    while not (state := get(served, "state", id=id))["cells"] and time.monotonic() < until:
        assert state["state"] == "running"
        time.sleep(0.05)
    served.post("/lora_forge/command", {"command": "stop"})
    wait(served)
    stopped = get(served, "state", id=id)
    assert stopped["state"] == "stopped"
    assert 0 < stopped["done"] < 21
    post(served, "resume", id=id)
    wait(served)
    smart = get(served, "state", id=id)
    assert smart["state"] == "done"
    assert stopped["done"] <= smart["done"] < 22
    assert not smart["is_complete"]
    post(served, "finish", id=id)
    wait(served)
    whole = get(served, "state", id=id, since=smart["revision"])
    assert (whole["state"], whole["mode"], whole["done"], whole["total"], whole["is_complete"]) == (
        "done", "full", 22, 22, True,
    )  # fmt: skip
    assert len(whole["cells"]) == 22 - smart["done"]
    assert post(served, "remove", id=id) == {}
    assert "no test" in get(served, "state", 400, id=id)["error"]["what"]
    assert (served.desk.data_root() / "anna" / "trash" / "tests" / id / "test.json").is_file()


@pytest.mark.parametrize("what", ["grid", "heat"])
@pytest.mark.parametrize("prompt", ["plain", "swaps"])
def test_exports_are_pictures_that_carry_the_plan(served: Served, done: str, what: str, prompt: str) -> None:
    query = urlencode({"project": "anna", "id": done, "what": what, "prompt": prompt, "language": "zh"})
    got = served.get(f"/lora_forge/test/export?{query}")
    assert got.status == 200, got.body
    assert got.headers["content-type"] == "image/png"
    assert got.headers["content-disposition"].startswith("attachment; filename*=UTF-8''toy-")
    picture = Image.open(io.BytesIO(got.body))
    assert picture.width > 300
    assert "<lora:toy-000001:0.0>" in picture.info["parameters"]
    assert "lora_forge_plan" in picture.info


def test_nothing_of_another_place_is_shown(served: Served, done: str) -> None:
    for id in ("..", "../anna", "", ".", "x/../" + done, done + "\\..", "\x00"):
        assert get(served, "state", 400, id=id)["error"]["what"]
    get(served, "export", 400, id=done, what="everything")


def test_the_hosts_plot_and_a_terminal_are_told_the_same_grid(served: Served) -> None:
    from lora_forge.cli.parser import build_parser

    told = post(served, "infotext", **SMALL)
    assert told["expected"] == {
        "prompt": "sks, 1girl, blue dress, <lora:toy-000001:0.5>",
        "x": "000001, 000002",
        "y": "0.5, 1.0",
    }
    assert told["text"].startswith("sks, 1girl, blue dress, <lora:toy-000001:0.5>\n")
    assert "X Values" in told["text"]
    words = shlex.split(post(served, "command", **SMALL)["text"])
    args = build_parser().parse_args(words[1:])
    assert (args.command, args.name, args.epochs, args.strengths, args.swaps) == (
        "grid",
        "toy",
        "1-2",
        "0,0.5,1",
        "red dress",
    )
    assert Path(args.base).is_file()
