"""Keeping and the tools on LoRA files from a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_forge.cli import main
from lora_forge.dataset.project import Project
from lora_forge.lora_file.writer import load_lora
from tests.lora_file.adapters import write_file
from tests.lora_file.test_facts import KOHYA, SD1
from tests.work.kept import contents, make_run


@pytest.fixture
def places(tmp_path: Path) -> tuple[str, str]:
    """A project's folder, and one of LoRA files."""
    Project.create(tmp_path / "data" / "anna", "ohwx")
    make_run(tmp_path / "loras")
    return str(tmp_path / "data" / "anna"), str(tmp_path / "loras")


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_keep_list_and_undo(places: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    project, loras = places
    where = ["--project", project, "--loras", loras]
    before = contents(Path(loras))
    assert main(["keep", *where, "--name", "girl", "--epoch", "2", "--strength", "0.8", "--bake", "--json"]) == 0
    made = told(capsys)
    assert Path(str(made["file"])).name == "girl.safetensors"
    card = json.loads((Path(loras) / "girl.json").read_text("utf-8"))
    assert (card["activation text"], card["preferred weight"]) == ("ohwx, 1girl", 1.0)
    assert main(["keep", *where, "--list"]) == 0
    assert str(made["undo"]) in capsys.readouterr().out
    assert main(["keep", *where, "--undo", str(made["undo"])]) == 0
    assert "7 files are back" in capsys.readouterr().out
    assert contents(Path(loras)) == before


def test_what_is_missing_is_said(places: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    project, loras = places
    where = ["--project", project, "--loras", loras]
    assert main(["keep", *where, "--name", "girl"]) == 2
    assert main(["keep", *where, "--name", "girl", "--epoch", "9"]) == 1
    assert "no epoch 9 of girl" in capsys.readouterr().err
    assert main(["keep", *where, "--undo", "nothing"]) == 1


def test_facts_of_another_trainers_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_file(tmp_path / "miku.safetensors", SD1, KOHYA)
    assert main(["lora", "facts", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "For models: SD1.x" in shown
    assert "1girl (20), miku (20)" in shown
    assert "  rank = 64" in shown
    assert main(["lora", "facts", str(path), "--json"]) == 0
    assert told(capsys)["trigger_word"] == "miku"


def test_resize_and_merge(places: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (str(Path(places[1]) / f"girl-00000{number}.safetensors") for number in (1, 2))
    assert main(["lora", "resize", one, "--rank", "2", "--new-name", "small", "--json"]) == 0
    made = told(capsys)
    assert 0 < float(str(made["whole"])) <= float(str(made["worst"])) < 1
    assert {module.rank for module in load_lora(Path(places[1]) / "small.safetensors").weights.values()} == {2}
    assert main(["lora", "merge", one, two, "--strengths", "0.8", "0.4", "--new-name", "both"]) == 0
    assert "of the exact sum" in capsys.readouterr().out
    assert main(["lora", "merge", one, two, "--new-name", "both"]) == 1
    assert "exists already" in capsys.readouterr().err
