"""``lora-forge tag`` and ``lora-forge download``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_forge.cli import main
from lora_forge.dataset.project import Project
from lora_forge.toyworld.world import Look, draw, tags
from tests.dataset.taggers.conftest import make_tagger
from tests.downloads.server import FileServer

LOOK = Look(hair="red", style="long", smile=True)


def call(*words: object) -> int:
    try:
        return main([str(word) for word in words])
    except SystemExit as leaving:
        return int(leaving.code or 0)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(tmp_path / "anna", "ohwx")
    draw(LOOK).resize((128, 128), 0).save(made.images_dir / "photos" / "a.png")
    return made


def test_preview_prints_and_writes_nothing_then_tag_writes_it(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tag", "--project", project.root, "--tagger", "toyworld", "--data", tmp_path, "--keep-overlaps"]
    words += ["--exclude", "* eyes", "--replace", "1girl=woman", "--add", "art"]
    assert call(*words, "--preview") == 0
    shown = capsys.readouterr().out
    assert project.photos()[0].caption == ""
    assert call(*words) == 0
    caption = project.photos()[0].caption
    assert shown == f"photos/a.png: {caption}\n"
    wanted = {tag for tag in tags(LOOK) if not tag.endswith(" eyes") and tag != "1girl"}
    assert set(caption.split(", ")) == {"ohwx", "art", "woman", *wanted}


def test_json_has_the_preview_and_the_events(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        call("tag", "--project", project.root, "--tagger", "toyworld", "--data", tmp_path, "--preview", "--json") == 0
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["event"] == "StageStarted"
    assert lines[-1]["event"] == "Preview"
    assert list(lines[-1]["tags"]) == ["photos/a.png"]


def test_a_dropped_in_tagger_is_used_with_its_makers_thresholds(project: Project, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    make_tagger(tmp_path / "models" / "taggers" / "mine", "wd")
    words = ["tag", "--project", project.root, "--tagger", "mine", "--data", tmp_path, "--limit", 2, "--underscores"]
    assert call(*words) == 0
    assert len(project.photos()[0].caption.split(", ")) == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--tagger", "none"], 1, "is not on this machine"),
        (["--tagger", "toyworld", "--general", "7"], 2, "from 0 to 1"),
        (["--tagger", "toyworld", "--replace", "x"], 2, "is no replacement"),
    ],
)
def test_what_is_wrong_is_said(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert call("tag", "--project", project.root, "--data", tmp_path, *words) == code
    assert said in capsys.readouterr().err


def test_downloads_are_listed_and_nothing_is_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("download", "--data", tmp_path) == 0
    shown = capsys.readouterr().out
    assert "wd-vit-tagger-v3" in shown
    assert "non-commercial" in shown
    assert list(tmp_path.iterdir()) == []


def test_terms_a_missing_file_and_a_wrong_one_end_in_sentences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert call("download", "buffalo_sc", "--data", tmp_path) == 1
    assert "must be accepted first: The makers of InsightFace" in capsys.readouterr().err
    (tmp_path / "x.zip").write_bytes(b"no zip")
    assert call("download", "buffalo_sc", "--data", tmp_path, "--from", tmp_path / "x.zip") == 1
    server = FileServer({})
    try:
        assert call("download", "wd-vit-tagger-v3", "--data", tmp_path, "--mirror", server.url) == 1
    finally:
        server.close()
    assert "the server says 404" in capsys.readouterr().err
    assert json.loads((tmp_path / "downloads.json").read_text()) == {"hub": server.url}
