"""``lora-forge album`` on the toy world."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from lora_forge.cli import main
from lora_forge.demo import write_project
from tests.work.testing.conftest import toy_loras

__all__ = ["toy_loras"]


@pytest.fixture
def words(tmp_path: Path, toy_loras: Path) -> list[str]:
    project, base = write_project(tmp_path)
    return [
        "album",
        "--project",
        str(project.root),
        "--kind",
        "toyworld",
        "--base",
        str(base),
        "--loras",
        str(toy_loras),
    ]


def test_it_lists_the_scenes(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words[:5], "--list", "--language", "zh"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "* toy-snow  雪地: snow"
    assert sum(line.startswith("*") for line in lines) == 9


def test_it_draws_judges_and_writes_the_picture(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sheet.png"
    asked = ["--name", "toy", "--epoch", "2", "--strength", "1", "--steps", "2", "--scene", "toy-snow", "--own", "city"]
    assert main([*words, *asked, "--out", str(out), "--no-photos"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(out)
    assert [line.partition(":")[0] for line in lines[1:3]] == ["In the snow", "city"]
    assert lines[3].partition(":")[0] in ("Can't be told", "Not yet")
    with Image.open(out) as picture:
        assert picture.width > 800

    assert main([*words, *asked, "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()][-1]
    assert (told["event"], told["state"], told["done"]) == ("Album", "done", 2)
    assert main([*words, "--resume", told["id"]]) == 0


def test_what_is_missing_is_said(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "The album needs --name." in capsys.readouterr().err
    assert main([*words[:5], "--name", "toy"]) == 2
    assert "The album needs --base, --loras." in capsys.readouterr().err
