"""The command line end to end on a tiny random SD1 checkpoint: train, resume, grid; what a machine and a person see."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file

from lora_forge.cli import main
from tests.model import ldm

SMALL = ["--resolution", "64", "--rank", "2", "--set", "bucket_min_px=64", "--set", "validation_photos=0"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "tiny.safetensors"
    return ldm.save(path, ldm.random_state(ldm.checkpoint(ldm.TOY_SD1)), {"lora_forge.te_heads": "4"})


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        Image.new("RGB", (80, 80), (80 * number, 60, 200)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"ohwx, tag {number}", encoding="utf-8")
    return folder


@pytest.fixture
def project(photos: Path, tmp_path: Path) -> Path:
    assert main(["import", str(photos), "--project", str(tmp_path / "project"), "--trigger", "ohwx"]) == 0
    return tmp_path / "project"


def train_words(project: Path, base: Path, *more: str) -> list[str]:
    places = ["--project", str(project), "--base", str(base), "--name", "girl", "--out", str(project.parent / "loras")]
    return ["train", *places, *SMALL, *more]


def said(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_from_photos_to_a_grid(project: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(train_words(project, base, "--epochs", "2", "--repeats", "1", "--json")) == 0
    events = said(capsys.readouterr().out)
    names = [event["event"] for event in events]
    assert names.count("StepDone") == 6
    assert [Path(event["path"]).name for event in events if event["event"] == "LoraSaved"] == [
        "girl-000001.safetensors",
        "girl-000002.safetensors",
    ]
    assert (events[-1]["event"], events[-1]["outcome"]) == ("RunEnded", "done")
    settings = json.loads((project / "runs" / "girl" / "config.json").read_text(encoding="utf-8"))
    assert (settings["rank"], settings["alpha"], settings["trigger_word"], settings["repeats"]) == (2, 1.0, "ohwx", 1)

    grid = ["grid", "--base", str(base), "--loras", str(tmp_path / "loras"), "--name", "girl", "--epochs", "1-2"]
    grid += ["--strengths", "0,1", "--steps", "2", "--width", "64", "--height", "64", "--prompt", "ohwx, snow"]
    assert main([*grid, "--out", str(tmp_path / "pictures" / "grid.png"), "--json"]) == 0
    drawn = said(capsys.readouterr().out)
    assert sum(event["event"] == "CellDrawn" for event in drawn) == 3  # the baseline is one cell for all epochs
    with Image.open(tmp_path / "pictures" / "grid.png") as picture:
        assert "<lora:girl-000001:0.0>" in picture.info["parameters"]  # the first of both axes, as X/Y/Z wants it


@pytest.mark.slow
def test_the_config_of_a_run_gives_the_same_files_again(project: Path, base: Path) -> None:
    assert main(train_words(project, base, "--epochs", "1", "--repeats", "1", "--seed", "3")) == 0
    first = load_file(project.parent / "loras" / "girl-000001.safetensors")
    config = project / "runs" / "girl" / "config.json"
    places = ["--project", str(project), "--base", str(base), "--name", "again", "--out", str(project.parent / "again")]
    assert main(["train", *places, "--config", str(config)]) == 0
    second = load_file(project.parent / "again" / "again-000001.safetensors")
    assert first.keys() == second.keys()
    assert all(bool((first[key] == second[key]).all()) for key in first)


@pytest.mark.slow
def test_a_name_that_is_taken_is_refused_and_resuming_nothing_too(
    project: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train_words(project, base, "--resume")) == 1
    assert "no run named girl to resume" in capsys.readouterr().err
    words = train_words(project, base, "--epochs", "1", "--repeats", "1")
    assert main(words) == 0
    assert main(words) == 1
    assert "error: " in capsys.readouterr().err


def test_a_base_that_is_no_checkpoint_is_named(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"\x80\x02}q\x00.")
    assert main(train_words(project, tmp_path / "model.ckpt")) == 1
    assert "pickle" in capsys.readouterr().err
    assert main(train_words(project, tmp_path / "none.safetensors")) == 1
    assert "none.safetensors" in capsys.readouterr().err


def test_a_setting_out_of_range_is_wrong_usage(project: Path, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(train_words(project, base, "--set", "rank=0", "--preset", "person")) == 2
    assert "rank is 0, it must be 1 to 1024" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.once  # a resumed run's files are compared on both stacks in tests/train
@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a console, not to a process")
def test_ctrl_c_saves_and_resume_ends_in_the_same_files(project: Path, base: Path, tmp_path: Path) -> None:
    words = train_words(project, base, "--epochs", "2", "--repeats", "4", "--json")
    command = [sys.executable, "-m", "lora_forge", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if json.loads(line)["event"] == "StepDone" and json.loads(line)["step"] == 3:
                run.send_signal(signal.SIGINT)
                break
        rest = said(run.stdout.read())
        assert run.wait(timeout=120) == 130
    assert rest[-1]["outcome"] == "stopped"
    stopped_at = rest[-1]["step"]
    assert 3 <= stopped_at < 24

    resumed = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False, timeout=300)
    assert resumed.returncode == 0, resumed.stderr
    steps = [event["step"] for event in said(resumed.stdout) if event["event"] == "StepDone"]
    assert steps == list(range(stopped_at + 1, 25))

    whole = [*words]
    whole[whole.index(str(tmp_path / "loras"))] = str(tmp_path / "whole")
    whole[whole.index(str(project))] = str(_copy_of(project, tmp_path / "other"))
    assert main(whole) == 0
    for epoch in (1, 2):
        one = load_file(tmp_path / "loras" / f"girl-{epoch:06}.safetensors")
        other = load_file(tmp_path / "whole" / f"girl-{epoch:06}.safetensors")
        assert all(bool((one[key] == other[key]).all()) for key in one)


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a console, not to a process")
def test_behind_torchrun_one_process_speaks_and_ctrl_c_saves(project: Path, base: Path) -> None:
    """A terminal's Ctrl-C comes to torchrun and to both processes, and from torchrun to them once more."""
    words = train_words(project, base, "--epochs", "1", "--repeats", "90", "--set", "batch_size=1", "--json")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lora_forge"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([sys.executable, *torchrun, *words], **pipes) as run, _killed_after(180, run.pid):
        assert run.stdout is not None
        steps = [0]
        for line in run.stdout:
            event = json.loads(line)
            if event["event"] == "StepDone":
                steps.append(event["step"])
                assert event["total_steps"] == 135
                if event["step"] == 2:
                    os.killpg(run.pid, signal.SIGINT)
                    break
        rest = said(run.stdout.read())
        run.communicate()
    steps += [event["step"] for event in rest if event["event"] == "StepDone"]
    assert steps == list(range(len(steps)))  # each told once
    assert (rest[-1]["event"], rest[-1]["outcome"], rest[-1]["step"]) == ("RunEnded", "stopped", steps[-1])
    states = sorted((project / "runs" / "girl" / "state").glob("step-*.safetensors"))
    assert states[-1].stem == f"step-{steps[-1]:08}"


@contextmanager
def _killed_after(seconds: float, group: int) -> Iterator[None]:
    """Processes that wait for each other in vain fail the test, they don't hang it."""
    timer = threading.Timer(seconds, os.killpg, (group, 9))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _copy_of(project: Path, place: Path) -> Path:
    assert main(["import", str(project / "images"), "--project", str(place), "--trigger", "ohwx"]) == 0
    return place
