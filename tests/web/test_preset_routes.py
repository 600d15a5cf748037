"""The Train form by HTTP: what it shows, what it keeps, and presets of a person's own."""

from __future__ import annotations

import dataclasses
from typing import Any

from lora_forge.config import TrainConfig
from tests.web.conftest import Served


def form_of(server: Served, **more: str) -> Any:
    query = "&".join(f"{name}={value}" for name, value in {"project": "anna", **more}.items())
    got = server.get(f"/lora_forge/train/form?{query}")
    assert got.status == 200, got.json
    return got.json


def test_the_form_shows_every_setting_with_its_default(open_server: Served) -> None:
    form = form_of(open_server)
    names = {one.name for one in dataclasses.fields(TrainConfig)}
    assert (form["project"], form["photos"], form["family"], form["kind"]) == ("anna", 1, "sd1", "person")
    assert (form["name"], form["trigger_word"]) == ("anna", "ohwx")
    assert form["knobs"] == ["repeats", "epochs", "resolution_px"]
    assert set(form["defaults"]) == names
    shown = [one["key"] for group in form["groups"] for one in group["fields"]]
    assert sorted(shown) == sorted(names - {"schema_version", "name", "trigger_word"})


def test_the_form_speaks_chinese(open_server: Served) -> None:
    form = form_of(open_server, language="zh")
    assert [group["title"] for group in form["groups"]][:3] == ["学多久", "素材与尺寸", "标签"]
    kinds = [kind["label"] for kind in form["kinds"]]
    assert kinds == ["人物", "二次元", "画风", "服装物品", "建筑或平面设计", "概念"]


def test_every_default_comes_with_its_reason(open_server: Served) -> None:
    form = form_of(open_server, kind="style")
    why = {one["key"]: one for one in form["why"]}
    assert set(why) == set(form["defaults"]) - {"schema_version", "name", "trigger_word"}
    assert why["caption_dropout"]["source"] == "ai-toolkit, kohya_ss"
    assert form["defaults"]["repeats"] == 40
    assert why["repeats"]["sentence"].endswith("here 1 x 40.")
    assert form["defaults"]["preview_every_steps"] == 40  # one photo 40 times an epoch: one preview at each end


def test_what_the_form_says_is_kept_and_shown_again(open_server: Served) -> None:
    said = {"kind": "anime", "name": "小红_v2", "trigger_word": "hong", "values": {"rank": 8, "epochs": 0}}
    kept = open_server.post("/lora_forge/train/draft", {"project": "anna", **said, "language": "zh"})
    assert (kept.status, kept.json["draft"]) == (200, said)
    form = form_of(open_server)
    assert (form["draft"], form["kind"], form["defaults"]["flip"]) == (said, "anime", True)
    path = open_server.desk.data_root() / "anna" / "train_form.json"
    path.write_text("{", encoding="utf-8")
    assert form_of(open_server)["draft"] is None
    path.unlink()
    refused = open_server.post("/lora_forge/train/draft", {"project": "anna", **said, "kind": "persn"})
    assert refused.status == 400
    odd = open_server.post("/lora_forge/train/draft", {"project": "anna", **said, "values": {"evil": 1, "rank": 8}})
    assert odd.json["draft"]["values"] == {"rank": 8}
    path.unlink()


def test_a_preset_is_kept_listed_shared_and_removed(open_server: Served) -> None:
    mine = {"name": "软 & 慢", "kind": "style", "values": {"rank": 8}}
    assert open_server.post("/lora_forge/presets/save", mine).status == 200
    assert form_of(open_server)["presets"] == [{"name": "软 & 慢", "kind": "style", "changed": 1}]
    query = "name=%E8%BD%AF%20%26%20%E6%85%A2"
    assert open_server.get(f"/lora_forge/presets/one?{query}").json == mine
    file = open_server.get(f"/lora_forge/presets/file?{query}")
    assert file.headers["content-disposition"] == "attachment; filename*=UTF-8''%E8%BD%AF%20%26%20%E6%85%A2.json"
    sent = {"text": file.body.decode("utf-8"), "file_name": "软 & 慢.json"}
    back = open_server.post("/lora_forge/presets/import", sent).json
    assert (back["kind"], back["values"], back["taken"], back["left"]) == ("style", {"rank": 8}, ["rank"], [])
    assert open_server.post("/lora_forge/presets/remove", {"name": "软 & 慢"}).status == 200
    assert form_of(open_server)["presets"] == []
    gone = open_server.get(f"/lora_forge/presets/one?{query}&language=zh")
    assert (gone.status, gone.json["error"]["what"]) == (400, "没有名为 '软 & 慢' 的自建预设。")


def test_what_a_file_of_another_trainer_means_otherwise_is_said_in_the_language(open_server: Served) -> None:
    sent = {"text": "network_dim = 16\nnetwork_alpha = 8\nlr_warmup_steps = 0.1\n", "file_name": "a.toml"}
    found = open_server.post("/lora_forge/presets/import", {**sent, "language": "zh"}).json
    assert found["values"] == {"rank": 16, "alpha": 8.0}
    why = "那边是占全程的比例，这里是步数。"
    assert found["left"] == [{"key": "lr_warmup_steps", "value": "0.1", "why": why}]
    assert open_server.post("/lora_forge/presets/import", {"text": "{", "file_name": "a.json"}).status == 400


def test_unknown_projects_and_kinds_are_refused(open_server: Served) -> None:
    assert open_server.get("/lora_forge/train/form?project=nobody").status == 400
    assert open_server.get("/lora_forge/train/form?project=anna&kind=persn").status == 400
    assert open_server.post("/lora_forge/presets/save", {"name": "../x", "kind": "person", "values": {}}).status == 400
