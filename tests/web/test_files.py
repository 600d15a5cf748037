"""Photos by URL: ours to those let in, by the host's own file routes to nobody, and nothing from elsewhere."""

from __future__ import annotations

import io
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from lora_forge.errors import DatasetError
from lora_forge.web.places import confined
from lora_forge.web.protection import is_aimed_at
from tests.web.conftest import SECRET_PX, Served

SECRET = "anna/images/photos/secret.png"
FILE_ROUTES = ("/file=", "/gradio_api/file=")


def test_a_picture_of_a_project_comes_as_a_small_jpeg(open_server: Served) -> None:
    got = open_server.get(f"/lora_forge/picture?path={SECRET}&side=32")
    assert (got.status, got.headers["content-type"]) == (200, "image/jpeg")
    with Image.open(io.BytesIO(got.body)) as image:
        assert image.size == (32, 24)
    with Image.open(io.BytesIO(open_server.get(f"/lora_forge/picture?path={SECRET}&side=99999999999").body)) as image:
        assert image.size == SECRET_PX


@pytest.mark.parametrize(
    "path",
    [
        "", "/", ".", "anna", "anna/images/photos", "anna/project.json", "anna/images/photos/none.png",
        "../private.png", "anna/../../private.png", "anna/images/../../../private.png", "{root}/private.png",
        "/{root}/private.png", "//{root}/private.png", "..\\private.png", "anna\\..\\..\\private.png",
        "C:/private.png", "C:private.png", "\\\\server\\share\\x.png", "//server/share/x.png", "file:///etc/passwd",
        "anna/images/photos/secret.png\0.png", "anna/images/photos/secret.png/.", "anna//images/photos/secret.png",
        "linked.png", "linked/private.png", ".uploads/x.png", "anna/.hidden/x.png",
        "anna/images/photos/secret.png::$DATA",
        "anna/images/photos/..%2f..%2f..%2f..%2fprivate.png", "anna/images/photos/torn.png", "a" * 5000,
    ],
)  # fmt: skip
def test_nothing_else_comes_by_any_trick(open_server: Served, path: str) -> None:
    root = open_server.desk.data_root()
    _link(root / "linked.png", open_server.desk.root / "private.png")
    _link(root / "linked", open_server.desk.root)
    (root / "anna" / "images" / "photos" / "torn.png").write_bytes(b"\x89PNG")
    wanted = path.format(root=open_server.desk.root) if "{root}" in path else path
    for text in (quote(wanted, safe=""), quote(quote(wanted, safe=""), safe="")):
        got = open_server.get(f"/lora_forge/picture?path={text}")
        assert got.status in (400, 404), got.body
        assert "image" not in got.headers["content-type"]
    assert os.path.exists(open_server.desk.root / "private.png")


def _link(link: Path, target: Path) -> None:
    if not link.is_symlink():
        link.symlink_to(target)


@pytest.mark.parametrize("path", ["..", "a/..", "a/../b", "/a", "a/", "", "a\0", "a:b", ".a", "a/. /b", "a\nb"])
def test_places_that_are_not_plainly_inside_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(DatasetError, match="can't be asked for"):
        confined(tmp_path, path)


def test_plain_places_are_given_with_links_resolved(tmp_path: Path) -> None:
    (tmp_path / "小红").mkdir()
    (tmp_path / "short").symlink_to(tmp_path / "小红")
    assert confined(tmp_path, "小红/a b.png") == tmp_path / "小红" / "a b.png"
    assert confined(tmp_path, "short/x.png") == tmp_path / "小红" / "x.png"


def tricks(desk_root: Path, data_root: Path) -> list[str]:
    inside = data_root / SECRET
    (desk_root / "back door").exists() or (desk_root / "back door").symlink_to(data_root)
    relative = os.path.relpath(inside)
    return [
        str(inside),
        f"{data_root}/../{data_root.name}/{SECRET}",
        f"{desk_root}/none/../{data_root.name}/{SECRET}",
        f"{desk_root}//{data_root.name}//{SECRET}",
        f"{desk_root}/./{data_root.name}/{SECRET}",
        f"{desk_root}/back door/{SECRET}",
        f"{data_root}/anna/project.json",
        f"{data_root}/anna",
        relative,
    ]


@pytest.mark.parametrize("route", FILE_ROUTES)
def test_the_hosts_file_route_refuses_photos_by_whatever_name(open_server: Served, route: str) -> None:
    desk = open_server.desk
    for trick in tricks(desk.root, desk.data_root()):
        for text in (quote(trick), quote(trick, safe="").replace(".", "%2e")):
            got = open_server.get(f"{route}{text}")
            assert got.status == 403, (trick, got.status)
            assert b"PNG" not in got.body


def test_the_hosts_file_route_serves_other_files_as_before(open_server: Served) -> None:
    got = open_server.get(f"{open_server.file_route}{quote(str(open_server.desk.root / 'open.txt'))}")
    assert (got.status, got.body) == (200, b"not ours")


def test_another_person_with_a_login_gets_no_photo_by_the_file_route_either(locked_server: Served) -> None:
    cookie = locked_server.login("you", "word")
    place = quote(str(locked_server.desk.data_root() / SECRET))
    for route in FILE_ROUTES:
        assert locked_server.get(f"{route}{place}", cookie=cookie).status == 403
        assert locked_server.get(f"{route}{place}").status in (401, 403)
    free = quote(str(locked_server.desk.root / "open.txt"))
    assert locked_server.get(f"{locked_server.file_route}{free}", cookie=cookie).status == 200


def test_a_root_that_is_reached_through_a_link_is_kept_under_both_names(tmp_path: Path) -> None:
    real, link = tmp_path / "disk" / "lora_forge", tmp_path / "webui"
    real.mkdir(parents=True)
    link.symlink_to(tmp_path / "disk")
    for root in (real, link / "lora_forge"):
        for asked in (real, link / "lora_forge", link / "x" / ".." / "lora_forge"):
            assert is_aimed_at(f"/file={asked}/a.png", root)
        assert not is_aimed_at(f"/file={link}/a.png", root)
    assert not is_aimed_at(f"/file={real}/a.png", tmp_path / "not there")
    assert not is_aimed_at("/file=\0", real)
    assert not is_aimed_at(f"/other={real}", real)
