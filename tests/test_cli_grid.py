"""``lora-forge grid`` with scores, on the toy world."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from lora_forge.__main__ import main
from lora_forge.demo import write_project
from tests.work.testing.conftest import toy_loras

__all__ = ["toy_loras"]

pytestmark = pytest.mark.once


def test_a_scored_grid_says_what_to_keep(tmp_path: Path, toy_loras: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project, base = write_project(tmp_path / "demo")
    shutil.copytree(toy_loras, tmp_path / "loras")
    words = ["grid", "--base", str(base), "--loras", str(tmp_path / "loras"), "--name", "toy", "--epochs", "1-2"]
    words += ["--strengths", "0.5,1", "--steps", "2", "--prompt", "ohwx, 1girl, blue dress", "--swaps", "red dress"]
    words += ["--out", str(tmp_path / "grid.png"), "--cells", str(tmp_path / "cells")]
    words += ["--heat", str(tmp_path / "heat.png"), "--project", str(project.root), "--kind", "toyworld"]
    assert main([*words, "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = [one["event"] for one in events]
    assert kinds.count("CellScored") == 5
    judges = next(one for one in events if one["event"] == "Judges")
    assert set(judges["judges"]) == {"identity", "obedience", "copying", "health"}
    kept = next(one for one in events if one["event"] == "Recommended")
    assert (kept["epoch"], kept["strength"]) in {(1, 0.5), (1, 1), (2, 0.5), (2, 1)}
    assert next(one for one in events if one["event"] == "Diagnosed")["sentence"]
    assert len(list((tmp_path / "cells").glob("*.png"))) == 10
    with Image.open(tmp_path / "grid.png") as grid, Image.open(tmp_path / "heat.png") as heat:
        assert grid.info["parameters"].startswith("ohwx, 1girl, blue dress <lora:toy-000001:0.0>")
        assert heat.width > 500
    assert main([*words, "--smart"]) == 0  # in words, and from the kept cells
    told = capsys.readouterr()
    assert str(tmp_path / "grid.png") in told.out
    assert "identity:" in told.err
    assert kept["sentence"] in told.out


def test_scores_need_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["grid", "--base", "x.safetensors", "--loras", ".", "--name", "toy", "--prompt", "x", "--out", "g.png"]
    assert main([*words, "--smart"]) == 2
    assert "Say --project DIR" in capsys.readouterr().err
