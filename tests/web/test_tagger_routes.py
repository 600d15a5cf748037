"""Automatic tags and downloads, asked from outside by plain HTTP."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from lora_forge.dataset.project import Project
from lora_forge.toyworld.world import Look, draw, tags
from tests.downloads.server import FileServer
from tests.web.conftest import Served

WAIT_S = 60.0
NUMBERS = itertools.count()
LOOKS = [Look(hair="red", style="long"), Look(hair="blue", smile=True, place="beach")]


@pytest.fixture
def project(open_server: Served) -> Project:
    made = Project.create(open_server.desk.data_root() / f"标签 {next(NUMBERS)}", "ohwx")
    for number, look in enumerate(LOOKS):
        draw(look).resize((256, 256), 0).save(made.images_dir / "photos" / f"{number}.png")
    return made


def chore(served: Served, body: dict[str, Any], path: str) -> dict[str, Any]:
    """The board when the chore is over."""
    got = served.post(f"/lora_forge/{path}", body)
    assert got.status == 200, got.body
    ends = time.monotonic() + WAIT_S
    while time.monotonic() < ends:
        board = served.get("/lora_forge/status?board=chores&language=zh").json
        if board["state"] in ("done", "stopped", "failed"):
            return board
        time.sleep(0.02)
    raise AssertionError("never over")


def test_taggers_are_listed_in_both_languages(open_server: Served) -> None:
    english = open_server.get("/lora_forge/taggers").json["taggers"]
    chinese = open_server.get("/lora_forge/taggers?language=zh").json["taggers"]
    assert [one["id"] for one in english] == [one["id"] for one in chinese]
    toy = next(one for one in english if one["id"] == "toyworld")
    assert (toy["state"], toy["kind"], toy["thresholds"]) == ("ready", "tags", {"general": 0.5, "character": 0.5})
    missing = next(one for one in chinese if one["id"] == "wd-vit-tagger-v3")
    assert missing["state"] == "missing"
    assert "下载" in missing["sentence"]


def test_a_run_is_a_chore_and_previews_follow_the_sliders(open_server: Served, project: Project) -> None:
    body = {"project": project.root.name, "tagger": "toyworld", "general": 0.5, "drop_overlaps": False}
    before = open_server.post("/lora_forge/taggers/preview", body).json
    assert before == {"tags": {}, "missing": ["photos/0.png", "photos/1.png"]}
    assert chore(open_server, {**body, "only_scores": True}, "taggers/run")["state"] == "done"
    assert [photo.caption for photo in project.photos()] == ["", ""]
    assert open_server.post("/lora_forge/taggers/preview", body).json["missing"] == []
    assert chore(open_server, body, "taggers/run")["state"] == "done"
    assert [set(photo.caption.split(", ")) for photo in project.photos()] == [{"ohwx", *tags(look)} for look in LOOKS]
    slid = {**body, "keys": ["photos/1.png"], "general": 1.0, "add": ["art"], "mode": "replace"}
    assert open_server.post("/lora_forge/taggers/preview", slid).json == {
        "tags": {"photos/1.png": ["ohwx", "art"]}, "missing": [],
    }  # fmt: skip
    assert len(project.photos()[1].caption) > 20, "a preview writes nothing"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"general": 2}, "from 0 to 1"),
        ({"general": "x"}, "from 0 to 1"),
        ({"mode": "add"}, "no mode"),
        ({"exclude": ["/(/"]}, "pattern"),
        ({"exclude": "hat"}, "exclude must be a list"),
        ({"keys": ["photos/none.png"]}, "There is no photo"),
        ({"tagger": "wd-vit-tagger-v3"}, "is not on this machine"),
        ({"project": "nobody"}, "nobody"),
    ],
)
def test_what_is_wrong_is_said(open_server: Served, project: Project, change: dict[str, Any], why: str) -> None:
    body = {"project": project.root.name, "tagger": "toyworld", **change}
    got = open_server.post("/lora_forge/taggers/preview", body)
    assert got.status == 400
    assert why in got.json["error"]["what"]


def test_a_run_without_its_tagger_is_refused_at_once(open_server: Served, project: Project) -> None:
    got = open_server.post("/lora_forge/taggers/run", {"project": project.root.name, "tagger": "wd-vit-tagger-v3"})
    assert got.status == 400
    assert "is not on this machine" in got.json["error"]["what"]


def test_downloads_are_listed_with_terms_and_mirrors(open_server: Served) -> None:
    got = open_server.get("/lora_forge/downloads?language=zh").json
    packs = [one for one in got["downloads"] if one["kind"] == "faces"]
    assert {one["id"] for one in packs} == {"buffalo_l", "buffalo_s", "buffalo_sc", "antelopev2"}
    assert all(one["needs_licence"] and "非商业" in one["terms"] and one["state"] == "absent" for one in packs)
    wd = next(one for one in got["downloads"] if one["id"] == "wd-vit-tagger-v3")
    assert (wd["needs_licence"], wd["has_checksum"], wd["terms"]) == (False, True, "")


def test_a_pack_needs_its_terms_accepted(open_server: Served) -> None:
    got = open_server.post("/lora_forge/downloads/start", {"id": "buffalo_sc"})
    assert got.status == 400
    assert "non-commercial research only" in got.json["error"]["what"]


def test_a_mirror_is_set_asked_and_its_wrong_file_refused(open_server: Served) -> None:
    server = FileServer({})
    try:
        got = open_server.post("/lora_forge/downloads/mirror", {"url": server.url})
        assert got.json["mirror"] == server.url
        board = chore(open_server, {"id": "wd-vit-tagger-v3", "accept_licence": False}, "downloads/start")
        assert board["state"] == "failed"
        assert "404" in board["error"]["what"]
        assert server.asked[0][0].startswith("/SmilingWolf/wd-vit-tagger-v3/resolve/")
    finally:
        server.close()
        assert open_server.post("/lora_forge/downloads/mirror", {"url": ""}).json["mirror"] == ""
    assert open_server.post("/lora_forge/downloads/mirror", {"url": "no"}).status == 400


def test_a_file_of_this_machine_may_be_named_only_where_that_is_allowed(open_server: Served, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    got = open_server.post(
        "/lora_forge/downloads/use", {"id": "wd-vit-tagger-v3", "path": str(tmp_path / "model.onnx")}
    )
    assert got.status in (400, 403)
    assert open_server.get("/lora_forge/downloads").json["downloads"][0]["state"] == "absent"
