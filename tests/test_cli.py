"""The command line without a model: help, usage, exit codes, JSON, how settings come together."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from PIL import Image

from lora_forge import events
from lora_forge.cli import main
from lora_forge.cli.parser import build_parser
from lora_forge.cli.settings import resolve
from lora_forge.config import Family, TrainConfig
from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError
from lora_forge.progress import ProgressPrinter, bar, duration, size
from lora_forge.work.settings import ProjectSettings

COMMANDS = ["demo", "doctor", "import", "prepare", "photos", "checkup", "tag", "tags", "traits", "download"]
COMMANDS += ["train", "grid", "ui", "version"]


def call(*words: object) -> int:
    """Exit code of the command, whether it returns or leaves as argparse does."""
    try:
        return main([str(word) for word in words])
    except SystemExit as leaving:
        return int(leaving.code or 0)


def test_help_names_every_command_and_an_example_that_parses(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--help") == 0
    shown = capsys.readouterr().out
    assert all(f"    {command} " in shown for command in COMMANDS)
    build_parser().parse_args(["import", "photos/", "--project", "anna", "--trigger", "ohwx woman"])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(command, "--help") == 0
    assert "--json" in capsys.readouterr().out


def test_every_setting_is_listed_with_its_range(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "--help-settings") == 0
    shown = capsys.readouterr().out
    for name in TrainConfig().to_dict():
        assert name == "schema_version" or f"\n{name} = " in shown, name
    assert "rank = 32   1 to 1024" in shown
    assert "optimizer = adamw   one of adamw, adamw8bit" in shown
    assert "targets = attention,feed_forward,projection   any of attention" in shown


def test_help_and_version_need_no_heavy_library() -> None:
    code = "import sys\nfrom lora_forge.cli import main\ntry: main(['train', '--help'])\nexcept SystemExit: pass\n"
    code += "heavy = {'torch', 'diffusers', 'transformers', 'peft', 'numpy', 'PIL', 'gradio'} & set(sys.modules)\n"
    code += "sys.exit(', '.join(heavy) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [[], ["--nonsense"], ["paint"], ["train"], ["train", "--project", "x"], ["import"], ["grid", "--name", "x"]],
)
def test_wrong_usage_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*words) == 2
    assert "usage: lora-forge" in capsys.readouterr().err


def test_a_missing_project_is_one_sentence_and_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("prepare", "--project", tmp_path / "none") == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert "Traceback" not in shown.err


def test_an_unknown_setting_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("prepare", "--project", tmp_path, "--set", "resolution=512") == 2
    assert "unknown setting 'resolution' (did you mean 'resolution_px'?)" in capsys.readouterr().err


def test_debug_shows_where(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        main(["prepare", "--project", str(tmp_path), "--set", "rank=0", "--debug"])


def test_import_and_prepare_speak_json_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = tmp_path / "a photo's folder"
    photos.mkdir()
    for number in range(3):
        Image.new("RGB", (300, 200 + 50 * number), (40 * number, 90, 200)).save(photos / f"图 {number}.png")
    (photos / "图 0.txt").write_text("ohwx, 沙滩", encoding="utf-8")
    (photos / "broken.jpg").write_bytes(b"no picture")
    project = tmp_path / "project"
    assert call("import", photos, "--project", project, "--trigger", "ohwx", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all("event" in line for line in lines)
    imported = lines[-1]
    assert (imported["event"], len(imported["imported"])) == ("Imported", 3)
    assert [left_out["name"].rsplit("/")[-1] for left_out in imported["skipped"]] == ["broken.jpg"]
    assert call("prepare", "--project", project, "--resolution", 128, "--json") == 0
    prepared = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (prepared["event"], prepared["images"]) == ("Prepared", 3)


def test_import_of_nothing_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("import", tmp_path / "none.zip", "--project", tmp_path / "project") == 1
    assert "none.zip is not there" in capsys.readouterr().err
    assert not (tmp_path / "project").exists()


def test_importing_twice_is_no_failure_and_priors_stay_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, colour in (("hers", "red"), ("others", "green")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (80, 80), colour).save(tmp_path / folder / "a.png")
    project = tmp_path / "project"
    assert call("import", tmp_path / "hers", "--project", project) == 0
    assert call("import", tmp_path / "hers", "--project", project) == 0
    assert "0 new in" in capsys.readouterr().err
    assert call("import", tmp_path / "others", "--project", project, "--prior") == 0
    found = Project.load(project)
    assert [(photo.group, found.group(photo.group).is_prior) for photo in found.photos()] == [
        ("photos", False),
        ("prior", True),
    ]


def test_a_failure_is_an_object_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("prepare", "--project", tmp_path / "none", "--json") == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["event"] == "Failed"
    assert json.loads(shown.out)["message"] in shown.err


def test_doctor_looks_and_says_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("doctor", "--json") == 0
    findings = {found["name"]: found for found in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["torch"]["state"] == "good"
    assert findings["cpu"]["text"].startswith("CPU (")
    assert all(found["remedy"] for found in findings.values() if found["state"] == "bad")


def train_args(*words: str) -> Namespace:
    fixed = ["train", "--project", "p", "--base", "b.safetensors", "--name", "anna", "--out", "o"]
    return build_parser().parse_args([*fixed, *words])


def test_the_last_word_on_a_setting_wins(tmp_path: Path) -> None:
    TrainConfig(rank=5, epochs=5, seed=5, alpha=5.0).save(tmp_path / "config.json")
    from_preset = resolve(train_args("--preset", "anime"), Family.SD1, 25, "ohwx")
    assert (from_preset.clip_skip, from_preset.rank, from_preset.trigger_word) == (2, 32, "ohwx")
    words = ["--config", str(tmp_path / "config.json"), "--epochs", "6", "--set", "seed=7", "--seed", "6"]
    made = resolve(train_args(*words), Family.SD1, 25, "ohwx")
    assert (made.rank, made.epochs, made.seed, made.name) == (5, 6, 7, "anna")


def test_alpha_keeps_its_ratio_when_only_the_rank_is_said() -> None:
    assert resolve(train_args("--rank", "8"), Family.SD1, 25, "").alpha == 4.0
    assert resolve(train_args("--rank", "8", "--set", "alpha=3"), Family.SD1, 25, "").alpha == 3.0


def test_the_prepared_size_stands_unless_another_is_said() -> None:
    prepared = ProjectSettings({"resolution_px": 640, "bucket_min_px": 320, "bucket_max_px": 1280})
    assert resolve(train_args(), Family.SD1, 25, "", prepared).resolution_px == 640
    assert resolve(train_args("--resolution", "512"), Family.SD1, 25, "", prepared).resolution_px == 512
    assert resolve(train_args(), Family.SDXL, 25, "").resolution_px == 1024


def test_a_terminal_gets_live_lines_and_a_log_gets_few() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def feed(stream: io.StringIO) -> str:
        now = iter(range(10_000))
        printer = ProgressPrinter(stream, clock=lambda: float(next(now)))
        for step in range(1, 101):
            printer(events.StepDone(step, 100, 1, 0.1, 0.1, 0.1, 1e-4, 2.0, 60.0))
        printer(events.LoraSaved(Path("a-000001.safetensors"), 1, 100, 264, 18_000_000))
        printer.close()
        return stream.getvalue()

    live, log = feed(Terminal()), feed(io.StringIO())
    assert live.count("step ") == 100
    assert live.count("\n") == 1
    assert log.count("\n") == 8  # every 15 seconds of the clock above, and the file
    assert log.endswith("saved a-000001.safetensors (264 keys, 18 MB)\n")


def test_numbers_are_written_as_people_read_them() -> None:
    assert [duration(seconds) for seconds in (0, 59.6, 187, 7500)] == ["0 s", "1:00", "3:07", "2:05:00"]
    sizes = [size(count) for count in (999, 1500, 18_400_000, 6_940_000_000)]
    assert sizes == ["999 bytes", "1.5 kB", "18 MB", "6.9 GB"]
    assert bar(12, 24) == "[" + "#" * 12 + "." * 12 + "]"
    assert bar(3, 0) == "[" + "." * 24 + "]"
