"""What was set by hand holds by content: through renaming, moving, the trash, and importing again."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from lora_forge.dataset import trash
from lora_forge.dataset.importing import import_source
from lora_forge.dataset.project import Group, Project
from lora_forge.errors import DatasetError
from tests.dataset.conftest import Paint

FACE, CROP = (1, 2, 30, 40), (5, 6, 50, 60)


@pytest.fixture
def photo(project: Project, paint: Paint) -> Path:
    path = paint(project.images_dir / "photos" / "图 1.png", seed=1)
    paint(project.images_dir / "photos" / "b.png", seed=2)
    project.set_face(path, FACE)
    project.set_crop(path, CROP)
    return path


def boxes(project: Project) -> dict[str, tuple[object, object]]:
    fresh = Project.load(project.root)
    return {fresh.key(photo.path): (photo.face, photo.crop) for photo in fresh.photos()}


def test_both_are_kept_beside_each_other_and_forgotten_one_by_one(project: Project, photo: Path) -> None:
    assert boxes(project) == {"photos/b.png": (None, None), "photos/图 1.png": (FACE, CROP)}
    project.set_face(photo, None)
    assert boxes(project)["photos/图 1.png"] == (None, CROP)
    project.set_crop(photo, None)
    assert json.loads((project.root / "project.json").read_text("utf-8"))["edits"] == {}


def test_renaming_and_moving_keep_them(project: Project, photo: Path) -> None:
    photo.rename(photo.with_name("新.png"))
    assert boxes(project) == {"photos/b.png": (None, None), "photos/新.png": (FACE, CROP)}
    (project.images_dir / "脸").mkdir()
    photo.with_name("新.png").rename(project.images_dir / "脸" / "c.png")
    assert boxes(project)["脸/c.png"] == (FACE, CROP)


def test_two_photos_that_change_places_keep_their_own(project: Project, photo: Path) -> None:
    other = photo.with_name("b.png")
    photo.rename(photo.with_name("tmp"))
    other.rename(photo)
    photo.with_name("tmp").rename(other)
    assert boxes(project) == {"photos/b.png": (FACE, CROP), "photos/图 1.png": (None, None)}


def test_importing_again_keeps_them(project: Project, photo: Path, folder: Path) -> None:
    elsewhere = folder / "elsewhere" / "again.png"
    elsewhere.parent.mkdir()
    shutil.copyfile(photo, elsewhere)
    photo.unlink()
    import_source(elsewhere, project, lambda event: None)
    assert boxes(project)["photos/again.png"] == (FACE, CROP)


def test_the_trash_keeps_them(project: Project, photo: Path, paint: Paint) -> None:
    entry = trash.take_out(project, photo)
    paint(photo, seed=9)
    assert boxes(project)["photos/图 1.png"] == (None, None)
    trash.put_back(project, entry)
    assert boxes(project)["photos/图 1-2.png"] == (FACE, CROP)


def test_another_picture_of_the_same_size_is_not_taken_for_it(project: Project, photo: Path) -> None:
    content = bytearray(photo.read_bytes())
    content[-1] ^= 1
    twin = photo.with_name("twin.png")
    twin.write_bytes(content)
    os.utime(twin, ns=(photo.stat().st_atime_ns, photo.stat().st_mtime_ns))
    assert boxes(project)["photos/twin.png"] == (None, None)
    photo.write_bytes(content)
    assert boxes(project)["photos/图 1.png"] == (None, None)


def test_boxes_by_place_of_an_older_version_still_hold(project: Project, photo: Path) -> None:
    path = project.root / "project.json"
    values = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**values, "faces": {"photos/b.png": [9, 9, 9, 9]}}), encoding="utf-8")
    assert boxes(project)["photos/b.png"] == ((9, 9, 9, 9), None)
    fresh = Project.load(project.root)
    fresh.set_face(photo.with_name("b.png"), (1, 1, 5, 5))
    assert boxes(project)["photos/b.png"] == ((1, 1, 5, 5), None)
    fresh.set_face(photo.with_name("b.png"), None)
    assert boxes(project)["photos/b.png"] == (None, None)


def test_many_pages_and_programs_at_once_lose_nothing(project: Project, paint: Paint) -> None:
    paths = [paint(project.images_dir / "photos" / f"{n}.png", seed=n) for n in range(16)]
    gate = threading.Barrier(len(paths))
    pages = [Project.load(project.root) for _ in paths]

    def work(number: int) -> None:
        gate.wait()
        pages[number].set_crop(paths[number], (number, 0, 10, 10))
        pages[number].set_group(Group(f"g{number}", number + 1))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(paths))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fresh = Project.load(project.root)
    assert {photo.path.name: photo.crop for photo in fresh.photos()} == {f"{n}.png": (n, 0, 10, 10) for n in range(16)}
    assert all(fresh.group(f"g{n}").repeats == n + 1 for n in range(16))


def test_a_disk_that_refuses_is_said_and_nothing_is_lost(
    project: Project, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DatasetError, match=r"No space left.*Free some space"):
        project.set_crop(photo, (1, 1, 2, 2))
    monkeypatch.undo()
    assert boxes(project)["photos/图 1.png"] == (FACE, CROP)
    assert Project.load(project.root).photo(photo) == project.photo(photo)


def test_a_photo_deleted_underneath_is_said(project: Project, photo: Path) -> None:
    photo.unlink()
    with pytest.raises(DatasetError, match="No such file"):
        project.set_crop(photo, CROP)


@pytest.mark.parametrize(
    "content",
    [
        {"edits": {"ab": {"crop": [1, 2, 3, 4]}}},
        {"edits": {"ab": {"key": "a", "size_bytes": 1, "mtime_ns": 1, "crop": [1, 2, 0, 4]}}},
        {"cuts": [{"key": "a"}]},
        {"crop_mode": "sideways"},
    ],
)
def test_a_damaged_part_is_named(folder: Path, content: object) -> None:
    (folder / "project.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"edits or cuts|crop_mode"):
        Project.load(folder)


def test_the_way_photos_are_cut_is_kept(project: Project) -> None:
    assert project.crop_mode == "middle"
    project.set_crop_mode("subject")
    assert Project.load(project.root).crop_mode == "subject"
    with pytest.raises(DatasetError, match="sideways"):
        project.set_crop_mode("sideways")
