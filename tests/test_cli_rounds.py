"""``lora-forge rounds``: the runs and the advice, for a person and for a machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_forge.cli import main
from lora_forge.config import Family, TrainConfig
from lora_forge.dataset.project import Project
from lora_forge.ports import BaseInfo
from tests.work.planted_rounds import keep_test

INFO = BaseInfo("tiny", Family.SD1, "epsilon", "made so")


def planted(root: Path) -> Project:
    """A run that is done, with its state."""
    project = Project.create(root, "ohwx")
    folder = project.runs_dir / "girl"
    (folder / "state").mkdir(parents=True)
    (folder / "state" / "step-00000200.safetensors").write_bytes(bytes(3_000_000))
    TrainConfig(name="girl", repeats=1, epochs=10).save(folder / "config.json")
    lines = [
        {"time": 1.0, "event": "StepDone", "step": 200, "total_steps": 200, "epoch": 10, "window_mse": 0.1},
        {"time": 2.0, "event": "RunEnded", "outcome": "done", "step": 200, "files": []},
    ]
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return project


def test_the_rounds_and_the_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = planted(tmp_path / "anna")
    command = ["rounds", "--project", str(project.root)]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[0] == "girl  repeats 1, 10 epochs, 200 steps  not tested"
    id = keep_test(project, "girl", INFO, lambda epoch: 0.3 + 0.02 * epoch)
    assert main(command) == 0
    text = capsys.readouterr().out
    first, rest = text.splitlines()[0], text.splitlines()[1:]
    assert first == "girl  repeats 1, 10 epochs, 200 steps  64 % in epoch 10 at strength 1"
    assert any(
        line.startswith("girl: Not enough was learned: the best, epoch 10 at strength 1, has 6") for line in rest
    )
    assert [line for line in rest if line.startswith("->")] == [
        "-> Repeats 1 to 2: A new run, each photo 2 times an epoch instead of 1: 400 steps instead of 200."
    ]
    assert "     The state that this goes on from takes 3.0 MB, for as long as the run is kept." in rest
    assert main([*command, "--test", id, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["event"], told["test"]) == ("Rounds", id)
    assert told["advice"]["choices"][0]["changes"] == {"repeats": 2}


def test_a_test_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = planted(tmp_path / "anna")
    assert main(["rounds", "--project", str(project.root), "--test", "nothing"]) == 2
    assert "no test nothing" in capsys.readouterr().err
