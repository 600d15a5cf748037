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
