"""``lora-forge runs``: what a person and a machine see of runs that ended, failed or were cut off."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from lora_forge.cli import main
from lora_forge.dataset.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    Project.create(tmp_path / "anna")
    return tmp_path / "anna"


def planted(project: Path, name: str, *lines: dict[str, Any]) -> Path:
    folder = project / "runs" / name
    folder.mkdir(parents=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "journal.jsonl").write_text(text, encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"epochs": 2, "rank": 8, "trigger_word": "ohwx"}), encoding="utf-8")
    return folder


def step(number: int, at: float) -> dict[str, Any]:
    return {"time": at, "event": "StepDone", "step": number, "total_steps": 20, "epoch": 1, "window_mse": 0.1}


def test_runs_are_listed_newest_first_with_what_can_be_done(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(project, "old", step(9, 1000.0), {"time": 1001.0, "event": "RunEnded", "outcome": "failed", "step": 9,
            "message": "The memory is full."})  # fmt: skip
    planted(project, "new", step(5, 5000.0))
    assert main(["runs", "list", "--project", str(project)]) == 0
    told = capsys.readouterr()
    first, second, third = told.out.splitlines()
    assert first.startswith("new  interrupted  step 5 of 20  1970-01-01")
    assert second.startswith("old  failed  step 9 of 20")
    assert third == "  The memory is full."
    assert "--resume (--name new)" in told.err
    assert main(["runs", "list", "--project", str(project), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["event"], row["name"], row["state"], row["can_resume"]) for row in rows] == [
        ("Run", "new", "interrupted", True), ("Run", "old", "failed", True)
    ]  # fmt: skip
    monkeypatch.chdir(project)
    assert main(["runs", "list", "--project", "."]) == 0
    assert capsys.readouterr().out.startswith("new  interrupted")


def test_a_report_is_printed_without_places_or_words_of_the_person(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = {"event": "RunStarted", "family": "sd1", "device": "cpu", "precision": "fp32", "photos": 3}
    saved = {"event": "LoraSaved", "path": os.path.join(Path.home(), "secret place", "girl-000001.safetensors")}
    drawn = {"event": "PreviewMade", "path": "previews/x.png", "prompt": "my own words"}
    error = {"event": "RunEnded", "outcome": "failed", "message": r"C:\Users\Jane\x.png is broken"}
    many = [step(number, 10.0 + number) for number in range(3000)]
    planted(project, "girl", started, *many, saved, drawn, error)
    assert main(["runs", "report", "--project", str(project), "--name", "girl"]) == 0
    text = capsys.readouterr().out
    for words in ("family sd1", "device cpu", "rank = 8", "LoraSaved: path girl-000001.safetensors", "x.png is broken"):
        assert words in text
    for secret in ("secret", "my own words", "ohwx", "Jane", str(project.parent)):
        assert secret not in text
    assert text.count("StepDone") == 10
    assert main(["runs", "report", "--project", str(project), "--name", "girl", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["text"]
    one, other = (re.sub(r"[\d.]+ GB free", "GB free", said.strip()) for said in (again, text))  # it changes meanwhile
    assert one == other


def test_a_run_is_moved_to_the_trash(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted(project, "girl", step(1, 1.0))
    assert main(["runs", "remove", "--project", str(project), "--name", "girl"]) == 0
    assert (project / "trash" / "runs" / "girl" / "config.json").is_file()
    assert main(["runs", "remove", "--project", str(project), "--name", "girl"]) == 1
    assert "no run named girl" in capsys.readouterr().err
