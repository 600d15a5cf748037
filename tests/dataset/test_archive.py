from __future__ import annotations

import stat
import struct
import zipfile
from pathlib import Path

import pytest

from lora_forge.dataset.archive import ZipLimits, open_zip
from lora_forge.dataset.importing import ImportReport, import_source
from lora_forge.dataset.project import Group, Project
from lora_forge.errors import DatasetError
from tests.dataset.conftest import Paint


@pytest.fixture
def picture(folder: Path, paint: Paint) -> bytes:
    return paint(folder / "made" / "x.png", 32, 32, seed=1).read_bytes()


def pack(path: Path, entries: list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def bring(source: Path, project: Project) -> ImportReport:
    return import_source(source, project, lambda event: None)


def reasons(report: ImportReport) -> dict[str, str]:
    return {skipped.name: str(skipped.reason) for skipped in report.skipped}


def keys(project: Project) -> list[tuple[str, str]]:
    return [(project.key(photo.path), photo.caption) for photo in project.photos()]


def varied(picture: bytes, number: int) -> bytes:
    """The same picture in other bytes."""
    return picture + bytes([number])


def test_a_zip_comes_in_like_a_folder(folder: Path, project: Project, picture: bytes):
    path = pack(
        folder / "素材 包.zip",
        [
            ("包/10_ohwx/图 1 🙂.png", picture),
            ("包/10_ohwx/图 1 🙂.txt", "红裙".encode("gbk")),
            ("包/plain/b c.png", varied(picture, 1)),
            ("__MACOSX/包/._b c.png", b"junk"),
            ("包/.DS_Store", b"junk"),
        ],
    )
    before = path.read_bytes()
    report = bring(path, project)
    assert keys(project) == [("ohwx/图 1 🙂.png", "红裙"), ("plain/b c.png", "")]
    assert (project.group("ohwx"), report.skipped, path.read_bytes()) == (Group("ohwx", 10), (), before)
    assert bring(path, project).imported == ()


def test_a_zip_named_as_a_kohya_folder_is_one(folder: Path, project: Project, picture: bytes):
    bring(pack(folder / "7_sks cat.zip", [("a.png", picture)]), project)
    assert project.group("sks cat") == Group("sks cat", 7)


@pytest.mark.parametrize("encoding", ["gbk", "cp932", "utf-8", "latin-1"])
def test_names_without_the_utf8_flag_are_decoded(folder: Path, project: Project, picture: bytes, encoding: str):
    """Windows tools store names in the local code page, and zipfile then takes them for cp437."""
    name = {"gbk": "图片 一", "cp932": "ソフトの表", "utf-8": "图片 é", "latin-1": "été à Noël"}[encoding]
    raw = f"{name}.png".encode(encoding)
    path = pack(folder / "a.zip", [("p" * len(raw), picture)])
    path.write_bytes(path.read_bytes().replace(b"p" * len(raw), raw))
    bring(path, project)
    assert keys(project) == [(f"photos/{name}.png", "")]


def test_windows_separators_are_understood(folder: Path, project: Project, picture: bytes):
    path = pack(folder / "a.zip", [("5_ohwx/a.png", picture)])
    path.write_bytes(path.read_bytes().replace(b"5_ohwx/a.png", b"5_ohwx\\a.png"))
    bring(path, project)
    assert keys(project) == [("ohwx/a.png", "ohwx")]


@pytest.mark.parametrize(
    "name", ["/etc/a.png", "../a.png", "x/../../a.png", "C:/a.png", "c:\\a.png", "..\\..\\a.png", "\\\\host\\a.png"]
)
def test_paths_that_lead_out_are_refused(folder: Path, project: Project, picture: bytes, name: str):
    report = bring(pack(folder / "a.zip", [(name, picture), ("good.png", varied(picture, 2))]), project)
    assert keys(project) == [("photos/good.png", "")]
    assert list(reasons(report).values()) == ["its path leads out of the archive"]
    assert not list(folder.parent.rglob("a.png"))


def test_links_are_not_followed(folder: Path, project: Project, picture: bytes):
    link = zipfile.ZipInfo("link.png")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    report = bring(pack(folder / "a.zip", [(link, b"/etc/passwd"), ("good.png", picture)]), project)
    assert reasons(report) == {"link.png": "a link in an archive is not followed"}


def test_locked_entries_are_listed(folder: Path, project: Project, picture: bytes):
    path = pack(folder / "a.zip", [("locked.png", picture), ("good.png", varied(picture, 1))])
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert reasons(bring(path, project)) == {"locked.png": "it is locked with a password"}


def test_a_bomb_is_refused_before_it_unpacks(folder: Path, project: Project, picture: bytes):
    path = pack(folder / "a.zip", [("bomb.png", b"\0" * (20 << 20)), ("good.png", picture)])
    assert "zip bomb" in reasons(bring(path, project))["bomb.png"]
    assert keys(project) == [("photos/good.png", "")]


def test_an_entry_that_lies_about_its_size_gives_no_more_than_it_said(folder: Path, project: Project, picture: bytes):
    path = pack(folder / "a.zip", [("liar.png", b"\0" * (20 << 20)), ("good.png", picture)])
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02") + 24
    data[place : place + 4] = struct.pack("<I", 1000)
    path.write_bytes(data)
    report = bring(path, project)
    assert "liar.png" in reasons(report)
    assert keys(project) == [("photos/good.png", "")]


def test_limits_on_the_whole(folder: Path, picture: bytes):
    path = pack(folder / "a.zip", [(f"{i}.png", picture) for i in range(5)])
    for limits in (ZipLimits(entries=4), ZipLimits(total_bytes=5 * len(picture) - 1)):
        with pytest.raises(DatasetError, match="too much"), open_zip(path, limits):
            pass
    with open_zip(path, ZipLimits(entries=5, total_bytes=5 * len(picture))) as found:
        assert len(found.candidates) == 5
    with open_zip(path, ZipLimits(file_bytes=len(picture) - 1)) as found:
        assert (len(found.candidates), len(found.skipped)) == (0, 5)


def test_a_damaged_entry_is_listed_and_the_rest_goes_on(folder: Path, project: Project, picture: bytes):
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("bad.png", picture)
        archive.writestr("good.png", varied(picture, 1))
    data = bytearray(path.read_bytes())
    data[data.index(picture) + 40] ^= 0xFF
    path.write_bytes(data)
    report = bring(path, project)
    assert list(reasons(report)) == ["bad.png"]
    assert "CRC" in reasons(report)["bad.png"]
    assert keys(project) == [("photos/good.png", "")]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip at all", b"hello"])
def test_what_is_no_zip_is_said(folder: Path, project: Project, content: bytes):
    (folder / "a.zip").write_bytes(content)
    with pytest.raises(DatasetError, match="can't be opened as a zip"):
        bring(folder / "a.zip", project)


def test_nothing_is_left_in_the_temporary_folder(
    folder: Path, project: Project, picture: bytes, monkeypatch: pytest.MonkeyPatch
):
    scratch = folder / "tmp"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    bring(pack(folder / "a.zip", [("a.png", picture), ("a.txt", b"x"), ("b.png", b"broken")]), project)
    assert list(scratch.iterdir()) == []
