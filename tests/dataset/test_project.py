from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lora_forge.dataset import trash
from lora_forge.dataset.project import Group, Project
from lora_forge.errors import DatasetError
from tests.dataset.conftest import Paint


def test_a_new_project_is_a_folder_that_reads_back(folder: Path):
    made = Project.create(folder / "项目", " ohwx ")
    assert made.trigger_word == "ohwx"
    assert (made.photos(), made.groups) == ((), (Group("photos"),))
    assert Project.load(folder / "项目").trigger_word == "ohwx"
    with pytest.raises(DatasetError, match="already"):
        Project.create(folder / "项目")
    assert Project.open(folder / "项目", "other").trigger_word == "ohwx"


def test_photos_come_sorted_with_all_that_belongs_to_them(project: Project, paint: Paint):
    project.set_group(Group("脸 faces", 5))
    paint(project.images_dir / "脸 faces" / "b 🙂.PNG", caption="a, b")
    paint(project.images_dir / "photos" / "z.jpg")
    paint(project.images_dir / "photos" / "deep" / "a.webp", caption="deep")
    loose = paint(project.images_dir / "loose.png", caption="loose")
    (project.images_dir / "photos" / "notes.md").write_text("no photo")
    (project.images_dir / "photos" / ".hidden.png").write_bytes(b"")
    paint(project.masks_dir / "photos" / "z.png")
    paint(project.masks_dir / "photos" / "loose.png")
    project.set_face(project.images_dir / "photos" / "z.jpg", (1, 2, 30, 40))
    seen = [(project.key(p.path), p.group, p.caption, p.face) for p in project.photos()]
    assert seen == [
        ("loose.png", "photos", "loose", None),
        ("photos/deep/a.webp", "photos", "deep", None),
        ("photos/z.jpg", "photos", "", (1, 2, 30, 40)),
        ("脸 faces/b 🙂.PNG", "脸 faces", "a, b", None),
    ]
    masks = [p.mask_path for p in project.photos()]
    assert masks == [project.masks_dir / "photos" / "loose.png", None, project.masks_dir / "photos" / "z.png", None]
    assert project.photo(loose) == project.photos()[0]
    assert project.groups == (Group("photos"), Group("脸 faces", 5))


def test_a_kohya_folder_placed_by_hand_keeps_its_repeats(project: Project, paint: Paint):
    paint(project.images_dir / "10_ohwx" / "a.png")
    paint(project.images_dir / "2023_summer" / "a.png")
    assert project.group("10_ohwx") == Group("10_ohwx", 10)
    assert project.group("2023_summer") == Group("2023_summer")


def test_settings_change_and_last(project: Project):
    project.set_group(Group("reg", 1, is_prior=True))
    project.set_group(Group("reg", 3, is_prior=True))
    project.set_trigger_word("sks")
    again = Project.load(project.root)
    assert (again.group("reg"), again.trigger_word) == (Group("reg", 3, is_prior=True), "sks")


def test_two_windows_on_one_project_keep_each_others_changes(project: Project):
    other = Project.load(project.root)
    project.set_trigger_word("sks")
    other.set_group(Group("a", 2))
    assert Project.load(project.root).trigger_word == "sks"
    project.set_group(Group("b", 3))
    assert {group.name for group in Project.load(project.root).groups} == {"a", "b", "photos"}


def test_what_others_wrote_into_project_json_is_kept(project: Project):
    path = project.root / "project.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "notes": "我的"}), encoding="utf-8")
    project.set_trigger_word("sks")
    assert json.loads(path.read_text("utf-8"))["notes"] == "我的"


@pytest.mark.parametrize("word", ["a, b", "a\nb", "a，b"])
def test_a_trigger_word_with_a_comma_is_refused(project: Project, word: str):
    with pytest.raises(DatasetError, match="comma"):
        project.set_trigger_word(word)


@pytest.mark.parametrize("group", [Group("a/b"), Group("../up"), Group(""), Group("a", 0), Group("CON")])
def test_impossible_groups_are_refused(project: Project, group: Group):
    with pytest.raises(DatasetError):
        project.set_group(group)


def test_a_face_box_without_area_is_refused(project: Project, paint: Paint):
    with pytest.raises(DatasetError, match="area"):
        project.set_face(paint(project.images_dir / "photos" / "a.png"), (1, 1, 0, 5))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is not a project"),
        ("{", "can't be read"),
        ("[]", "no object"),
        ('{"schema_version": 99}', "version is 99"),
        ('{"trigger_word": 3}', "trigger_word"),
        ('{"groups": [{"name": "a", "repeats": -1}]}', "repeats"),
        ('{"groups": [{}]}', "groups or faces"),
        ('{"faces": {"a.png": [1, 2]}}', "groups or faces"),
    ],
)
def test_a_damaged_project_file_is_named_with_its_fault(folder: Path, content: str | None, words: str):
    if content is not None:
        (folder / "project.json").write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=words):
        Project.load(folder)


def test_captions_are_written_as_utf8(project: Project, paint: Paint):
    path = paint(project.images_dir / "photos" / "图 🙂.png")
    project.set_caption(path, "粉色头发, ohwx ")
    assert path.with_suffix(".txt").read_bytes() == "粉色头发, ohwx\n".encode()
    assert project.photos()[0].caption == "粉色头发, ohwx"


def everything(project: Project) -> dict[str, bytes]:
    return {
        path.relative_to(project.root).as_posix(): path.read_bytes()
        for folder in (project.images_dir, project.masks_dir)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def with_one_photo(project: Project, paint: Paint) -> Path:
    path = paint(project.images_dir / "photos" / "图 1.png", caption="a, b")
    paint(project.mask_place(path))
    project.set_face(path, (1, 2, 3, 4))
    return path


def test_a_photo_taken_out_comes_back_with_all_that_belongs_to_it(project: Project, paint: Paint):
    path = with_one_photo(project, paint)
    before, photo = everything(project), project.photos()[0]
    trash.take_out(project, path)
    assert (project.photos(), everything(project)) == ((), {})
    (entry,) = trash.trashed(Project.load(project.root))
    assert entry.image_path.is_file()
    assert entry.key == "photos/图 1.png"
    assert trash.put_back(project, entry) == path
    assert (everything(project), project.photos()) == (before, (photo,))
    assert trash.trashed(project) == ()
    assert list(project.trash_dir.iterdir()) == []


def test_a_taken_place_is_not_overwritten(project: Project, paint: Paint):
    path = with_one_photo(project, paint)
    original = path.read_bytes()
    entry = trash.take_out(project, path)
    paint(path, seed=9, caption="new")
    back = trash.put_back(project, entry)
    assert back.name == "图 1-2.png"
    assert back.read_bytes() == original
    assert {(p.path.name, p.caption, p.face) for p in project.photos()} == {
        ("图 1.png", "new", None),
        ("图 1-2.png", "a, b", (1, 2, 3, 4)),
    }


def test_a_caption_written_meanwhile_is_kept_and_the_old_one_stays_in_the_trash(project: Project, paint: Paint):
    path = with_one_photo(project, paint)
    entry = trash.take_out(project, path)
    path.with_suffix(".txt").write_text("meanwhile", encoding="utf-8")
    trash.put_back(project, entry)
    assert project.photos()[0].caption == "meanwhile"
    assert (entry.folder / "图 1.txt").read_text("utf-8") == "a, b"


def test_a_caption_two_pictures_share_stays_with_the_other(project: Project, paint: Paint):
    first = paint(project.images_dir / "photos" / "a.jpg")
    paint(project.images_dir / "photos" / "a.png", caption="shared")
    entry = trash.take_out(project, first)
    assert [(p.path.name, p.caption) for p in project.photos()] == [("a.png", "shared")]
    back = trash.put_back(project, entry)
    assert {(p.path.name, p.caption) for p in project.photos()} == {("a.png", "shared"), (back.name, "shared")}


def test_the_trash_lists_in_order_and_skips_what_it_does_not_know(project: Project, paint: Paint):
    for name in ("a", "b", "c"):
        trash.take_out(project, paint(project.images_dir / "photos" / f"{name}.png"))
    (project.trash_dir / "note.txt").write_text("mine")
    shutil.rmtree(project.trash_dir / "0002")
    (project.trash_dir / "0009").mkdir()
    assert [entry.key for entry in trash.trashed(project)] == ["photos/a.png", "photos/c.png"]
    with pytest.raises(DatasetError, match="not there"):
        trash.take_out(project, project.images_dir / "photos" / "a.png")


def test_a_project_moves_with_its_folder(project: Project, paint: Paint, folder: Path):
    with_one_photo(project, paint)
    project.root.rename(folder / "elsewhere")
    moved = Project.load(folder / "elsewhere")
    assert [(moved.key(p.path), p.caption, p.face) for p in moved.photos()] == [
        ("photos/图 1.png", "a, b", (1, 2, 3, 4))
    ]
    assert moved.photos()[0].mask_path == folder / "elsewhere" / "masks" / "photos" / "图 1.png"
