"""``lora-forge photos`` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from lora_forge.cli import main
from lora_forge.dataset.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(tmp_path / "我的 项目", "ohwx")
    for name, size in (("图 a.png", (300, 200)), ("b.jpg", (100, 400))):
        Image.new("RGB", size, (9, 90, 200)).save(made.images_dir / "photos" / name)
    (made.images_dir / "photos" / "图 a.txt").write_text("ohwx, red", encoding="utf-8")
    return made


def photos(project: Project, action: str, *more: str) -> int:
    return main(["photos", action, "--project", str(project.root), *more])


def objects(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_list_shows_sizes_boxes_and_the_trash(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (project.images_dir / "photos" / "c.png").write_bytes(b"%PDF")
    assert photos(project, "crop", "photos/图 a.png", "--box", "10,20,100,90") == 0
    assert photos(project, "crop", "photos/图 a.png", "--box", "30,40,50,60", "--face") == 0
    assert photos(project, "trash", "photos/b.jpg") == 0
    capsys.readouterr()
    assert photos(project, "list") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("photos/c.png  it is a PDF")
    assert shown[1:] == ["photos/图 a.png  300 x 200  face 30,40,50,60  crop 10,20,100,90", "trash 1: photos/b.jpg"]
    assert photos(project, "list", "--json") == 0
    said = objects(capsys.readouterr().out)
    assert (said[1]["photo"], said[1]["caption"], said[1]["crop"]) == (
        "photos/图 a.png",
        "ohwx, red",
        [10, 20, 100, 90],
    )
    assert said[2] == {"trash": 1, "key": "photos/b.jpg", "batch": 1}


def test_all_of_a_group_goes_and_comes_back(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    before = project.photos()
    assert photos(project, "trash", "--group", "photos") == 0
    assert project.photos() == ()
    assert photos(project, "restore", "1", "--json") == 0
    assert objects(capsys.readouterr().out)[-1] == {"event": "Restored", "keys": ["photos/b.jpg"]}
    assert photos(project, "restore") == 0
    assert project.photos() == before
    assert photos(project, "restore") == 1
    assert "not in the trash" in capsys.readouterr().err


def test_a_crop_is_forgotten_and_one_outside_refused(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert photos(project, "crop", "photos/b.jpg", "--box", "0,0,50,50") == 0
    assert photos(project, "crop", "photos/b.jpg", "--box", "60,0,50,50") == 2
    assert "reaches out" in capsys.readouterr().err
    assert Project.load(project.root).photos()[0].crop == (0, 0, 50, 50)
    assert photos(project, "crop", "photos/b.jpg") == 0
    assert Project.load(project.root).photos()[0].crop is None


@pytest.mark.parametrize("key", ["photos/none.png", "../project.json", "photos/图 a.txt", "photos"])
def test_what_is_no_photo_is_refused(project: Project, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert photos(project, "trash", key) == 1
    assert "There is no photo" in capsys.readouterr().err
    assert len(project.photos()) == 2


def test_processing_prepares_and_says_what_it_did(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--resolution", "64", "--no-buckets", "--faces", "--face-repeats", "3", "--kind", "anime"]
    assert photos(project, "process", *args, "--json") == 0
    stages = [said["stage"] for said in objects(capsys.readouterr().out) if said["event"] == "StageDone"]
    assert stages[-2:] == ["face_set", "prepare"]
    assert Project.load(project.root).crop_mode == "subject"
    assert (project.prepared_dir / "manifest.json").is_file()


@pytest.mark.parametrize("box", ["1,2,3", "a,b,c,d", "-1,0,5,5", "0,0,0,5"])
def test_what_is_no_box_is_wrong_usage(project: Project, box: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        photos(project, "crop", "photos/b.jpg", f"--box={box}")
    assert left.value.code == 2
    assert "--box" in capsys.readouterr().err


def test_an_action_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["photos"])
    assert left.value.code == 2
    assert "ACTION" in capsys.readouterr().err
