"""``lora-forge trial`` on a tiny random SD1 checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from lora_forge.cli import main
from tests.model import ldm
from tests.train import full

SMALL = ["--resolution", "64", "--rank", "2", "--set", "bucket_min_px=64", "--set", "preview_every_steps=0"]


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    base = ldm.save(
        tmp_path / "tiny.safetensors", ldm.random_state(ldm.checkpoint(ldm.TOY_SD1)), {"lora_forge.te_heads": "4"}
    )
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (80, 80), (80, 60, 200)).save(tmp_path / "photos" / "a.png")
    assert main(["import", str(tmp_path / "photos"), "--project", str(tmp_path / "project")]) == 0
    return ["trial", "--project", str(tmp_path / "project"), "--base", str(base), *SMALL]


def test_it_says_that_it_fits_and_how_fast_it_is(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (events[-1]["event"], events[-1]["fits"], events[-1]["ladder"]) == ("Tried", True, [])
    assert events[-1]["step_s"] > 0
    assert main(words) == 0
    assert "fits: " in capsys.readouterr().out


def test_what_does_not_fit_comes_with_what_to_lower(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An optimizer that finds no room, at its second step: the first one is asked of it to see how fast it is."""
    fuse = full.Fuse(calls=1, times=9)
    with full.full_at(None, "optimizer", fuse):  # type: ignore[arg-type]
        assert main([*words, "--set", "batch_size=2"]) == 1
    out = capsys.readouterr().out
    assert "It does not fit: the memory was full while the weights were updated." in out
    assert "--set gradient_checkpointing=on" in out
    assert "--set batch_size=1 --set gradient_accumulation=2" in out
