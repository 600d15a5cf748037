"""Photos into a project, and nothing from where the asker has no business."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from PIL import Image

from lora_forge.dataset.project import Project
from lora_forge.errors import DatasetError
from lora_forge.events import Progress
from lora_forge.work import gather, project_dir, projects
from lora_forge.work.gathering import uploads_dir
from tests.train.tiny import Recorder
from tests.work.desk import TinyDesk


def paint(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (80, 80), (shade, 60, 200)).save(path)
    return path


@pytest.fixture
def inbox(desk: TinyDesk) -> Path:
    folder = uploads_dir(desk) / "one"
    folder.mkdir()
    return folder


def test_uploads_make_a_project_with_captions_beside_their_photos(desk: TinyDesk, inbox: Path) -> None:
    first, second = paint(inbox / "a" / "小红.png", 1), paint(inbox / "b" / "two.png", 2)
    caption = inbox / "c" / "小红.txt"
    caption.parent.mkdir()
    caption.write_text("ohwx, snow", encoding="utf-8")
    said = Recorder()
    report = gather(desk, "new one", [first, caption, second], "ohwx", said, upload_dirs=[inbox])
    project = Project.load(desk.data_root() / "new one")
    assert {photo.path.name: photo.caption for photo in project.photos()} == {"小红.png": "ohwx, snow", "two.png": ""}
    assert (len(report.imported), report.skipped, project.trigger_word) == (2, (), "ohwx")
    assert [(event.done, event.total) for event in said.of(Progress)] == [(1, 2), (2, 2)]
    assert list(uploads_dir(desk).iterdir()) == [inbox]
    assert first.exists()


def test_two_uploads_of_one_name_both_come(desk: TinyDesk, inbox: Path) -> None:
    report = gather(
        desk, "new", [paint(inbox / "a" / "x.png", 1), paint(inbox / "b" / "x.png", 2)], "", Recorder(),
        upload_dirs=[inbox],
    )  # fmt: skip
    assert sorted(path.name for path in report.imported) == ["x-2.png", "x.png"]


def test_a_zip_and_single_photos_come_together_and_twice_changes_nothing(desk: TinyDesk, inbox: Path) -> None:
    with zipfile.ZipFile(inbox / "many.zip", "w") as archive:
        archive.write(paint(desk.root / "in zip.png", 3), "10_ohwx/in zip.png")
    sources = [inbox / "many.zip", paint(inbox / "alone.png", 4)]
    assert len(gather(desk, "new", sources, "", Recorder(), upload_dirs=[inbox]).imported) == 2
    again = gather(desk, "new", sources, "", Recorder(), upload_dirs=[inbox])
    assert (len(again.imported), len(again.present)) == (0, 2)


def test_an_empty_trigger_word_leaves_the_old_one_and_another_replaces_it(desk: TinyDesk, inbox: Path) -> None:
    for word, expected in (("ohwx", "ohwx"), ("", "ohwx"), ("zwx woman", "zwx woman")):
        gather(desk, "new", [paint(inbox / "x.png", 1)], word, Recorder(), upload_dirs=[inbox])
        assert Project.load(desk.data_root() / "new").trigger_word == expected


def test_a_project_without_a_trigger_word_gets_its_names(desk: TinyDesk, inbox: Path) -> None:
    gather(desk, "Anna_v2", [paint(inbox / "x.png", 1)], "", Recorder(), upload_dirs=[inbox])
    assert Project.load(desk.data_root() / "Anna_v2").trigger_word == "anna"


def test_places_on_the_server_are_closed_unless_paths_are_allowed(desk: TinyDesk, inbox: Path) -> None:
    photo = paint(desk.root / "private" / "x.png", 1)
    (photo.with_suffix(".txt")).write_text("ohwx, rain", encoding="utf-8")
    (inbox / "link.png").symlink_to(photo)
    (inbox / "folder").symlink_to(photo.parent)
    tricks = [photo, photo.parent, inbox / "link.png", inbox / "folder", inbox / ".." / ".." / ".." / "private"]
    for trick in tricks:
        with pytest.raises(DatasetError, match="folders on the server are closed"):
            gather(desk, "new", [trick], "", Recorder(), upload_dirs=[inbox])
    assert not (desk.data_root() / "new").exists()
    assert len(gather(desk, "new", [photo.parent], "", Recorder(), allows_paths=True).imported) == 1
    gather(desk, "single", [photo], "", Recorder(), allows_paths=True)
    assert Project.load(desk.data_root() / "single").photos()[0].caption == "ohwx, rain"


@pytest.mark.parametrize("source", ["not there", "a\0b", "\\\\server\\share\\x.png"])
def test_a_source_that_is_not_there_is_said(desk: TinyDesk, source: str) -> None:
    with pytest.raises(DatasetError, match="is not there"):
        gather(desk, "new", [Path(source)], "", Recorder(), allows_paths=True)


NO_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "/etc",
    "C:\\x",
    "C:x",
    "\\\\server\\share",
    "a\0b",
    "a\nb",
    " a",
    "a ",
]
NO_NAMES += ["a.", ".uploads", ".hidden", "con", "NUL.txt", "a:b", "a*", "x" * 161]


@pytest.mark.parametrize("name", NO_NAMES)
def test_names_that_are_no_plain_folder_are_refused(desk: TinyDesk, name: str) -> None:
    before = sorted(desk.root.rglob("*"))
    with pytest.raises(DatasetError, match="can't be called"):
        gather(desk, name, [], "", Recorder(), allows_paths=True)
    assert sorted(desk.root.rglob("*")) == before


def test_a_project_that_is_a_link_out_of_the_data_root_is_refused_and_not_listed(desk: TinyDesk) -> None:
    Project.create(desk.root / "outside")
    (desk.data_root() / "linked").symlink_to(desk.root / "outside")
    with pytest.raises(DatasetError, match="link to another place"):
        project_dir(desk.data_root(), "linked")
    assert [facts.name for facts in projects(desk.data_root())] == ["anna"]


def test_projects_are_listed_and_a_damaged_one_with_its_problem(desk: TinyDesk) -> None:
    root = desk.data_root()
    (root / "anna" / "runs" / "girl").mkdir(parents=True)
    (root / "anna" / "runs" / "girl" / "config.json").write_text("{}", encoding="utf-8")
    (root / "Broken").mkdir()
    (root / "Broken" / "project.json").write_text("[", encoding="utf-8")
    uploads_dir(desk)
    (root / "no project").mkdir()
    anna, broken = projects(root)
    assert (anna.name, anna.photos, anna.runs, anna.problem) == ("anna", 3, ("girl",), "")
    assert broken.name == "Broken"
    assert "can't be read" in broken.problem
    assert projects(root / "none") == []
