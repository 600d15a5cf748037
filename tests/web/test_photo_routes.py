"""The photo wall's routes, asked from outside by plain HTTP."""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from lora_forge.dataset.project import Group, Project
from lora_forge.train.claim import claimed
from tests.web.conftest import Served

WAIT_S = 60.0
NUMBERS = itertools.count()


def paint(path: Path, width: int, height: int, seed: int, caption: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


@pytest.fixture
def project(open_server: Served) -> Project:
    made = Project.create(open_server.desk.data_root() / f"墙 {next(NUMBERS)}", "ohwx")
    paint(made.images_dir / "photos" / "a 图.png", 300, 200, 1, "ohwx, " + "long " * 60)
    paint(made.images_dir / "photos" / "b.jpg", 600, 900, 2)
    paint(made.images_dir / "10_side" / "c.webp", 64, 48, 3, "side")
    return made


def wall(served: Served, project: Project, language: str = "en") -> dict:
    """The list, once everything on it is measured."""
    ends = time.monotonic() + WAIT_S
    while True:
        got = served.get(f"/lora_forge/photos?project={quote(project.root.name)}&language={language}")
        assert got.status == 200, got.body
        if all(photo["width"] or photo["problem"] for photo in got.json["photos"]) or time.monotonic() > ends:
            return got.json


def thumb(served: Served, project: Project, key: str, more: str = "") -> object:
    return served.get(f"/lora_forge/thumb?project={quote(project.root.name)}&key={quote(key)}{more}")


def test_the_wall_lists_groups_photos_and_the_trash(open_server: Served, project: Project) -> None:
    project.set_group(Group("10_side", 7))
    got = wall(open_server, project)
    assert (got["project"], got["trigger_word"], got["trash"]) == (project.root.name, "ohwx", [])
    assert got["groups"] == [
        {"name": "10_side", "repeats": 7, "is_prior": False, "is_faces": False, "count": 1},
        {"name": "photos", "repeats": None, "is_prior": False, "is_faces": False, "count": 2},
    ]
    side, first, second = got["photos"]
    assert (side["key"], side["group"], side["name"]) == ("10_side/c.webp", "10_side", "c.webp")
    assert [(one["width"], one["height"]) for one in (side, first, second)] == [(64, 48), (300, 200), (600, 900)]
    assert (first["caption"], len(first["caption"])) == (("ohwx, " + "long " * 60)[:200], 200)
    assert all(one["face"] is one["crop"] is one["source"] is None and one["problem"] == "" for one in got["photos"])
    assert str(open_server.desk.root) not in json.dumps(got)


def test_a_thumbnail_is_small_and_kept_by_the_browser_for_as_long_as_the_photo_stays(
    open_server: Served, project: Project
) -> None:
    stamp = wall(open_server, project)["photos"][2]["stamp"]
    got = thumb(open_server, project, "photos/b.jpg", f"&v={stamp}")
    assert (got.status, got.headers["content-type"]) == (200, "image/jpeg")
    assert got.headers["cache-control"].startswith("private, max-age=31536000")
    assert Image.open(io.BytesIO(got.body)).size == (171, 256)
    paint(project.images_dir / "photos" / "b.jpg", 900, 600, 9)
    later = thumb(open_server, project, "photos/b.jpg", f"&v={stamp}")
    assert "31536000" not in later.headers["cache-control"]
    assert Image.open(io.BytesIO(later.body)).size == (256, 171)


@pytest.mark.parametrize(
    "key",
    ["../project.json", "photos/../../project.json", "/etc/passwd", "photos/none.png", "photos/a 图.txt", "", "photos",
     ".hidden/a.png", "photos\\b.jpg", "photos/b.jpg\0.png"],
)  # fmt: skip
def test_keys_that_lead_elsewhere_or_nowhere_are_refused(open_server: Served, project: Project, key: str) -> None:
    name = project.root.name
    assert thumb(open_server, project, key).status in (400, 404)
    for route, more in (("crop", {"box": [0, 0, 9, 9]}), ("face", {"box": None})):
        got = open_server.post(f"/lora_forge/photos/{route}", {"project": name, "key": key, **more})
        assert got.status in (400, 404)
    assert open_server.post("/lora_forge/photos/trash", {"project": name, "keys": [key]}).status in (400, 404)
    assert len(project.photos()) == 3


def test_a_link_out_of_the_project_is_not_followed(open_server: Served, project: Project) -> None:
    (project.images_dir / "photos" / "link.png").symlink_to(open_server.desk.root / "private.png")
    assert thumb(open_server, project, "photos/link.png").status == 400


def test_a_broken_file_is_a_sentence_in_the_language_asked_for(open_server: Served, project: Project) -> None:
    (project.images_dir / "photos" / "坏.png").write_bytes(b"%PDF-1.4")
    (broken,) = [one for one in wall(open_server, project)["photos"] if one["name"] == "坏.png"]
    assert (broken["width"], broken["problem"][:11]) == (0, "it is a PDF")
    (broken,) = [one for one in wall(open_server, project, "zh")["photos"] if one["name"] == "坏.png"]
    assert "PDF" in broken["problem"]
    assert "it is" not in broken["problem"]
    got = thumb(open_server, project, "photos/坏.png")
    assert got.status == 404
    assert "it is a PDF" in got.json["error"]["what"]


def test_a_caption_that_cant_be_read_is_the_photos_problem_alone(open_server: Served, project: Project) -> None:
    (project.images_dir / "photos" / "b.txt").write_bytes(b"x" * (2 << 20))
    (broken,) = [one for one in wall(open_server, project)["photos"] if one["problem"]]
    assert (broken["key"], broken["width"], broken["caption"]) == ("photos/b.jpg", 600, "")
    assert "too large for a caption" in broken["problem"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_a_name_that_is_no_text_is_shown_as_what_it_probably_is(open_server: Served, project: Project) -> None:
    folder = os.fsencode(project.images_dir / "photos")
    os.rename(os.path.join(folder, b"b.jpg"), os.path.join(folder, "照片很多".encode("gbk") + b".jpg"))
    photos = wall(open_server, project)["photos"]
    (odd,) = [one for one in photos if one["problem"]]
    assert (odd["name"], odd["problem"]) == ("照片很多.jpg", "Its name can't be shown; give the file another one.")
    assert len(photos) == 3


def test_photos_go_to_the_trash_in_one_batch_and_come_back_in_one(open_server: Served, project: Project) -> None:
    name = project.root.name
    one = open_server.post("/lora_forge/photos/trash", {"project": name, "keys": ["10_side/c.webp"]})
    two = open_server.post("/lora_forge/photos/trash", {"project": name, "keys": None, "group": "photos"})
    assert (one.json, two.json) == ({"numbers": [1]}, {"numbers": [2, 3]})
    got = wall(open_server, project)
    assert got["photos"] == []
    assert [(entry["number"], entry["key"]) for entry in got["trash"]] == [
        (1, "10_side/c.webp"), (2, "photos/a 图.png"), (3, "photos/b.jpg"),
    ]  # fmt: skip
    shown = open_server.get(f"/lora_forge/thumb?project={quote(name)}&trash=3&v={got['trash'][2]['stamp']}")
    assert Image.open(io.BytesIO(shown.body)).size == (171, 256)
    assert "31536000" in shown.headers["cache-control"]
    back = open_server.post("/lora_forge/photos/restore", {"project": name})
    assert back.json == {"keys": ["photos/a 图.png", "photos/b.jpg"]}
    back = open_server.post("/lora_forge/photos/restore", {"project": name, "numbers": [1]})
    assert back.json == {"keys": ["10_side/c.webp"]}
    assert project.photos()[0].caption == "side"
    assert open_server.post("/lora_forge/photos/restore", {"project": name, "numbers": [1]}).status == 404
    assert open_server.post("/lora_forge/photos/restore", {"project": name}).json == {"keys": []}


def test_boxes_are_set_in_whole_px_within_the_photo_and_forgotten(open_server: Served, project: Project) -> None:
    name, key = project.root.name, "photos/a 图.png"
    got = open_server.post("/lora_forge/photos/crop", {"project": name, "key": key, "box": [-5.4, 10.2, 100, 500]})
    assert got.json == {"key": key, "face": None, "crop": [0, 10, 95, 190]}
    got = open_server.post("/lora_forge/photos/face", {"project": name, "key": key, "box": [20, 30, 40, 50]})
    assert got.json == {"key": key, "face": [20, 30, 40, 50], "crop": [0, 10, 95, 190]}
    shown = wall(open_server, project)["photos"][1]
    assert (shown["face"], shown["crop"], shown["is_face_by_hand"]) == ([20, 30, 40, 50], [0, 10, 95, 190], True)
    open_server.post("/lora_forge/photos/crop", {"project": name, "key": key, "box": None})
    assert (Project.load(project.root).photos()[1].crop, Project.load(project.root).photos()[1].face) == (
        None, (20, 30, 40, 50),
    )  # fmt: skip


@pytest.mark.parametrize("box", [[1, 2, 3], [400, 0, 10, 10], ["a", 0, 1, 1], [0, 0, 1e300, 1], [0, 0, 0, 5], "all"])
def test_what_is_no_box_is_refused(open_server: Served, project: Project, box: object) -> None:
    wanted = {"project": project.root.name, "key": "photos/a 图.png", "box": box}
    assert open_server.post("/lora_forge/photos/crop", wanted).status == 400
    assert Project.load(project.root).photos()[1].crop is None


def test_a_groups_repeats_are_set(open_server: Served, project: Project) -> None:
    name = project.root.name
    open_server.post("/lora_forge/photos/group", {"project": name, "name": "photos", "repeats": 4})
    assert Project.load(project.root).group("photos").repeats == 4
    open_server.post("/lora_forge/photos/group", {"project": name, "name": "photos", "repeats": None})
    assert Project.load(project.root).group("photos").repeats is None
    assert open_server.post("/lora_forge/photos/group", {"project": name, "name": "../x", "repeats": 1}).status == 400


@pytest.mark.parametrize("route", ["photos", "thumb", "photos/prepared", "photos/checkup"])
def test_strangers_see_nothing(locked_server: Served, route: str) -> None:
    assert locked_server.get(f"/lora_forge/{route}?project=anna&key=photos/secret.png").status == 401


@pytest.mark.parametrize("route", ["trash", "restore", "crop", "face", "group", "process", "checkup", "remedy"])
def test_strangers_change_nothing(locked_server: Served, route: str) -> None:
    assert locked_server.post(f"/lora_forge/photos/{route}", {"project": "anna", "keys": None}).status == 401


def chore(served: Served, route: str, wanted: dict) -> dict:
    """Start it, wait for its end, and give the board."""
    started = served.post(f"/lora_forge/photos/{route}", wanted)
    assert started.status == 200, started.body
    ends = time.monotonic() + WAIT_S
    while time.monotonic() < ends:
        told = served.get("/lora_forge/status?board=chores").json
        if told["state"] in ("done", "stopped", "failed"):
            return told
        time.sleep(0.02)
    raise AssertionError(told)


def test_processing_is_a_chore_and_says_what_training_will_see(open_server: Served, project: Project) -> None:
    name = project.root.name
    empty = open_server.get(f"/lora_forge/photos/prepared?project={quote(name)}").json
    assert empty == {"photos": [], "settings": None, "is_stale": True}
    open_server.post("/lora_forge/photos/crop", {"project": name, "key": "photos/b.jpg", "box": [0, 500, 600, 400]})
    wanted = {"project": name, "resolution_px": 128, "use_buckets": False, "crop": "middle", "faces": False}
    told = chore(open_server, "process", wanted)
    assert (told["state"], told["error"]) == ("done", None)
    got = open_server.get(f"/lora_forge/photos/prepared?project={quote(name)}").json
    assert got["settings"] == {"resolution_px": 128, "use_buckets": False, "crop": "middle"}
    assert got["photos"] == [
        {"key": "10_side/c.webp", "bucket": [128, 128], "crop": [7, 0, 49, 48]},
        {"key": "photos/a 图.png", "bucket": [128, 128], "crop": [50, 0, 200, 200]},
        {"key": "photos/b.jpg", "bucket": [128, 128], "crop": [100, 500, 400, 400]},
    ]
    assert got["is_stale"] is False
    open_server.post("/lora_forge/photos/crop", {"project": name, "key": "photos/b.jpg", "box": None})
    assert open_server.get(f"/lora_forge/photos/prepared?project={quote(name)}").json["is_stale"] is True


def test_a_real_face_is_found_kept_in_the_square_and_cut(open_server: Served, project: Project) -> None:
    """By the detector that OpenCV or scikit-image bring; the photograph is scikit-image's own."""
    data = pytest.importorskip("skimage.data")
    pytest.importorskip("cv2")
    name = project.root.name
    tall = Image.new("RGB", (512, 1200), (90, 90, 90))
    tall.paste(Image.fromarray(data.astronaut()), (0, 0))
    tall.save(project.images_dir / "photos" / "astronaut.png")
    wanted = {"project": name, "resolution_px": 256, "use_buckets": False, "faces": True, "face_repeats": 4}
    assert chore(open_server, "process", wanted)["state"] == "done"
    got = wall(open_server, project)
    (photo,) = [one for one in got["photos"] if one["key"] == "photos/astronaut.png"]
    x, y, width, height = photo["face"]
    assert (x < 224 < x + width, y < 110 < y + height, photo["is_face_by_hand"]) == (True, True, False)
    (crop,) = [one for one in got["photos"] if one["source"] == "photos/astronaut.png"]
    assert (crop["group"], crop["name"]) == ("faces", "FACE_astronaut_1.png")
    assert {"name": "faces", "repeats": 4, "is_prior": False, "is_faces": True, "count": 1} in got["groups"]
    seen = open_server.get(f"/lora_forge/photos/prepared?project={quote(name)}").json["photos"]
    (cut,) = [one["crop"] for one in seen if one["key"] == "photos/astronaut.png"]
    assert cut[1] <= y - 0.6 * height + 1
    assert cut[1] < 344  # where the middle would begin
    assert open_server.post("/lora_forge/photos/trash", {"project": name, "keys": [crop["key"]]}).status == 200
    assert chore(open_server, "process", wanted)["state"] == "done"
    assert [one for one in wall(open_server, project)["photos"] if one["source"]] == []


def test_a_photo_goes_to_the_trash_with_its_faces(open_server: Served, project: Project) -> None:
    name, key = project.root.name, "photos/b.jpg"
    open_server.post("/lora_forge/photos/face", {"project": name, "key": key, "box": [200, 200, 100, 100]})
    wanted = {"project": name, "resolution_px": 64, "faces": True, "crop": "middle", "kind": "anime"}
    assert chore(open_server, "process", wanted)["state"] == "done"
    assert [one["key"] for one in wall(open_server, project)["photos"] if one["source"] == key] == [
        "faces/FACE_b_1.png"
    ]
    assert len(open_server.post("/lora_forge/photos/trash", {"project": name, "keys": [key]}).json["numbers"]) == 2
    back = open_server.post("/lora_forge/photos/restore", {"project": name}).json["keys"]
    assert sorted(back) == ["faces/FACE_b_1.png", "photos/b.jpg"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"resolution_px": 8}, "resolution_px must be a number from 64 to 4096"),
        ({"resolution_px": "big"}, "a whole number"),
        ({"crop": "sideways"}, "no crop mode"),
        ({"face_padding": 3}, "face_padding must be a number from 0 to 2"),
        ({"face_padding": True}, "face_padding"),
        ({"face_repeats": 0}, "a number above 0"),
        ({"kind": "dragon"}, "no type 'dragon'"),
        ({"project": "none"}, "is not a project"),
        ({"project": "../anna"}, "can't be called"),
    ],
)
def test_impossible_wishes_are_refused_at_once(open_server: Served, project: Project, more: dict, words: str) -> None:
    wanted = {"project": project.root.name, "resolution_px": 128, **more}
    got = open_server.post("/lora_forge/photos/process", wanted)
    assert got.status == 400
    assert words in got.json["error"]["what"]


def test_the_checkup_and_its_remedies_by_route(open_server: Served, project: Project) -> None:
    name = project.root.name
    none = open_server.get(f"/lora_forge/photos/checkup?project={quote(name)}").json
    assert none == {"made_at": None, "is_stale": True, "findings": [], "detector": None}
    (project.images_dir / "photos" / "坏.png").write_bytes(b"%PDF")
    (project.images_dir / "photos" / "twin.jpg").write_bytes((project.images_dir / "photos" / "b.jpg").read_bytes())
    told = chore(open_server, "checkup", {"project": name, "kind": "concept", "resolution_px": 128})
    assert (told["state"], told["error"]) == ("done", None)
    report = open_server.get(f"/lora_forge/photos/checkup?project={quote(name)}&language=zh").json
    by_id = {finding["id"]: finding for finding in report["findings"]}
    assert (report["is_stale"], by_id["broken"]["photos"]) == (False, ["photos/坏.png"])
    assert any("\u4e00" <= char <= "\u9fff" for char in by_id["broken"]["title"])
    wanted = {"project": name, "finding": "broken", "remedy": "trash", "keys": None}
    did = open_server.post("/lora_forge/photos/remedy", wanted).json
    assert did["undo"] is not None
    assert not (project.images_dir / "photos" / "坏.png").exists()
    assert open_server.get(f"/lora_forge/photos/checkup?project={quote(name)}").json["is_stale"] is True
    undone = open_server.post("/lora_forge/photos/remedy/undo", {"project": name, "undo": did["undo"]})
    assert undone.status == 200
    assert (project.images_dir / "photos" / "坏.png").exists()
    assert open_server.post("/lora_forge/photos/remedy", {**wanted, "finding": "none"}).status == 400
    assert open_server.post("/lora_forge/photos/remedy/undo", {"project": name, "undo": {"kind": "x"}}).status == 400


def test_photos_that_a_run_is_using_are_not_prepared_anew(open_server: Served, project: Project) -> None:
    wanted = {"project": project.root.name, "resolution_px": 64, "crop": "middle"}
    with claimed(project.runs_dir / "girl"):
        got = open_server.post("/lora_forge/photos/process", wanted)
    assert (got.status, got.json["error"]["what"]) == (409, "A run is using these photos.")
    assert chore(open_server, "process", wanted)["state"] == "done"


def test_a_stop_ends_the_chore(open_server: Served, project: Project) -> None:
    for seed in range(60):
        paint(project.images_dir / "photos" / f"many {seed}.png", 900, 900, seed)
    wanted = {"project": project.root.name, "resolution_px": 512, "crop": "middle"}
    assert open_server.post("/lora_forge/photos/process", wanted).status == 200
    assert open_server.post("/lora_forge/photos/process", wanted).status == 409
    assert open_server.post("/lora_forge/command", {"command": "stop", "board": "chores"}).status == 200
    ends = time.monotonic() + WAIT_S
    while (told := open_server.get("/lora_forge/status?board=chores").json)["state"] == "stopping":
        assert time.monotonic() < ends
    assert told["state"] == "stopped"
