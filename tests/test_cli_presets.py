"""``lora-forge presets``: listed, shown with reasons, kept, and read from other trainers' files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_forge.cli import main


def ask(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, Any]:
    code = main([*args, "--json"])
    lines = capsys.readouterr().out.splitlines()
    return code, [json.loads(line) for line in lines]


def test_presets_are_kept_shown_and_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ("--data", str(tmp_path / "data"))
    code, told = ask(capsys, "presets", "save", "soft", "--kind", "style", "--set", "rank=8", "flip=no", *data)
    assert (code, told[0]["values"]) == (0, {"rank": 8, "flip": False})
    file = tmp_path / "theirs.toml"
    file.write_text("network_dim = 16\nnetwork_alpha = 8\nxformers = true\n", encoding="utf-8")
    code, told = ask(capsys, "presets", "import", str(file), "--name", "theirs", *data)
    assert (code, told[0]["values"], told[0]["left"][0]["key"]) == (0, {"rank": 16, "alpha": 8.0}, "xformers")
    code, told = ask(capsys, "presets", "list", *data)
    assert [one["name"] for one in told[0]["own"]] == ["soft", "theirs"]
    code, told = ask(capsys, "presets", "show", "soft", "--family", "sdxl", *data)
    assert (told[0]["kind"], told[0]["values"]["rank"], told[0]["values"]["resolution_px"]) == ("style", 8, 1024)
    assert told[0]["why"]["resolution_px"]["why"] == "The size SDXL was made for."


@pytest.mark.parametrize(
    "args", [("show", "nobody"), ("save", "../x", "--set", "rank=8"), ("save", "x", "--set", "rnak=8")]
)
def test_what_can_not_be_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...]) -> None:
    assert main(["presets", *args, "--data", str(tmp_path)]) == 2
    assert "error:" in capsys.readouterr().err
    assert list(tmp_path.rglob("*.json")) == []


def test_every_line_of_a_preset_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "show", "person", "--language", "zh", "--data", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "learning_rate = 0.0001    学习率" in out
    assert "几乎所有方案都认同的一个数字。 [sd-webui-traintrain" in out
