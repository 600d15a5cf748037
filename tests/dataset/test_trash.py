"""The trash in batches; single photos are in test_project.py."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lora_forge.dataset import trash
from lora_forge.dataset.project import Project
from lora_forge.errors import DatasetError
from tests.dataset.conftest import Paint


@pytest.fixture
def photos(project: Project, paint: Paint) -> list[Path]:
    folder = project.images_dir / "photos"
    made = [paint(folder / f"图 {n}.png", seed=n, caption=f"tag {n}") for n in range(5)]
    paint(project.mask_place(made[2]))
    return made


def names(project: Project) -> list[str]:
    return [photo.path.name for photo in project.photos()]


def test_a_batch_goes_and_comes_back_whole(project: Project, photos: list[Path]) -> None:
    before = project.photos()
    moved = trash.take_out_all(project, photos[1:4])
    assert [(entry.number, entry.batch) for entry in moved] == [(1, 1), (2, 1), (3, 1)]
    assert trash.trashed(project) == moved
    assert names(project) == ["图 0.png", "图 4.png"]
    assert list(project.masks_dir.rglob("*.png")) == []
    assert trash.put_back_all(project, trash.last_batch(project)) == tuple(photos[1:4])
    assert project.photos() == before
    assert list(project.trash_dir.iterdir()) == []


def test_batches_come_back_the_last_first(project: Project, photos: list[Path]) -> None:
    trash.take_out_all(project, photos[:2])
    trash.take_out_all(project, photos[2:])
    assert [entry.key for entry in trash.last_batch(project)] == [
        "photos/图 2.png",
        "photos/图 3.png",
        "photos/图 4.png",
    ]
    trash.put_back(project, trash.last_batch(project)[0])
    assert len(trash.last_batch(project)) == 2
    trash.put_back_all(project, trash.last_batch(project))
    trash.put_back_all(project, trash.last_batch(project))
    assert len(names(project)) == 5
    assert trash.last_batch(project) == ()


def test_entries_of_an_older_version_are_batches_of_one(project: Project, photos: list[Path]) -> None:
    trash.take_out_all(project, photos[:3])
    for entry in trash.trashed(project):
        (entry.folder / "entry.json").write_text(json.dumps({"key": entry.key, "face": None}), encoding="utf-8")
    assert [entry.number for entry in trash.last_batch(project)] == [3]


def test_one_that_is_not_there_stops_all_before_anything_moves(project: Project, photos: list[Path]) -> None:
    with pytest.raises(DatasetError, match="not there"):
        trash.take_out_all(project, [photos[0], photos[1].with_name("none.png")])
    assert len(names(project)) == 5


def test_one_named_twice_moves_once(project: Project, photos: list[Path]) -> None:
    assert len(trash.take_out_all(project, [photos[0], photos[0]])) == 1
    assert trash.take_out_all(project, []) == ()


def test_a_caption_that_twins_share_goes_with_the_last_of_them(project: Project, paint: Paint) -> None:
    folder = project.images_dir / "photos"
    twins = [paint(folder / "a.jpg"), paint(folder / "a.png", caption="shared")]
    moved = trash.take_out_all(project, twins)
    assert not (folder / "a.txt").exists()
    assert [(entry.folder / "a.txt").read_text("utf-8") for entry in moved] == ["shared", "shared"]


@pytest.mark.parametrize("number", [0, -1, 7, 10**9])
def test_numbers_that_are_not_there_find_nothing(project: Project, photos: list[Path], number: int) -> None:
    trash.take_out(project, photos[0])
    assert trash.find(project, number) is None
    assert trash.find(project, 1) is not None


@pytest.mark.parametrize("key", ["../../out.png", "/etc/out.png", "photos/../../x.png", 3, ""])
def test_an_entry_that_would_lead_out_of_the_project_is_none(project: Project, photos: list[Path], key: object) -> None:
    entry = trash.take_out(project, photos[0])
    (entry.folder / "entry.json").write_text(json.dumps({"key": key, "face": None}), encoding="utf-8")
    for name in ("out.png", "x.png"):
        (entry.folder / name).write_bytes(b"x")
    assert trash.trashed(project) == ()


def test_a_disk_that_fills_in_the_middle_loses_nothing(
    project: Project, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def full(source: object, target: object) -> None:
        if str(target).endswith("0003/entry.json"):
            raise OSError(28, "No space left on device")
        real(source, target)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DatasetError, match=r"图 2\.png can't be moved.*No space left"):
        trash.take_out_all(project, photos)
    monkeypatch.undo()
    assert names(project) == ["图 2.png", "图 3.png", "图 4.png"]
    assert [entry.key for entry in trash.trashed(project)] == ["photos/图 0.png", "photos/图 1.png"]
    trash.put_back_all(project, trash.trashed(project))
    assert [photo.caption for photo in project.photos()] == [f"tag {n}" for n in range(5)]


def test_a_trash_that_may_not_be_written_is_said(project: Project, photos: list[Path]) -> None:
    project.trash_dir.write_bytes(b"a file where the folder should be")
    with pytest.raises(DatasetError, match="can't be moved to the trash"):
        trash.take_out_all(project, photos)
    assert len(names(project)) == 5


def test_the_tenth_comes_behind_the_ninth(project: Project, paint: Paint) -> None:
    folder = project.images_dir / "photos"
    for n in range(12):
        trash.take_out(project, paint(folder / f"{n}.png", 8, 8, seed=n))
    assert [entry.key for entry in trash.trashed(project)] == [f"photos/{n}.png" for n in range(12)]
