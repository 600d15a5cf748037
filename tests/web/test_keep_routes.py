"""Keeping, the archive and the tools on LoRA files, asked from outside by plain HTTP."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import torch

from lora_forge.dataset.project import Project
from lora_forge.lora_file.writer import load_lora, save_lora
from tests.lora_file.adapters import both, write_file
from tests.web.conftest import Served
from tests.work.kept import METADATA, contents, make_run, picture

NUMBERS = itertools.count()
SDXL = {"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 1280)}


@pytest.fixture
def name(open_server: Served) -> str:
    """A project with a run whose files are in the Lora folder; both have this name."""
    made = f"girl{next(NUMBERS)}"
    project = Project.create(open_server.desk.data_root() / made, "ohwx")
    make_run(open_server.desk.lora_dir(), made)
    folder = project.runs_dir / made
    picture(folder / "previews" / "step-00000030-1.png")
    (folder / "run.json").write_text("{}")
    lines = [
        {"event": "PreviewMade", "time": 1, "path": "step-00000030-1.png", "step": 30, "prompt": "ohwx", "column": 1}
    ]
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return made


def form(served: Served, name: str, **more: Any) -> Any:
    query = "".join(f"&{key}={quote(str(value))}" for key, value in more.items())
    got = served.get(f"/lora_forge/keep/form?project={name}{query}")
    assert got.status == 200, got.body
    return got.json


def asked(name: str, **more: Any) -> dict[str, Any]:
    return {"project": name, "name": name, "epoch": 2, "strength": 0.8, "new_name": name, "activation": "ohwx", **more}


def test_the_form_the_keeping_and_the_way_back(open_server: Served, name: str) -> None:
    loras = open_server.desk.lora_dir()
    before = contents(loras)
    told = form(open_server, name, epoch=2, strength=0.8)
    assert (told["epochs"], told["epoch"], told["strength"], told["new_name"]) == ([1, 2, 3], 2, 0.8, name)
    assert told["activation"] == "ohwx, 1girl"
    assert told["pictures"] == [f"{name}/runs/{name}/previews/step-00000030-1.png"]
    assert len(told["others"]) == 7
    got = open_server.post("/lora_forge/keep/keep", asked(name, bake=True, picture=told["pictures"][0], weight=None))
    assert got.status == 200, got.body
    assert got.json["file"] == f"{name}.safetensors"
    assert sorted(got.json["archived"]) == sorted(told["others"])
    card = json.loads((loras / f"{name}.json").read_text("utf-8"))
    assert (card["preferred weight"], card["activation text"]) == (1.0, "ohwx")
    assert (loras / f"{name}.png").is_file()
    assert form(open_server, name)["epochs"] == []
    (row,) = [one for one in got.json["archive"] if one["name"] == name]
    assert (row["id"], row["files"], row["is_unfinished"]) == (got.json["undo"], 7, False)
    back = open_server.post("/lora_forge/keep/undo", {"id": row["id"], "language": "zh"})
    assert "全部恢复" in back.json["sentence"]
    assert contents(loras) == before
    again = open_server.post("/lora_forge/keep/undo", {"id": row["id"]})
    assert again.status == 400


def test_what_the_board_or_the_queue_holds_is_refused(open_server: Served, name: str) -> None:
    from threading import Event

    end = Event()

    def work(emit: Any, commands: Any) -> str:
        end.wait(30)
        return "done"

    open_server.board.start("x", work, {"project": name, "name": name})
    try:
        got = open_server.post("/lora_forge/keep/keep", asked(name))
        assert got.status == 400
        assert "at work or waits" in got.json["error"]["what"]
    finally:
        end.set()
        open_server.board.join(10)
    assert open_server.post("/lora_forge/keep/keep", asked(name)).status == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"strength": "x"},
        {"strength": None},
        {"strength": 0, "bake": True},
        {"epoch": "2"},
        {"new_name": "../out"},
        {"new_name": ""},
        {"picture": "../../private.png"},
        {"picture": "nowhere/x.png"},
        {"project": "nobody"},
        {"name": "../girl"},
    ],
)
def test_what_can_not_be_is_refused_in_words(open_server: Served, name: str, changes: dict[str, Any]) -> None:
    before = contents(open_server.desk.lora_dir())
    got = open_server.post("/lora_forge/keep/keep", {**asked(name), **changes})
    assert got.status == 400
    assert got.json["error"]["what"]
    assert contents(open_server.desk.lora_dir()) == before


def chore(served: Served, route: str, body: dict[str, Any]) -> Any:
    """What the chore said at its end."""
    got = served.post(f"/lora_forge/{route}", body)
    assert got.status == 200, got.body
    until = time.monotonic() + 60
    while True:
        told = served.get("/lora_forge/status?board=chores").json
        if told["state"] in ("done", "failed", "stopped"):
            return {**told, "file": got.json["file"]}
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_file_is_listed_read_lowered_and_merged(open_server: Served) -> None:
    loras = open_server.desk.lora_dir()
    (loras / "tools").mkdir(exist_ok=True)
    for number, file in enumerate(("one", "two")):
        save_lora(loras / "tools" / f"{file}.safetensors", both(4, number, torch.float16), METADATA)
    write_file(loras / "tools" / "xl.safetensors", SDXL)
    (loras / "tools" / "torn.safetensors").write_bytes(b"torn")
    rows = {row["file"]: row for row in open_server.get("/lora_forge/loras/list").json["files"]}
    one = rows["tools/one.safetensors"]
    assert (one["kind"], one["family"], one["rank"], one["trigger_word"]) == ("LoCon", "SD1.x", 4, "ohwx")
    assert rows["tools/xl.safetensors"]["family"] == "SDXL"
    assert not rows["tools/torn.safetensors"]["is_readable"]
    facts = open_server.get("/lora_forge/loras/facts?file=tools/one.safetensors&language=zh").json
    assert {"key": "family", "label": "适用底模", "value": "SD1.x"} in facts["rows"]
    assert [one["word"] for one in facts["trigger_words"]] == ["1girl", "ohwx", "smile"]
    assert facts["settings"]["repeats"] == 10

    told = chore(open_server, "loras/resize", {"file": "tools/one.safetensors", "rank": 2})
    assert (told["state"], told["file"]) == ("done", "one_r2.safetensors")
    assert any("rank 2" in line["text"] and "Off by" in line["text"] for line in told["log"])
    assert {module.rank for module in load_lora(loras / "tools" / "one_r2.safetensors").weights.values()} == {2}

    wanted = {"first": "tools/one.safetensors", "second": "tools/two.safetensors", "second_strength": 0.5, "rank": None}
    told = chore(open_server, "loras/merge", {**wanted, "new_name": "both"})
    assert told["state"] == "done"
    assert {module.rank for module in load_lora(loras / "tools" / "both.safetensors").weights.values()} == {8}
    again = open_server.post("/lora_forge/loras/merge", {**wanted, "new_name": "both"})
    assert (again.status, "exists already" in again.json["error"]["what"]) == (400, True)
    mixed = open_server.post("/lora_forge/loras/merge", {**wanted, "second": "tools/xl.safetensors"})
    assert (mixed.status, "SDXL" in mixed.json["error"]["what"]) == (400, True)


@pytest.mark.parametrize(
    "body",
    [
        {"file": "tools/one.safetensors"},
        {"file": "tools/one.safetensors", "rank": 2, "keep_share": 0.5},
        {"file": "tools/one.safetensors", "rank": 0},
        {"file": "tools/one.safetensors", "rank": True},
        {"file": "../data/anna/project.json", "rank": 2},
        {"file": "nobody.safetensors", "rank": 2},
        {"rank": 2},
    ],
)
def test_a_wrong_wish_is_refused(open_server: Served, body: dict[str, Any]) -> None:
    got = open_server.post("/lora_forge/loras/resize", body)
    assert (got.status, bool(got.json["error"]["what"])) == (400, True)


def test_nothing_outside_the_lora_folder_is_read(open_server: Served) -> None:
    outside = open_server.desk.root / "secret.safetensors"
    save_lora(outside, both(2), {"ss_sd_model_name": "secret"})
    for file in ("../secret.safetensors", str(outside), "..%2Fsecret.safetensors", ""):
        assert open_server.get(f"/lora_forge/loras/facts?file={file}").status == 400


def test_without_a_login_nothing_answers(locked_server: Served) -> None:
    for route in ("keep/form?project=anna", "loras/list", "loras/facts?file=x"):
        assert locked_server.get(f"/lora_forge/{route}").status == 401
    for route in ("keep/keep", "keep/undo", "keep/go_on", "loras/resize", "loras/merge"):
        assert locked_server.post(f"/lora_forge/{route}", {}).status == 401


def test_a_keep_that_was_cut_off_is_finished(open_server: Served, name: str) -> None:
    """As a program leaves it that was killed in the middle: the manifest says ``keeping``."""
    got = open_server.post("/lora_forge/keep/keep", asked(name)).json
    folder = open_server.desk.data_root() / "archive" / got["undo"]
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    (folder / "manifest.json").write_text(json.dumps({**manifest, "state": "keeping"}), "utf-8")
    Path(folder / "files" / f"{name}-000003.safetensors").rename(
        open_server.desk.lora_dir() / f"{name}-000003.safetensors"
    )
    (row,) = [one for one in form(open_server, name)["archive"] if one["id"] == got["undo"]]
    assert row["is_unfinished"]
    done = open_server.post("/lora_forge/keep/go_on", {"id": got["undo"]})
    assert done.status == 200
    assert not (open_server.desk.lora_dir() / f"{name}-000003.safetensors").exists()
    assert not any(one["is_unfinished"] for one in done.json["archive"])
