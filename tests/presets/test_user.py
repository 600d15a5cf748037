"""Presets of a person's own: kept, replaced, removed to the trash, and no name that leaves the folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_forge.errors import ConfigError
from lora_forge.presets.user import Presets, UserPreset, parse


def test_a_preset_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    presets = Presets(tmp_path)
    mine = UserPreset("我的 预设", "style", {"rank": 64, "preview_prompts": ["a", "b"]})
    presets.save(mine)
    assert presets.every() == [mine] == [presets.one("我的 预设")]
    assert parse(json.loads((tmp_path / "presets" / "我的 预设.json").read_text(encoding="utf-8"))) == mine


def test_what_is_replaced_or_removed_is_in_the_trash(tmp_path: Path) -> None:
    presets = Presets(tmp_path)
    for rank in (8, 16, 32):
        presets.save(UserPreset("soft", "person", {"rank": rank}))
    presets.remove("soft")
    assert presets.every() == []
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "trash" / "presets").iterdir()]
    assert sorted(one["values"]["rank"] for one in kept) == [8, 16, 32]
    with pytest.raises(ConfigError, match="no preset of yours named 'soft'"):
        presets.remove("soft")


@pytest.mark.parametrize(
    "name", ["", ".", "../evil", "a/b", "a\\b", "C:x", "con", "NUL.txt", "a\0b", " a", "a.", "x" * 130]
)
def test_names_that_are_no_plain_files_are_refused(tmp_path: Path, name: str) -> None:
    presets = Presets(tmp_path)
    for act in (lambda: presets.save(UserPreset(name, "person")), lambda: presets.one(name)):
        with pytest.raises(ConfigError, match="can't be called"):
            act()
    assert list(tmp_path.rglob("*.json")) == []


def test_what_is_no_preset_is_refused_or_left_out(tmp_path: Path) -> None:
    presets = Presets(tmp_path)
    with pytest.raises(ConfigError, match="no preset 'persn'"):
        presets.save(UserPreset("a", "persn"))
    with pytest.raises(ConfigError, match="name is no setting"):
        presets.save(UserPreset("a", "person", {"name": "evil"}))
    with pytest.raises(ConfigError, match="can't be kept"):
        presets.save(UserPreset("a", "person", {"alpha": float("nan")}))
    (tmp_path / "presets").mkdir()
    texts = ("{", "[]", '{"format": "lora-forge-preset"}', '{"format": "lora-forge-preset", "name": 1}')
    for number, text in enumerate(texts):
        (tmp_path / "presets" / f"{number}.json").write_text(text, encoding="utf-8")
    assert presets.every() == []


def test_a_file_that_was_renamed_goes_by_its_new_name(tmp_path: Path) -> None:
    presets = Presets(tmp_path)
    presets.save(UserPreset("old", "person", {"rank": 8}))
    (tmp_path / "presets" / "old.json").rename(tmp_path / "presets" / "new.json")
    assert [one.name for one in presets.every()] == ["new"]
