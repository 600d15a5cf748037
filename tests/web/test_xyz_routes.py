"""Grids of the host's own plot, by plain HTTP."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.evaluate.host_grid import cell_picture, rendered, save, told, with_text
from tests.web.conftest import Served

TEXT = told("ohwx <lora:a-000001:0.5>", '"000001, 000002"', '"0.5, 1.0"')
GRID = rendered([[cell_picture(c, r) for c in (0, 1)] for r in (0, 1)], ["000001", "000002"], ["0.5", "1.0"])


def ended(served: Served) -> str:
    for _ in range(600):
        now = str(served.board.snapshot()["state"])
        if now not in ("running", "waiting", "stopping"):
            return now
        time.sleep(0.1)
    raise AssertionError("still at work")


def state(served: Served, id: str) -> Any:
    return served.get(f"/lora_forge/test/state?project=anna&id={id}").json


def test_a_grid_of_the_hosts_folder_is_found_and_opened(open_server: Served) -> None:
    folder = open_server.desk.grids_dir() / "2026-11-22"
    folder.mkdir(parents=True, exist_ok=True)
    save(folder / "xyz_grid-0001.png", GRID, TEXT)
    (found,) = open_server.get("/lora_forge/test/host_grids?project=anna").json["grids"]
    assert (found["file"], found["name"], found["epochs"], found["strengths"]) == (
        "xyz_grid-0001.png", "a", [1, 2], [0.5, 1.0],
    )  # fmt: skip
    got = open_server.post("/lora_forge/test/open", {"project": "anna", "kind": "person", "id": found["id"]})
    assert got.status == 200, got.body
    ended(open_server)
    told_now = state(open_server, got.json["id"])
    assert (told_now["mode"], told_now["name"], told_now["state"]) == ("xyz", "a", "done")
    assert len(told_now["cells"]) == 4
    assert all(cell["scores"] for cell in told_now["cells"])
    shown = open_server.get(f"/lora_forge/picture?path={told_now['cells'][0]['pictures'][0]}&side=64")
    assert shown.status == 200


def test_a_file_is_opened_as_it_comes(open_server: Served) -> None:
    path = "/lora_forge/test/open_file?project=anna&kind=person"
    got = open_server.post(path, with_text(GRID, TEXT), content_type="image/png")
    assert got.status == 200, got.body
    ended(open_server)
    assert len(state(open_server, got.json["id"])["cells"]) == 4


@pytest.mark.parametrize(
    ("body", "kind", "status", "what"),
    [
        (b"no picture", "image/png", 400, "This grid can't be read: it is no picture that can be opened"),
        (b"no picture", "text/plain", 415, "This wants the file alone."),
    ],
)
def test_what_is_no_grid_is_refused(open_server: Served, body: bytes, kind: str, status: int, what: str) -> None:
    got = open_server.post("/lora_forge/test/open_file?project=anna&kind=person", body, content_type=kind)
    assert got.status == status
    assert got.json["error"]["what"].startswith(what)


def test_a_file_elsewhere_is_not_reached(open_server: Served) -> None:
    wanted = {"project": "anna", "kind": "person", "id": "../private.png", "language": "zh"}
    got = open_server.post("/lora_forge/test/open", wanted)
    assert got.status == 400
    assert got.json["error"]["what"] == "WebUI 的文件夹里没有网格图 ../private.png。"


def test_nobody_from_outside_opens_one(locked_server: Served) -> None:
    assert locked_server.get("/lora_forge/test/host_grids?project=anna").status == 401
    assert locked_server.post("/lora_forge/test/open_file?project=anna", b"x").status == 401
