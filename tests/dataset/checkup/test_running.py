"""Running a checkup, keeping it, and doing what it proposes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from lora_forge.cli import main
from lora_forge.dataset import checkup
from lora_forge.dataset.checkup import Report
from lora_forge.dataset.checkup.measures import FaceMeasures, Measures
from lora_forge.dataset.checkup.people import likeness_to_others
from lora_forge.dataset.checkup.remedies import half_length, less_long, without_others
from lora_forge.dataset.checkup.report import Place
from lora_forge.dataset.checkup.seen import Watcher
from lora_forge.dataset.faces import find_detector
from lora_forge.dataset.project import Group, Project
from lora_forge.dataset.trash import trashed
from lora_forge.errors import DatasetError
from lora_forge.events import Command, CommandBox, Event, Progress, StageDone, StageStarted
from tests.dataset.checkup.planted import Picture, portrait, scene
from tests.dataset.faces.pack import write_pack

SMALL = (320, 320)


def silent(event: Event) -> None:
    """Nobody listens."""


@pytest.fixture
def packs(tmp_path: Path) -> Path:
    write_pack(tmp_path / "packs" / "buffalo_sc")
    return tmp_path / "packs"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Five photos: three good ones, one twice, one of nobody."""
    project = Project.create(tmp_path / "项目", "ohwx")
    folder = project.images_dir / "photos"
    for number in range(3):
        portrait(f"good{number}", number, 70.0, size=SMALL).save(folder)
    again = portrait("again", 0, 70.0, size=SMALL)
    again.image = again.image.point(lambda value: min(255, value * 1.1))
    again.save(folder)
    Picture("nobody", scene(2, SMALL)).save(folder)
    return project


@pytest.fixture
def check(project: Project, packs: Path) -> Callable[[], Report]:
    def check() -> Report:
        report = checkup.run(project, "person", 256, silent, CommandBox(), models_dirs=[packs])
        assert report is not None
        return report

    return check


def test_it_says_how_far_it_is(project: Project, packs: Path) -> None:
    events: list[Event] = []
    checkup.run(project, "person", 256, events.append, CommandBox(), models_dirs=[packs])
    assert events[0] == StageStarted("checkup", 5)
    assert [event.done for event in events if isinstance(event, Progress)] == [1, 2, 3, 4, 5]
    done = events[-1]
    assert isinstance(done, StageDone)
    assert done.summary.startswith("5 photos checked: ")


def test_the_report_is_kept_and_grows_stale(project: Project, check: Callable[[], Report]) -> None:
    assert Report.load(project) is None
    made = check()
    kept = Report.load(project)
    assert kept == made
    assert not kept.is_stale(project)
    assert [finding.id for finding in kept.findings if finding.light == "red"] == ["count"]
    assert sorted(finding.id for finding in kept.findings) == sorted(checkup.running.ORDER)
    project.set_face(project.images_dir / "photos" / "nobody.png", (10, 10, 50, 60))
    assert kept.is_stale(Project.load(project.root))
    assert check().finding("no_face").photos == ()  # a person says that there is a face
    (project.images_dir / "photos" / "good1.png").unlink()
    assert made.is_stale(project)
    assert "photos/good1.png" not in str(made.told(project)["findings"])


def test_both_languages_come_from_one_report(project: Project, check: Callable[[], Report]) -> None:
    check()
    report = Report.load(project)
    assert report is not None
    english, chinese = report.told(project), report.told(project, "zh")
    for one, other in zip(english["findings"], chinese["findings"], strict=True):
        assert (one["id"], one["photos"], one["numbers"]) == (other["id"], other["photos"], other["numbers"])
        for text in (other["title"], other["why"], *(remedy["label"] for remedy in other["remedies"])):
            assert any("一" <= char <= "鿿" for char in text), text
    assert "insightface" in chinese["detector"]["sentence"]
    json.dumps(chinese, allow_nan=False)


def test_nothing_is_measured_twice(
    project: Project, packs: Path, check: Callable[[], Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = check()
    photo = project.images_dir / "photos" / "good1.png"
    photo.rename(photo.with_name("renamed.png"))
    monkeypatch.setattr("lora_forge.dataset.checkup.seen.read_image", lambda path: pytest.fail(f"{path} read again"))
    again = check()
    assert {finding.id: finding.light for finding in again.findings} == {
        finding.id: finding.light for finding in first.findings
    }


def test_a_stop_keeps_what_was_measured(project: Project, packs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = CommandBox()

    def stop_after_three(event: Event) -> None:
        if isinstance(event, Progress) and event.done == 3:
            commands.send(Command.STOP)

    assert checkup.run(project, "person", 256, stop_after_three, commands, models_dirs=[packs]) is None
    assert Report.load(project) is None
    reads: list[Path] = []
    from lora_forge.dataset.checkup import seen

    read = seen.read_image
    monkeypatch.setattr(seen, "read_image", lambda path: reads.append(path) or read(path))
    assert checkup.run(project, "person", 256, silent, CommandBox(), models_dirs=[packs]) is not None
    assert len(reads) == 2


def test_face_crops_and_prior_pictures_are_none_of_its_business(project: Project, check: Callable[[], Report]) -> None:
    for name, group in (("faces", Group("faces", is_faces=True)), ("women", Group("women", is_prior=True))):
        project.set_group(group)
        Picture("other", scene(4, SMALL)).save(project.images_dir / name)
    assert check().finding("count").numbers["count"] == 5.0


def test_keeping_the_best_and_taking_it_back(project: Project, check: Callable[[], Report]) -> None:
    found = check().finding("duplicates")
    assert {Path(key).stem for key in found.groups[0]} == {"good0", "again"}
    assert found.photos == found.groups[0][1:]
    done = checkup.apply(project, "duplicates", "keep_best")
    assert (project.images_dir / found.groups[0][0]).is_file()
    assert not (project.images_dir / found.photos[0]).exists()
    assert str(done.did) == "1 photos moved to the trash."
    assert done.undo == {"kind": "trash", "numbers": [1]}
    assert check().finding("duplicates").light == "green"
    assert str(checkup.undo(project, done.undo)) == "1 photos are back."
    assert (project.images_dir / found.photos[0]).is_file()
    assert trashed(project) == ()


def test_only_named_photos_can_be_trashed(project: Project, check: Callable[[], Report]) -> None:
    check()
    done = checkup.apply(project, "no_face", "trash", ["photos/good0.png", "../../secret.png"])
    assert (done.undo, str(done.did)) == (None, "There was nothing to do.")
    for finding, remedy in (("count", "trash"), ("no_face", "mark_face"), ("no_face", "format_disk")):
        with pytest.raises(DatasetError, match="no remedy"):
            checkup.apply(project, finding, remedy)
    with pytest.raises(DatasetError, match="no finding"):
        checkup.apply(project, "moon", "trash")
    with pytest.raises(DatasetError, match="can't be taken back"):
        checkup.undo(project, {"kind": "format"})


def test_cropping_a_tiny_face_and_taking_it_back(project: Project, check: Callable[[], Report]) -> None:
    tiny = portrait("tiny", 8, 30.0, size=(640, 480))
    path = tiny.save(project.images_dir / "photos")
    before = path.read_bytes()
    assert check().finding("small_face").photos == ("photos/tiny.png",)
    done = checkup.apply(project, "small_face", "crop_to_face")
    crop = Project.load(project.root).photo(path).crop
    assert crop is not None
    (left, top, right, bottom), _ = tiny.faces[0]
    assert crop[0] <= left < right <= crop[0] + crop[2]
    assert crop[1] <= top < bottom <= crop[1] + crop[3]
    assert (bottom - top) / crop[3] == pytest.approx(0.2, abs=0.01)
    assert path.read_bytes() == before
    assert done.undo == {"kind": "crop", "boxes": {"photos/tiny.png": None}}
    assert str(checkup.undo(project, done.undo)) == "1 crops taken back."
    assert Project.load(project.root).photo(path).crop is None


def test_a_crop_set_by_hand_is_what_is_judged(project: Project, packs: Path) -> None:
    path = portrait("wide", 8, 90.0, size=(640, 240)).save(project.images_dir / "photos")
    watcher = Watcher(project, find_detector([packs]))
    assert watcher.look(project.photo(path)).measures.aspect == pytest.approx(640 / 240)
    project.set_crop(path, (100, 0, 240, 240))
    seen = watcher.look(Project.load(project.root).photo(path))
    assert (seen.measures.width, seen.measures.height, seen.origin) == (240, 240, (100, 0))


def test_a_full_disk_ends_in_a_sentence(project: Project, packs: Path) -> None:
    (project.root / "checkup").write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(DatasetError, match="can't keep the checkup"):
        checkup.run(project, "person", 256, silent, CommandBox(), models_dirs=[packs])


def test_without_faces_being_findable(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anime without a detector: what needs faces is not judged, and says why; a face marked by hand is judged."""
    report = checkup.run(project, "anime", 256, silent, CommandBox())
    assert report is not None
    assert not report.finding("no_face").is_judged
    assert "by hand" in str(report.finding("no_face").why)
    project.set_face(project.images_dir / "photos" / "nobody.png", (100, 100, 10, 12))
    report = checkup.run(Project.load(project.root), "anime", 256, silent, CommandBox())
    assert report is not None
    assert report.finding("small_face").photos == ("photos/nobody.png",)


def test_by_haar_on_real_faces(tmp_path: Path) -> None:
    """No pack at all: no face and several faces are still found, strangers and views say that they can't be."""
    project = Project.create(tmp_path / "p", "ohwx")
    folder = project.images_dir / "photos"
    plain = [portrait(f"one{n}", n, 110.0, size=(480, 480)) for n in (1, 2, 4, 8, 9)]
    several = [portrait(f"two{n}", n, 110.0, size=(640, 480), centre=(170.0, 200.0)) for n in (1, 4, 9)]
    from tests.dataset.checkup.planted import add_person

    for picture in several:
        add_person(picture.image, 110.0, (470.0, 220.0))
    nobody = [Picture(f"none{n}", scene(n, (480, 480), 0.3)) for n in (0, 1, 2, 4)]
    for picture in [*plain, *several, *nobody]:
        picture.image.save(folder / f"{picture.name}.png")
    report = checkup.run(project, "person", 384, silent, CommandBox())
    assert report is not None
    assert report.detector.kind == "haar"
    assert {Path(key).stem[:4] for key in report.finding("no_face").photos} == {"none"}
    assert len(report.finding("no_face").photos) == 4
    assert {Path(key).stem for key in report.finding("many_faces").photos} == {"two1", "two4", "two9"}
    for id in ("stranger", "angles"):
        assert not report.finding(id).is_judged
        assert "can't tell who somebody is" in str(report.finding(id).why)


def test_the_command(project: Project, packs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["checkup", "--project", str(project.root), "--resolution", "256", "--models", str(packs)]
    assert main(options) == 0
    out = capsys.readouterr().out
    assert "!! 5 photos: too few to learn from." in out
    assert "photos/nobody.png" in out
    assert main([*options, "--json"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["event"], last["detector"]["name"], len(last["findings"])) == (
        "CheckedUp",
        "insightface buffalo_sc",
        18,
    )


# ---------------------------------------------------------------- pure parts


def test_crops_leave_others_out() -> None:
    place = Place((0, 0), (640, 480), ((100.0, 100.0, 80.0, 100.0), (400.0, 120.0, 70.0, 90.0)))
    assert without_others(place) == (0, 0, 400, 480)
    above = Place((0, 0), (480, 640), ((200.0, 400.0, 80.0, 100.0), (210.0, 50.0, 70.0, 90.0)))
    assert without_others(above) == (0, 140, 480, 500)
    on_each_other = Place((0, 0), (640, 480), ((100.0, 100.0, 80.0, 100.0), (120.0, 120.0, 70.0, 90.0)))
    assert without_others(on_each_other) is None
    assert without_others(Place((0, 0), (640, 480), ((1.0, 1.0, 8.0, 8.0),))) is None


def test_crops_of_small_faces_and_long_pictures_stay_inside() -> None:
    corner = Place((0, 0), (1000, 800), ((980.0, 790.0, 20.0, 20.0),))
    assert half_length(corner) == (875, 700, 125, 100)
    assert half_length(Place((0, 0), (100, 100), ((10.0, 10.0, 40.0, 40.0),))) is None
    assert less_long(Place((0, 0), (1200, 400), ())) == (300, 0, 600, 400)
    assert less_long(Place((0, 0), (1200, 400), ((1100.0, 100.0, 50.0, 60.0),))) == (600, 0, 600, 400)
    assert less_long(Place((0, 0), (400, 1200), ())) == (0, 300, 400, 600)
    assert less_long(Place((0, 0), (600, 400), ())) is None


def test_strangers_do_not_vote() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    her, other = np.eye(512, dtype=np.float32)[:2]
    faces = [her + rng.normal(0, 0.03, 512) for _ in range(6)] + [other + rng.normal(0, 0.03, 512) for _ in range(4)]
    values = likeness_to_others(np.stack([face / np.linalg.norm(face) for face in faces]).astype(np.float32))
    assert min(values[:6]) > 0.7
    assert max(values[6:]) < 0.1


def test_measures_survive_json(project: Project, packs: Path) -> None:
    from lora_forge.dataset.checkup.measures import measures_from, to_json

    measures = Measures(640, 480, 2**64 - 1, 3, 1.5, 2.5, None, "00", "ff")
    assert measures_from(json.loads(json.dumps(to_json(measures)))) == measures
    around = FaceMeasures(None, "aa")
    assert FaceMeasures(**json.loads(json.dumps(to_json(around)))) == around


def test_a_picture_of_one_pixel_is_measured(project: Project, packs: Path) -> None:
    path = project.images_dir / "photos" / "dot.png"
    Image.new("RGB", (1, 1)).save(path)
    seen = Watcher(project, find_detector([])).look(project.photo(path))
    assert (seen.measures.width, seen.measures.tiles, seen.faces) == (1, 0.0, ())
