"""Downloads from a real server that misbehaves, and files taken from disk."""

from __future__ import annotations

import socket
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from lora_forge.downloads import DownloadError, LicenceError, fetching
from lora_forge.downloads.items import HUB
from lora_forge.events import Command
from tests.downloads.conftest import CSV, World, pack, tiny_onnx


def test_a_whole_item_comes_and_is_counted_in_bytes(world: World) -> None:
    assert world.state("tiny") == "absent"
    assert world.get("tiny") == "done"
    assert world.path("taggers/tiny/model.onnx").read_bytes() == world.model
    assert world.path("taggers/tiny/selected_tags.csv").read_bytes() == CSV
    assert world.state("tiny") == "present"
    whole = len(world.model) + len(CSV)
    assert world.told[-1] == (whole, whole)
    assert [done for done, _ in world.told] == sorted(done for done, _ in world.told)
    assert sorted(path.name for path in world.path("taggers/tiny").iterdir()) == ["model.onnx", "selected_tags.csv"]
    before = len(world.server.asked)
    assert world.get("tiny") == "done"
    assert len(world.server.asked) == before, "nothing that is there is asked for again"


def test_a_line_that_breaks_is_taken_up_where_it_broke(world: World) -> None:
    world.server.how.breaks_after = [10_000, 7_000]
    assert world.get("tiny") == "done"
    ranges = [asked for path, asked, _ in world.server.asked if path == "/t/model.onnx"]
    assert ranges == ["", "bytes=10000-", "bytes=17000-"]
    assert world.path("taggers/tiny/model.onnx").read_bytes() == world.model


def test_a_line_that_brings_nothing_more_ends_in_a_sentence_and_what_came_is_kept(world: World) -> None:
    world.server.how.breaks_after = [10_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match="does not come: the connection broke off") as raised:
        world.get("tiny")
    assert "goes on from there" in raised.value.remedy
    assert world.path("taggers/tiny/model.onnx.part").read_bytes() == world.model[:10_000]
    assert world.state("tiny") == "partial"
    world.server.how.breaks_after = []
    assert world.get("tiny") == "done"
    assert ("/t/model.onnx", "bytes=10000-", 206) in world.server.asked


def test_a_server_without_ranges_starts_anew(world: World) -> None:
    world.server.how.has_ranges, world.server.how.breaks_after = False, [10_000]
    assert world.get("tiny") == "done"
    assert world.path("taggers/tiny/model.onnx").read_bytes() == world.model


def test_two_versions_are_never_mixed_where_no_checksum_would_tell(world: World) -> None:
    world.server.how.breaks_after = [10_000, 0, 0, 0]
    with pytest.raises(DownloadError):
        world.get("unsummed")
    other = tiny_onnx(70_000)
    world.server.files["/p/x.onnx"], world.server.how.etag = other, '"two"'
    world.server.how.breaks_after = []
    assert world.get("unsummed") == "done"
    assert world.path("taggers/unsummed/model.onnx").read_bytes() == other
    assert world.told[-1] == (len(other), len(other)), "the server's size counts where ours is rough"


def test_stop_keeps_what_came_and_the_next_start_goes_on(world: World) -> None:
    world.server.how.pause_s = 0.02
    timer = threading.Timer(0.2, lambda: world.commands.send(Command.STOP))
    timer.start()
    piece, fetching.PIECE = fetching.PIECE, 1024  # the usual one is larger than this file
    try:
        assert world.get("tiny") == "stopped"
    finally:
        fetching.PIECE = piece
    timer.join()
    came = world.path("taggers/tiny/model.onnx.part").stat().st_size
    assert 0 < came < len(world.model)
    assert world.state("tiny") == "partial"
    world.commands.take()
    world.server.how.pause_s = 0
    assert world.get("tiny") == "done"
    assert world.server.asked[-2][:2] == ("/t/model.onnx", f"bytes={came}-")


def test_wrong_bytes_of_the_right_size_are_thrown_away(world: World) -> None:
    wrong = bytearray(world.model)
    wrong[len(wrong) // 2] ^= 255
    world.server.files["/t/model.onnx"] = bytes(wrong)
    with pytest.raises(DownloadError, match="not the maker's file: its SHA-256"):
        world.get("tiny")
    assert world.state("tiny") == "absent"
    world.server.files["/t/model.onnx"] = world.model
    assert world.get("tiny") == "done"


def test_another_size_is_refused_before_it_is_fetched(world: World) -> None:
    world.server.files["/t/model.onnx"] = b"<html>log in first</html>" * 10
    with pytest.raises(DownloadError, match="gives 250 bytes where the file has"):
        world.get("tiny")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<!DOCTYPE html><html>no</html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer"),
        (tiny_onnx()[:-1000], "it is cut off"),
        (b"\x00\xff" * 400, "it is no ONNX model"),
        (b"", "it is empty"),
    ],
    ids=["page", "pointer", "cut", "noise", "empty"],
)
def test_without_a_checksum_the_form_is_looked_at(world: World, content: bytes, why: str) -> None:
    world.server.files["/p/x.onnx"] = content
    with pytest.raises(DownloadError, match=why):
        world.get("unsummed")
    assert world.state("unsummed") == "absent"


def test_404_is_said_at_once_with_what_to_do(world: World) -> None:
    del world.server.files["/t/model.onnx"]
    with pytest.raises(DownloadError, match=r"model\.onnx is not there: the server says 404") as raised:
        world.get("tiny")
    assert "I have the file" in raised.value.remedy
    assert len(world.server.asked) == 1


def test_a_busy_server_is_asked_again(world: World) -> None:
    world.server.how.codes = [503, 429]
    assert world.get("tiny") == "done"


def test_offline_is_one_plain_sentence(world: World) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world.shelf.mirrors.set(f"http://127.0.0.1:{port}/{{url}}", "hub")
    items = tuple(item for item in world.items if item.id == "tiny")
    world.items = (replace(items[0], host=HUB),)
    with pytest.raises(DownloadError, match=rf"127\.0\.0\.1:{port} can't be reached") as raised:
        world.get("tiny")
    assert "Check the network" in raised.value.remedy


def test_a_proxy_of_the_environment_is_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", world.server.url)
    (tiny,) = (item for item in world.items if item.id == "tiny")
    world.items = (replace(tiny, host="http://far-away.invalid"),)
    for path in ("/t/model.onnx", "/t/tags.csv"):
        world.server.files[f"http://far-away.invalid{path}"] = world.server.files.pop(path)
    assert world.get("tiny") == "done"


def test_a_disk_that_fills_up_midway_keeps_what_came(world: World) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # a file that may not grow, as on a full disk
    try:
        with pytest.raises(DownloadError, match="can't be written") as raised:
            world.get("tiny")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "it goes on" in raised.value.remedy
    assert world.path("taggers/tiny/model.onnx.part").read_bytes() == world.model[:20_000]
    assert world.get("tiny") == "done"
    assert ("/t/model.onnx", "bytes=20000-", 206) in world.server.asked


def test_terms_must_be_accepted_before_anything_is_asked(world: World) -> None:
    with pytest.raises(LicenceError, match=r"Research only\."):
        world.get("faces")
    assert world.server.asked == []
    assert world.get("faces", accepts_terms=True) == "done"


@pytest.mark.parametrize("id", ["faces", "nested"])
def test_a_pack_lies_flat_whether_or_not_its_zip_has_a_folder(world: World, id: str) -> None:
    assert world.get(id, accepts_terms=True) == "done"
    folder = world.path(f"insightface/models/{id}")
    assert sorted(path.name for path in folder.iterdir()) == ["det.onnx", "rec.onnx"]
    assert world.state(id) == "present"
    (folder / "rec.onnx").write_bytes(b"torn")
    assert world.state(id) == "damaged"
    assert world.get(id, accepts_terms=True) == "done"
    assert world.state(id) == "present"


def test_a_disk_that_is_too_small_is_said_before(world: World) -> None:
    world.free = 1 << 20
    with pytest.raises(DownloadError, match=r"needs 64 MB, and the disk of .* has 1 MB left"):
        world.get("tiny")
    assert world.server.asked == []


def test_a_folder_that_cant_be_written_is_a_sentence(world: World) -> None:
    world.root.joinpath("models").write_text("a file in the way")
    with pytest.raises(DownloadError, match="can't be written"):
        world.get("tiny")


def test_while_it_is_on_its_way_it_is_busy_and_cant_be_started_twice(world: World) -> None:
    world.server.how.pause_s = 0.02
    thread = threading.Thread(target=world.get, args=("tiny",))
    thread.start()
    while world.state("tiny") != "busy":
        pass
    with pytest.raises(DownloadError, match="on its way already"):
        world.get("tiny")
    world.server.how.pause_s = 0
    thread.join()
    assert world.state("tiny") == "present"


# ---------------------------------------------------------------- "I have the file"


def laid_out(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


def test_a_folder_that_has_the_files_is_taken(world: World, tmp_path: Path) -> None:
    laid_out(tmp_path / "got" / "inner", model__onnx=world.model, selected_tags__csv=CSV, readme__md=b"hi")
    assert world.shelf.take("tiny", tmp_path / "got").state == "present"
    names = sorted(path.name for path in world.path("taggers/tiny").iterdir())
    assert names == ["model.onnx", "selected_tags.csv"]


def test_files_are_taken_one_by_one_whatever_they_are_called(world: World, tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "got", **{"wd-v3 (1)__onnx": world.model, "tags__csv": CSV})
    assert world.shelf.take("tiny", folder / "wd-v3 (1).onnx").state == "partial"
    assert world.shelf.take("tiny", folder / "tags.csv").state == "present"


def test_a_zip_of_the_files_is_taken(world: World, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("wd/model.onnx", world.model)
        archive.writestr("wd/selected_tags.csv", CSV)
    assert world.shelf.take("tiny", tmp_path / "all.zip").state == "present"


def test_a_pack_is_taken_as_its_zip_or_its_folder(world: World, tmp_path: Path) -> None:
    content = world.server.files["/f/nested.zip"]
    (tmp_path / "antelope (2).zip").write_bytes(content)
    assert world.shelf.take("nested", tmp_path / "antelope (2).zip").state == "present"
    folder = laid_out(tmp_path / "a" / "a", det__onnx=tiny_onnx(100), rec__onnx=tiny_onnx(200))
    assert world.shelf.take("faces", folder.parent).state == "present"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("model.onnx", tiny_onnx(100), "not the maker's file"),
        ("model.onnx", b"no", "not what it should be"),
        ("selected_tags.csv", b"a,b\n1,2\n", "no columns name and category"),
        ("photo.jpg", b"x", "holds nothing of tiny"),
    ],
)
def test_what_is_not_the_file_is_refused_and_nothing_changes(
    world: World, tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DownloadError, match=why):
        world.shelf.take("tiny", tmp_path / name)
    assert not list(world.path("taggers/tiny").glob("*"))


def test_a_pack_with_other_bytes_is_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "p.zip").write_bytes(pack("", det=tiny_onnx(10), rec=tiny_onnx(20)))
    with pytest.raises(DownloadError, match="not the maker's file"):
        world.shelf.take("faces", tmp_path / "p.zip")


def test_nothing_there_and_nothing_known(world: World, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="is not there"):
        world.shelf.take("tiny", tmp_path / "none")
    with pytest.raises(DownloadError, match="nothing called 'other'"):
        world.get("other")
