"""Faces found by a stand-in for a detector that knows where they were painted; everything else is the real thing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_forge.dataset import trash
from lora_forge.dataset.crops import head_of
from lora_forge.dataset.face_set import cuts_of
from lora_forge.dataset.images import read_image
from lora_forge.dataset.manifest import load_manifest
from lora_forge.dataset.prepare import PrepareSettings, load_pixels, load_prepared
from lora_forge.dataset.prepared import manifest_path
from lora_forge.dataset.processing import FaceFinder, ProcessSettings, process
from lora_forge.dataset.project import Box, Group, Project
from lora_forge.errors import DatasetError
from lora_forge.events import Command, CommandBox, Event, Progress, StageDone, Warned

SQUARE = ProcessSettings(PrepareSettings(128, False, 64, 128, 128))
FACES = replace(SQUARE, faces=True)
RED = (250, 0, 0)


def face(path: Path, size: tuple[int, int], *boxes: Box, caption: str = "") -> Path:
    """A photo whose faces are red, and nothing else is."""
    shade = sum(path.name.encode()) % 200
    image = Image.new("RGB", size, (0, 90, shade))
    for x, y, width, height in boxes:
        image.paste(RED, (x, y, x + width, y + height))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    if caption:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def red_boxes(image: Image.Image) -> list[tuple[float, float, float, float]]:
    """Each red area that has a column of its own."""
    red = np.asarray(image)[..., 0] > 128
    columns = np.flatnonzero(red.any(axis=0))
    parts = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1) if len(columns) else []
    found = []
    for part in parts:
        rows = np.flatnonzero(red[:, part].any(axis=1))
        found.append((part[0] - 0.3, rows[0] + 0.2, part[-1] - part[0] + 1.1, rows[-1] - rows[0] + 1.1))
    return found


class Finder:
    """Finds red, and counts how often it was asked."""

    def __init__(self, id: str = "red") -> None:
        self.asked: list[str] = []
        self.finder = FaceFinder(id, "the red detector", self.find)

    def find(self, read: Callable[[], Image.Image], path: Path, sha256: str) -> Sequence[Sequence[float]]:
        self.asked.append(path.name)
        return red_boxes(read())


def run(project: Project, settings: ProcessSettings = FACES, events: list[Event] | None = None, id: str = "red") -> str:
    finder = Finder(id)
    done = process(project, settings, finder.finder, (events if events is not None else []).append, CommandBox())
    assert len(finder.asked) == len(set(finder.asked))
    return done


def crops(project: Project) -> dict[str, tuple[int, int]]:
    folder = project.images_dir / "faces"
    return {path.name: Image.open(path).size for path in sorted(folder.glob("*.png"))} if folder.exists() else {}


def warnings(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Warned)]


def done(events: list[Event], stage: str) -> str:
    return next(event.summary for event in events if isinstance(event, StageDone) and event.stage == stage)


@pytest.fixture
def filled(project: Project) -> Project:
    """One tall portrait with its face high up, one photo of two, one without anybody."""
    photos = project.images_dir / "photos"
    face(photos / "安娜 1.png", (400, 900), (150, 120, 100, 100), caption="ohwx, smile")
    face(photos / "both.png", (1200, 500), (200, 200, 80, 80), (900, 200, 60, 60))
    face(photos / "tree.png", (300, 300))
    return project


def test_the_head_is_kept_where_the_middle_would_cut_it(filled: Project) -> None:
    """The square of 400 of the 900 high photo would begin at 250; the head, 60..235, keeps its air of 44 above."""
    assert run(filled, SQUARE) == "done"
    made = {image.source.name: image for image in load_prepared(filled).images}
    anna = made["安娜 1.png"]
    pixels = load_pixels(anna)
    assert (pixels[..., 0] > 128).sum() == pytest.approx((100 * 128 / 400) ** 2, rel=0.1)
    scale = 128 / 400
    assert anna.crop_top == round((60 - 0.25 * 175) * scale)
    assert (made["tree.png"].crop_left, made["tree.png"].crop_top) == (0, 0)
    whole = head_of((200, 200, 80, 80), (1200, 500))
    assert made["both.png"].crop_left <= whole[0] * 128 / 500


def test_crop_by_hand_then_faces_then_the_middle(filled: Project) -> None:
    photos = {photo.path.name: photo.path for photo in filled.photos()}
    filled.set_crop(photos["安娜 1.png"], (0, 400, 400, 400))
    run(filled, SQUARE)
    entries = load_manifest(manifest_path(filled)).entries
    assert (entries["photos/安娜 1.png"].aim.crop, entries["photos/安娜 1.png"].crop_top) == ((0, 400, 400, 400), 128)
    assert entries["photos/both.png"].aim.mode == "subject"
    assert entries["photos/tree.png"].aim.mode == "middle"
    assert not (load_pixels(load_prepared(filled).images[1])[..., 0] > 128).any()


def test_the_way_is_kept_with_the_project_so_that_a_run_sees_the_same(filled: Project) -> None:
    run(filled, SQUARE)
    assert load_prepared(Project.load(filled.root), SQUARE.size).images
    run(filled, replace(SQUARE, crop="middle"))
    assert {one.aim.mode for one in load_manifest(manifest_path(filled)).entries.values()} == {"middle"}
    run(filled, ProcessSettings(PrepareSettings(128, False, 64, 64, 256), crop="none"))
    buckets = {one.bucket for one in load_manifest(manifest_path(filled)).entries.values()}
    assert len(buckets) > 1  # squares would cut


def test_photos_are_looked_at_once_and_again_by_another_detector(filled: Project) -> None:
    first, second, other = Finder(), Finder(), Finder("other")
    for finder in (first, second, other):
        process(filled, SQUARE, finder.finder, lambda event: None, CommandBox())
    assert [len(finder.asked) for finder in (first, second, other)] == [3, 0, 3]


def test_faces_are_cut_at_full_size_with_padding_and_the_photos_caption(filled: Project, events: list[Event]) -> None:
    run(filled, replace(FACES, face_repeats=6), events)
    assert crops(filled) == {
        "FACE_both_1.png": (160, 160), "FACE_both_2.png": (120, 120), "FACE_安娜 1_1.png": (200, 200),
    }  # fmt: skip
    assert Project.load(filled.root).group("faces") == Group("faces", 6, False, True)
    anna = filled.photo(filled.images_dir / "faces" / "FACE_安娜 1_1.png")
    assert anna.caption == "ohwx, smile"
    assert not (filled.images_dir / "faces" / "FACE_both_1.txt").exists()
    pixels = np.asarray(read_image(anna.path))
    assert np.array_equal(pixels, np.asarray(read_image(filled.images_dir / "photos" / "安娜 1.png"))[48:248, 100:300])
    assert (
        done(events, "face_set") == "3 faces cut, 0 kept as they were, 0 left out because they were thrown out before."
    )
    assert len(load_prepared(filled).images) == 6


def test_a_face_at_the_border_is_cut_from_what_there_is(project: Project) -> None:
    face(project.images_dir / "photos" / "edge.png", (300, 120), (0, 0, 100, 100))
    run(project)
    assert crops(project) == {"FACE_edge_1.png": (200, 120)}


def test_a_face_too_small_to_train_on_is_not_cut(project: Project, events: list[Event]) -> None:
    face(project.images_dir / "photos" / "far.png", (900, 900), (400, 400, 30, 30))
    run(project, FACES, events)
    assert crops(project) == {}
    assert warnings(events)[0] == "1 faces are too small to train on and were not cut."


def test_a_wrong_face_in_the_trash_stays_away(filled: Project, events: list[Event]) -> None:
    run(filled)
    trash.take_out(filled, filled.images_dir / "faces" / "FACE_both_2.png")
    run(filled, FACES, events)
    assert sorted(crops(filled)) == ["FACE_both_1.png", "FACE_安娜 1_1.png"]
    assert done(events, "face_set").endswith("1 left out because they were thrown out before.")
    source = filled.images_dir / "photos" / "both.png"
    source.rename(source.with_name("两个人.png"))
    run(filled, id="another detector")
    assert sorted(crops(filled)) == ["FACE_both_1.png", "FACE_安娜 1_1.png"]
    trash.put_back(filled, trash.trashed(filled)[-1])
    run(filled)
    assert len(crops(filled)) == 3


def test_cutting_again_keeps_what_a_person_did(filled: Project) -> None:
    run(filled)
    folder = filled.images_dir / "faces"
    filled.set_caption(folder / "FACE_安娜 1_1.png", "mine")
    filled.set_crop(folder / "FACE_both_1.png", (0, 0, 90, 90))
    face(folder / "FACE_both_2.png", (99, 99))
    run(filled, replace(FACES, face_padding=1.0))
    assert crops(filled) == {
        "FACE_both_1.png": (160, 160), "FACE_both_2.png": (99, 99), "FACE_安娜 1_1.png": (300, 300),
    }  # fmt: skip
    assert filled.photo(folder / "FACE_安娜 1_1.png").caption == "mine"
    assert filled.photo(folder / "FACE_both_1.png").crop == (0, 0, 90, 90)


def test_a_renamed_crop_is_known_by_its_content(filled: Project) -> None:
    run(filled)
    folder = filled.images_dir / "faces"
    (folder / "FACE_both_1.png").rename(folder / "左.png")
    run(filled, replace(FACES, face_padding=0.25))
    assert crops(filled) == {"FACE_both_2.png": (90, 90), "FACE_安娜 1_1.png": (150, 150), "左.png": (120, 120)}


def test_a_face_marked_by_hand_replaces_what_was_found(filled: Project) -> None:
    run(filled)
    photo = filled.images_dir / "photos" / "安娜 1.png"
    filled.set_face(photo, (200, 600, 100, 100))
    run(filled)
    assert sorted(crops(filled)) == ["FACE_both_1.png", "FACE_both_2.png", "FACE_安娜 1_2.png"]
    assert [entry.key for entry in trash.trashed(filled)] == ["faces/FACE_安娜 1_1.png"]
    assert load_manifest(manifest_path(filled)).entries["photos/安娜 1.png"].aim.faces == ((200, 600, 100, 100),)


def test_faces_of_a_photo_that_is_gone_go_too_and_come_back_with_it(filled: Project, events: list[Event]) -> None:
    run(filled)
    photo = filled.images_dir / "photos" / "both.png"
    assert sorted(path.name for path in cuts_of(filled, [photo])) == ["FACE_both_1.png", "FACE_both_2.png"]
    trash.take_out(filled, photo)
    run(filled, FACES, events)
    assert sorted(crops(filled)) == ["FACE_安娜 1_1.png"]
    assert "2 face crops whose photo or face is gone were moved to the trash." in warnings(events)


def test_a_photo_retouched_in_place_keeps_its_face_and_what_was_thrown_out(filled: Project) -> None:
    run(filled)
    trash.take_out(filled, filled.images_dir / "faces" / "FACE_both_2.png")
    both = filled.images_dir / "photos" / "both.png"
    image = read_image(both)
    image.putpixel((0, 0), (1, 2, 3))
    image.save(both)
    run(filled)
    assert sorted(crops(filled)) == ["FACE_both_1.png", "FACE_安娜 1_1.png"]


def test_pictures_of_others_give_no_faces(filled: Project) -> None:
    filled.set_group(Group("reg", 1, is_prior=True))
    face(filled.images_dir / "reg" / "other.png", (400, 400), (100, 100, 100, 100))
    run(filled)
    assert "FACE_other_1.png" not in crops(filled)


def test_a_group_of_the_same_name_that_is_a_persons_own_is_left_alone(filled: Project) -> None:
    face(filled.images_dir / "faces" / "mine.png", (200, 200))
    run(filled)
    assert sorted(crops(filled)) == ["mine.png"]
    assert len(list((filled.images_dir / "faces-2").glob("*.png"))) == 3
    run(filled)
    assert len(list((filled.images_dir / "faces-2").glob("*.png"))) == 3


@pytest.mark.parametrize("after", [1, 4, 7])
def test_a_stop_keeps_what_was_done_and_the_next_goes_on(filled: Project, after: int) -> None:
    commands, seen = CommandBox(), []

    def emit(event: Event) -> None:
        seen.append(event)
        if sum(isinstance(one, Progress) for one in seen) == after:
            commands.send(Command.STOP)

    assert process(filled, FACES, Finder().finder, emit, commands) == "stopped"
    assert sum(isinstance(one, Progress) for one in seen) == after
    finder = Finder()
    assert process(filled, FACES, finder.finder, lambda event: None, CommandBox()) == "done"
    assert len(finder.asked) == max(0, 3 - after)
    assert len(crops(filled)) == 3


def test_a_run_killed_before_its_notes_does_not_cut_twice(filled: Project) -> None:
    run(filled)
    path = filled.root / "project.json"
    values = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**values, "cuts": []}, ensure_ascii=False), encoding="utf-8")
    again = Project.load(filled.root)
    run(again)
    assert len(crops(again)) == 3
    assert len(again.cuts) == 3


def test_without_a_detector_faces_marked_by_hand_are_cut(filled: Project, events: list[Event]) -> None:
    filled.set_face(filled.images_dir / "photos" / "tree.png", (100, 100, 40, 40))
    assert process(filled, FACES, None, events.append, CommandBox()) == "done"
    assert crops(filled) == {"FACE_tree_1.png": (80, 80)}
    assert warnings(events)[0].startswith("No face detector is at work")


def test_a_broken_photo_and_one_deleted_underneath_are_passed_over(filled: Project, events: list[Event]) -> None:
    (filled.images_dir / "photos" / "坏.png").write_bytes(b"no picture")
    finder = Finder()

    def emit(event: Event) -> None:
        events.append(event)
        if isinstance(event, Progress) and (event.stage, event.done) == ("faces", 1):
            (filled.images_dir / "photos" / "tree.png").unlink(missing_ok=True)

    finder_done = process(filled, FACES, finder.finder, emit, CommandBox())
    assert finder_done == "done"
    assert "坏.png" in str(warnings(events))
    assert len(crops(filled)) == 3


def test_a_full_disk_while_cutting_faces_is_said_and_nothing_is_lost(
    filled: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def full(source: object, target: object) -> None:
        if "FACE_both_2" in str(target):
            raise OSError(28, "No space left on device")
        real(source, target)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DatasetError, match=r"No space left.*Free some space"):
        run(filled)
    monkeypatch.undo()
    assert not list(filled.images_dir.rglob("*.tmp"))
    assert run(Project.load(filled.root)) == "done"
    assert len(crops(filled)) == 3


def test_a_moved_project_keeps_its_faces(filled: Project, folder: Path) -> None:
    run(filled)
    shutil.move(filled.root, folder / "moved")
    moved, finder = Project.load(folder / "moved"), Finder()
    process(moved, FACES, finder.finder, lambda event: None, CommandBox())
    assert (finder.asked, len(crops(moved))) == ([], 3)


@pytest.mark.parametrize("padding", [-0.1, 2.1, float("nan")])
def test_impossible_padding_is_refused(filled: Project, padding: float) -> None:
    with pytest.raises(DatasetError, match="0 to 2"):
        run(filled, replace(FACES, face_padding=padding))
