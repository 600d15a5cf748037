from __future__ import annotations

import os
from pathlib import Path

import pytest

from lora_forge.dataset import files, trash
from lora_forge.dataset.importing import ImportReport, import_source
from lora_forge.dataset.naming import parse_kohya, safe_stem
from lora_forge.dataset.project import Group, Project
from lora_forge.errors import DatasetError
from lora_forge.events import Event, Progress, StageDone, StageStarted, Warned
from tests.dataset.conftest import Paint


@pytest.fixture
def source(folder: Path) -> Path:
    made = folder / "素材 🙂"
    made.mkdir()
    return made


def bring(source: Path, project: Project, events: list[Event] | None = None, **options: bool) -> ImportReport:
    return import_source(source, project, (events if events is not None else []).append, **options)


def photos(project: Project) -> list[tuple[str, str]]:
    return [(project.key(photo.path), photo.caption) for photo in project.photos()]


def reasons(report: ImportReport) -> dict[str, str]:
    return {skipped.name: str(skipped.reason) for skipped in report.skipped}


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_folder_is_copied_with_its_captions(source: Path, project: Project, paint: Paint, events: list[Event]):
    paint(source / "图 1.JPG", seed=1, caption="粉色头发")
    paint(source / "b c.png", seed=2)
    (source / "b c.caption").write_bytes("夹克, 衬衫".encode("gbk"))
    paint(source / "é 🙂.webp", seed=3)
    (source / "é 🙂.webp.txt").write_text("by its whole name", encoding="utf-16")
    before = snapshot(source)
    report = bring(source, project, events)
    assert photos(project) == [
        ("photos/b c.png", "夹克, 衬衫"),
        ("photos/é 🙂.webp", "by its whole name"),
        ("photos/图 1.jpg", "粉色头发"),
    ]
    assert snapshot(source) == before
    assert (len(report.imported), report.skipped) == (3, ())
    originals = [path for path in source.iterdir() if path.suffix in (".JPG", ".png", ".webp")]
    assert {path.read_bytes() for path in report.imported} == {path.read_bytes() for path in originals}
    assert (project.images_dir / "photos" / "b c.txt").read_text("utf-8") == "夹克, 衬衫\n"
    assert events[0] == StageStarted("import", 3)
    assert [e.done for e in events if isinstance(e, Progress)] == [1, 2, 3]
    done = StageDone("import", "{count} photos imported, {skipped} files left out.", {"count": 3, "skipped": 0})
    assert events[-1] == done
    assert done.summary == "3 photos imported, 0 files left out."


def test_importing_twice_changes_nothing(source: Path, project: Project, paint: Paint, events: list[Event]):
    paint(source / "a.png", seed=1, caption="old")
    paint(source / "10_ohwx" / "b.png", seed=2)
    bring(source, project)
    project.set_caption(project.images_dir / "photos" / "a.png", "edited by hand")
    before = snapshot(project.root)
    report = bring(source, project, events)
    assert report.imported == ()
    assert set(report.present) == {photo.path for photo in project.photos()}
    assert reasons(report) == {
        "a.png": "already in the project as photos/a.png",
        "10_ohwx/b.png": "already in the project as ohwx/b.png",
    }
    assert snapshot(project.root) == before
    assert not any(isinstance(event, Warned) for event in events)


def test_the_same_photo_twice_in_a_source_comes_once(source: Path, project: Project, paint: Paint):
    first = paint(source / "a.png")
    (source / "copy of a.png").write_bytes(first.read_bytes())
    assert reasons(bring(source, project)) == {"copy of a.png": "already in the project as photos/a.png"}


def test_a_caption_that_comes_later_is_taken_where_there_is_none(source: Path, project: Project, paint: Paint):
    path = paint(source / "a.png")
    bring(source, project)
    path.with_suffix(".txt").write_text("late", encoding="utf-8")
    assert reasons(bring(source, project)) == {"a.png": "already in the project as photos/a.png; its caption was taken"}
    assert photos(project) == [("photos/a.png", "late")]


def test_a_trashed_photo_can_be_imported_again(source: Path, project: Project, paint: Paint):
    paint(source / "a.png")
    trash.take_out(project, bring(source, project).imported[0])
    assert len(bring(source, project).imported) == 1


def test_equal_names_are_renamed_never_overwritten(source: Path, folder: Path, project: Project, paint: Paint):
    paint(source / "a.png", seed=1, caption="one")
    paint(folder / "other" / "A.png", seed=2, caption="two")
    paint(folder / "third" / "a.jpg", seed=3, caption="three")
    for origin in (source, folder / "other", folder / "third"):
        bring(origin, project)
    assert photos(project) == [("photos/A-2.png", "two"), ("photos/a-3.jpg", "three"), ("photos/a.png", "one")]


def test_names_that_differ_in_case_alone_both_come(source: Path, project: Project, paint: Paint):
    paint(source / "a.png", seed=1, caption="lower")
    paint(source / "A.png", seed=2, caption="upper")
    if len(list(source.iterdir())) < 4:
        pytest.skip("this file system does not tell upper from lower case")
    bring(source, project)
    assert sorted(caption for _, caption in photos(project)) == ["lower", "upper"]


def test_an_orphaned_caption_in_the_project_is_not_overwritten(source: Path, project: Project, paint: Paint):
    (project.images_dir / "photos" / "a.txt").write_text("mine")
    paint(source / "a.png", caption="new")
    bring(source, project)
    assert photos(project) == [("photos/a-2.png", "new")]
    assert (project.images_dir / "photos" / "a.txt").read_text() == "mine"


@pytest.mark.parametrize("inner", [False, True])
def test_kohya_folders_become_groups_with_repeats(source: Path, project: Project, paint: Paint, inner: bool):
    paint(source / "10_ohwx woman" / "a.png", seed=1, caption="red dress")
    paint(source / "10_ohwx woman" / "deep" / "b.png", seed=2)
    paint(source / "3_脸" / "c.png", seed=3)
    if inner:
        bring(source / "10_ohwx woman", project)
        assert project.groups == (Group("ohwx woman", 10), Group("photos"))
    else:
        bring(source, project)
        assert project.groups == (Group("ohwx woman", 10), Group("photos"), Group("脸", 3))
    found = [("ohwx woman/a.png", "red dress"), ("ohwx woman/b.png", "ohwx woman")]
    assert photos(project)[:2] == found
    assert len(photos(project)) == (2 if inner else 3)


def test_two_repeats_of_one_name_stay_two_groups(source: Path, project: Project, paint: Paint):
    paint(source / "10_ohwx" / "a.png", seed=1)
    paint(source / "5_ohwx" / "b.png", seed=2)
    bring(source, project)
    assert {(g.name, g.repeats) for g in project.groups} == {("ohwx", 10), ("5_ohwx", 5), ("photos", None)}
    before = project.groups
    bring(source, project)
    assert project.groups == before


def test_regularisation_pictures_are_set_aside_unless_told(source: Path, project: Project, paint: Paint):
    paint(source / "img" / "10_ohwx man" / "a.png", seed=1)
    paint(source / "reg" / "1_man" / "r.png", seed=2)
    paint(source / "reg" / "1_man" / "s.png", seed=3)
    report = bring(source, project)
    assert photos(project) == [("ohwx man/a.png", "ohwx man")]
    assert "by itself as prior" in reasons(report)["reg/"]
    assert reasons(report)["reg/"].startswith("2 ")
    bring(source / "reg", project, is_prior=True)
    assert project.group("man") == Group("man", 1, is_prior=True)
    assert photos(project)[:2] == [("man/r.png", "man"), ("man/s.png", "man")]


def test_plain_prior_pictures_get_their_own_group(source: Path, project: Project, paint: Paint):
    paint(source / "a.png", seed=1)
    bring(source, project, is_prior=True)
    assert project.group("prior") == Group("prior", None, is_prior=True)


def test_prior_and_photos_never_share_a_group(source: Path, folder: Path, project: Project, paint: Paint):
    paint(source / "10_woman" / "a.png", seed=1)
    paint(folder / "reg" / "10_woman" / "b.png", seed=2)
    bring(source, project)
    bring(folder / "reg", project, is_prior=True)
    assert {g.name: g.is_prior for g in project.groups if g.repeats} == {"woman": False, "10_woman": True}


def test_other_subfolders_become_groups_and_wrappers_vanish(source: Path, folder: Path, project: Project, paint: Paint):
    paint(source / "wrapper" / "close-ups" / "a.png", seed=1)
    paint(source / "wrapper" / "full body" / "b.png", seed=2)
    bring(source, project)
    paint(folder / "two" / "wrapper" / "c.png", seed=3)
    bring(folder / "two", project)
    assert [key for key, _ in photos(project)] == ["close-ups/a.png", "full body/b.png", "photos/c.png"]
    assert {g.repeats for g in project.groups} == {None}


def test_one_photo_brings_its_caption_and_nothing_else(source: Path, project: Project, paint: Paint):
    paint(source / "a.png", seed=1, caption="one")
    paint(source / "b.png", seed=2, caption="two")
    report = bring(source / "b.png", project)
    assert (photos(project), report.skipped) == ([("photos/b.png", "two")], ())


def test_masks_beside_photos_come_along(source: Path, project: Project, paint: Paint):
    paint(source / "a.jpg", seed=1)
    paint(source / "a-masklabel.png", seed=2)
    paint(source / "b-masklabel.png", seed=3)
    (source / "c.jpg").write_bytes(paint(source / "d.jpg", seed=4).read_bytes() + b" ")
    (source / "c-masklabel.png").write_bytes(b"broken")
    report = bring(source, project)
    masks = {p.path.name: p.mask_path for p in project.photos()}
    assert masks["a.jpg"] is not None
    assert masks["a.jpg"].read_bytes() == (source / "a-masklabel.png").read_bytes()
    assert masks["b-masklabel.png"] is None
    assert masks["c.jpg"] is None
    assert "c-masklabel.png" in reasons(report)


def test_unreadable_files_are_listed_and_the_rest_goes_on(
    source: Path, project: Project, paint: Paint, events: list[Event]
):
    paint(source / "good.png")
    (source / "空.jpg").touch()
    (source / "fake.png").write_bytes(b"<html>")
    (source / "deep").mkdir()
    (source / "deep" / "film.mp4").write_bytes(b"....")
    (source / "lonely.txt").write_text("no photo")
    (source / "cache.npz").write_bytes(b"")
    (source / "Thumbs.db").write_bytes(b"")
    (source / ".DS_Store").write_bytes(b"")
    (source / "__MACOSX").mkdir()
    (source / "__MACOSX" / "._good.png").write_bytes(b"")
    report = bring(source, project, events)
    assert [path.name for path in report.imported] == ["good.png"]
    seen = reasons(report)
    assert seen.keys() == {"空.jpg", "fake.png", "deep/film.mp4", "lonely.txt"}
    assert (seen["空.jpg"], seen["deep/film.mp4"]) == ("the file is empty", "not a photo")
    assert "a web page" in seen["fake.png"]
    assert "without its photo" in seen["lonely.txt"]
    assert len([event for event in events if isinstance(event, Warned)]) == 4


def test_links_to_folders_are_not_followed_but_listed(source: Path, project: Project, paint: Paint, folder: Path):
    paint(folder / "elsewhere" / "a.png")
    paint(source / "b.png", seed=1)
    (source / "loop").symlink_to(source, target_is_directory=True)
    (source / "photo.png").symlink_to(folder / "elsewhere" / "a.png")
    report = bring(source, project)
    assert reasons(report) == {"loop": "a link to a folder is not followed"}
    assert [key for key, _ in photos(project)] == ["photos/b.png", "photos/photo.png"]
    assert not (project.images_dir / "photos" / "photo.png").is_symlink()


def test_sources_that_can_not_be_imported(source: Path, project: Project, paint: Paint, folder: Path):
    paint(project.images_dir / "photos" / "a.png")
    (folder / "a.rar").write_bytes(b"Rar!....")
    for place, words in (
        (folder / "none", "does not exist"),
        (project.root, "lies in the project"),
        (project.images_dir / "photos", "lies in the project"),
        (project.images_dir / "photos" / "a.png", "lies in the project"),
        (folder / "a.rar", "neither a folder"),
    ):
        with pytest.raises(DatasetError, match=words):
            bring(place, project)


def test_a_source_that_holds_the_project_leaves_it_out(folder: Path, project: Project, paint: Paint):
    paint(project.images_dir / "photos" / "inside.png", seed=1)
    paint(folder / "outside.png", seed=2)
    paint(project.prepared_dir / "copy.png", seed=3)
    report = bring(folder, project)
    assert ([path.name for path in report.imported], report.skipped) == (["outside.png"], ())


def test_another_project_gives_its_photos_alone(folder: Path, project: Project, paint: Paint):
    other = Project.create(folder / "other")
    paint(other.images_dir / "photos" / "a.png", seed=1, caption="kept")
    trash.take_out(other, paint(other.images_dir / "photos" / "gone.png", seed=2))
    paint(other.prepared_dir / "x.png", seed=3)
    bring(other.root, project)
    assert photos(project) == [("photos/a.png", "kept")]


def test_a_full_disk_ends_the_import_in_words(
    source: Path, project: Project, paint: Paint, monkeypatch: pytest.MonkeyPatch
):
    paint(source / "a.png")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_quickly", full)
    with pytest.raises(DatasetError, match=r"a\.png can't be copied.*No space left.*Free some space"):
        bring(source, project)


def test_a_name_whose_bytes_are_not_utf8_is_read(source: Path, project: Project, paint: Paint):
    good = paint(source / "a.png")
    try:
        os.rename(os.fsencode(good), os.fsencode(source) + b"/" + "照片".encode("gbk") + b".png")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    bring(source, project)
    assert photos(project) == [("photos/照片.png", "")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("图 1 🙂", "图 1 🙂"),
        ('a<b>:"/\\|?*\x00\n', "a_b" + "_" * 10),
        (" . dots. ", "dots"),
        ("con", "_con"),
        ("COM1.backup", "_COM1.backup"),
        ("console", "console"),
        ("...", "photo"),
        ("e\u0301", "é"),
        ("长" * 200, "长" * 53),
    ],
)
def test_names_every_system_takes(name: str, expected: str):
    assert safe_stem(name) == expected
    assert safe_stem(expected) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("10_ohwx woman", (10, "ohwx woman")),
        ("1_脸", (1, "脸")),
        ("1000_a", (1000, "a")),
        ("2023_summer", None),
        ("0_off", None),
        ("07_wedding", None),
        ("ohwx", None),
        ("10_", None),
        ("10_ ", None),
        ("a10_b", None),
    ],
)
def test_kohya_names(name: str, expected: tuple[int, str] | None):
    assert parse_kohya(name) == expected
