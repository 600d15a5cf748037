"""What the routes do for someone who is let in, and what they refuse him too."""

from __future__ import annotations

import io
import json
import socket
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_forge import web
from lora_forge.dataset.project import Project
from lora_forge.i18n import say
from tests.train import tiny
from tests.web.conftest import Served
from tests.work.conftest import SMALL

LONG_S = 120.0


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (80, 80), (shade, 60, 200)).save(file, format="PNG")
    return file.getvalue()


def send(served: Served, name: str, body: Any, batch: str = "", **headers: str) -> Any:
    query = f"name={name}" + (f"&batch={batch}" if batch else "")
    return served.post(f"/lora_forge/upload?{query}", body, content_type="application/octet-stream", **headers)


def waiting(served: Served) -> list[Path]:
    folder = served.desk.data_root() / ".uploads"
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


def clear(served: Served) -> None:
    for path in (served.desk.data_root() / ".uploads").glob("*"):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()


def test_an_idle_board_is_told_and_projects_are_listed(open_server: Served) -> None:
    got = open_server.get("/lora_forge/status?since=abc&language=zh")
    assert (got.status, got.json["state"], got.headers["cache-control"]) == (200, "idle", "no-store")
    (anna,) = [one for one in open_server.get("/lora_forge/projects").json["projects"] if one["name"] == "anna"]
    assert (anna["trigger_word"], anna["runs"], anna["problem"]) == ("ohwx", [], "")
    assert str(open_server.desk.root) not in json.dumps(anna)


def test_a_run_is_started_watched_and_stopped(open_server: Served) -> None:
    root = open_server.desk.data_root() / "run me"
    tiny.build_project(root, ((70, 70), (90, 70), (70, 70)))
    wanted = {"project": "run me", "name": "girl", "repeats": 1, "epochs": 2, "settings": SMALL, "folder": "people"}
    open_server.desk.lock.acquire()
    started = open_server.post("/lora_forge/start", wanted)
    assert (started.status, started.json["title"]) == (200, "girl")
    while open_server.get("/lora_forge/status").json["state"] != "waiting":
        pass
    again = open_server.post("/lora_forge/start", {**wanted, "name": "boy"})
    assert again.status == 409
    assert again.json["error"]["what"].startswith("girl is not over yet")
    assert open_server.post("/lora_forge/command", {"command": "stop"}).json["state"] == "stopping"
    open_server.desk.lock.release()
    open_server.board.join(LONG_S)
    assert open_server.get("/lora_forge/status").json["state"] == "stopped"
    assert open_server.post("/lora_forge/start", wanted).status == 200
    open_server.board.join(LONG_S)
    told = open_server.get("/lora_forge/status").json
    assert (told["state"], told["files"]) == ("done", ["girl-000001.safetensors", "girl-000002.safetensors"])
    assert (open_server.desk.lora_dir() / "people" / "girl-000002.safetensors").is_file()
    assert open_server.get(f"/lora_forge/status?since={told['log'][-1]['number']}").json["log"] == []
    taken = open_server.post("/lora_forge/start", wanted)
    assert taken.status == 400
    assert "exists already" in taken.json["error"]["what"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"project": "../../etc"}, "can't be called"),
        ({"project": "/etc"}, "can't be called"),
        ({"project": "none"}, "not a project"),
        ({"project": 3}, "project must be text"),
        ({"name": "../x"}, "can't be the name"),
        ({"name": None}, "name must be text"),
        ({"epochs": "2"}, "epochs must be a whole number"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"epochs": 10**9}, "epochs is 1e+09"),
        ({"settings": []}, "settings must be an object"),
        ({"settings": {"name": "../../x"}}, "no setting that can be changed"),
        ({"folder": "../.."}, "can't go to the folder"),
        ({"folder": "/etc"}, "can't go to the folder"),
        ({"prove": "all"}, "no proof"),
        ({"out": "x"}, "no field 'out'"),
        ({"run_dir": "/x"}, "no field 'run_dir'"),
    ],
)
def test_a_start_that_is_wrong_is_refused_in_one_sentence(
    open_server: Served, changes: dict[str, Any], words: str
) -> None:
    wanted = {"project": "anna", "name": "fresh", "repeats": 1, "epochs": 1, "settings": SMALL, **changes}
    before = open_server.get("/lora_forge/status").json["job"]
    got = open_server.post("/lora_forge/start", wanted)
    assert got.status == 400
    assert words in got.json["error"]["what"]
    assert open_server.get("/lora_forge/status").json["job"] == before


@pytest.mark.parametrize(
    ("body", "status"),
    [("{", 400), ("[]", 400), ('"stop"', 400), ("{}", 400), ('{"command": "fly"}', 400), ('{"command": "stop"}', 409),
     ("[" * 100_000, 400), (" " * (1 << 20) + "{}", 413)],
)  # fmt: skip
def test_commands_that_are_wrong_are_refused(open_server: Served, body: str, status: int) -> None:
    assert open_server.post("/lora_forge/command", body, content_type="application/json").status == status


def test_a_refusal_and_what_was_left_out_come_in_the_language_of_the_request(open_server: Served) -> None:
    got = open_server.post("/lora_forge/import", {"project": "anna", "language": "zh"})
    assert (got.status, got.json["error"]["what"]) == (400, say("There is nothing to import.", "zh"))
    got = open_server.post("/lora_forge/command?language=zh", {"command": "stop"})
    assert got.status == 409
    assert got.json["error"] == {"what": "没有正在进行的训练。", "remedy": say("Start a run first.", "zh")}
    got = open_server.post("/lora_forge/import", {"project": 5, "language": "zh"})
    assert got.json["error"]["what"] == say("{name} must be {kind}.", "zh", name="project", kind="文字")
    batch = send(open_server, "a%7Bb%7D.jpg", b"<!doctype html>").json["batch"]
    got = open_server.post("/lora_forge/import", {"project": "anna", "batch": batch, "language": "zh"})
    assert got.json["skipped"] == [
        {"name": "a{b}.jpg", "reason": "它是网页，不是这里能读的图片。请另存为 JPEG 或 PNG。"}
    ]


def test_uploads_become_a_project(open_server: Served) -> None:
    first = send(open_server, "C:%5Choliday%5C%E5%B0%8F%E7%BA%A2.PNG", png(1))
    assert (first.status, first.json["name"], first.json["files"]) == (200, "小红.png", 1)
    batch = first.json["batch"]
    assert send(open_server, "%E5%B0%8F%E7%BA%A2.txt", b"ohwx, snow", batch).json["name"] == "小红.txt"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("many/two.png", png(2))
        archive.writestr("../../evil.png", png(3))
    assert send(open_server, "many.zip", packed.getvalue(), batch).json["files"] == 3
    got = open_server.post("/lora_forge/import", {"project": "小红", "trigger_word": "ohwx", "batch": batch})
    assert (got.json["imported"], got.json["present"]) == (2, 0)
    assert got.json["skipped"] == [{"name": "../../evil.png", "reason": "its path leads out of the archive"}]
    captions = {p.path.stem: p.caption for p in Project.load(open_server.desk.data_root() / "小红").photos()}
    assert captions == {"小红": "ohwx, snow", "two": ""}
    assert waiting(open_server) == []
    assert open_server.post("/lora_forge/import", {"project": "小红", "batch": batch}).status == 404


def test_a_name_can_lead_nowhere(open_server: Served) -> None:
    for name in ("..%2F..%2Fx.png", "%2Fetc%2Fx.png", "%2e%2e%5Cx.png", "con.png", "x%00.png", "%00..%2Fx.png"):
        got = send(open_server, name, png(1))
        assert got.status == 200, name
        place = open_server.desk.data_root() / ".uploads" / got.json["batch"] / got.json["name"]
        assert place.is_file()
        assert "/" not in got.json["name"]
        clear(open_server)
    for name in ("x.exe", "x", "", "..", ".png", "x.png%2F", "x.html", "project.json", "x.safetensors"):
        assert send(open_server, name, png(1)).status == 400, name
    for batch in ("..", "../anna", "%2e%2e%2Fanna", "0" * 32, "anna", ""):
        assert open_server.post(
            f"/lora_forge/upload?name=x.png&batch={batch}", png(1), content_type="application/octet-stream"
        ).status == 404  # fmt: skip
        asked = {"project": "x", "batch": batch or "."}
        assert open_server.post("/lora_forge/import", asked).status == 404
    assert waiting(open_server) == []


def test_a_file_that_is_too_large_is_refused_told_or_not_and_leaves_nothing(open_server: Served) -> None:
    told = send(open_server, "x.png", b"x" * (open_server.limits.file_bytes + 1))
    assert (told.status, told.json["error"]["what"][:24]) == (413, "The file is larger than ")

    def pieces() -> Any:
        for _ in range(40):
            yield b"x" * 10_000

    untold = send(open_server, "x.png", pieces())  # in chunks, as http.client sends what has no length
    assert untold.status == 413
    assert list((open_server.desk.data_root() / ".uploads").iterdir()) == []


def test_an_upload_that_is_cut_off_leaves_nothing(open_server: Served) -> None:
    head = b"POST /lora_forge/upload?name=x.png HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", open_server.port)) as line:
        line.sendall(head + b"x" * 500)
        while not waiting(open_server):
            pass
    while list((open_server.desk.data_root() / ".uploads").iterdir()):
        pass


def test_too_many_files_too_large_a_batch_and_too_many_batches_are_refused(open_server: Served) -> None:
    batch = send(open_server, "0.png", png(0)).json["batch"]
    for number in range(1, open_server.limits.batch_files):
        assert send(open_server, "0.png", png(number), batch).json["name"] == f"0-{number + 1}.png"
    assert send(open_server, "x.png", png(9), batch).status == 413
    heavy = send(open_server, "a.png", b"x" * 180_000).json["batch"]
    assert send(open_server, "b.png", b"x" * 180_000, heavy).status == 413
    assert send(open_server, "third.png", png(1)).status == 429
    clear(open_server)


def test_a_zip_bomb_is_left_out(open_server: Served) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", b"\0" * (60 << 20))
        archive.writestr("good.png", png(1))
    batch = send(open_server, "b.zip", packed.getvalue()).json["batch"]
    got = open_server.post("/lora_forge/import", {"project": "bombed", "batch": batch}).json
    assert got["imported"] == 1
    assert [left_out["name"] for left_out in got["skipped"]] == ["bomb.png"]


@pytest.mark.parametrize("path", ["{root}", "{root}/private.png", "/etc", "\\\\server\\share", "relative"])
def test_folders_of_the_server_are_closed_to_the_page(open_server: Served, path: str) -> None:
    place = path.format(root=open_server.desk.root)
    got = open_server.post("/lora_forge/import", {"project": "stolen", "paths": [place]})
    assert got.status == 400
    assert "closed to this page" in got.json["error"]["what"] or "is not there" in got.json["error"]["what"]
    assert not (open_server.desk.data_root() / "stolen").exists()


def test_an_import_of_nothing_is_refused(open_server: Served) -> None:
    for body in ({"project": "x"}, {"project": "x", "paths": [3, None]}, {"project": "x", "paths": []}):
        assert "nothing to import" in open_server.post("/lora_forge/import", body).json["error"]["what"]


def test_mounting_again_takes_the_new_desk_and_doubles_nothing(open_server: Served) -> None:
    before = len(open_server.app.router.routes)
    web.mount(open_server.app, open_server.desk, open_server.board, limits=open_server.limits)
    assert len(open_server.app.router.routes) == before
    assert open_server.get("/lora_forge/status").status == 200


def test_the_status_answers_while_many_others_wait_for_the_host(open_server: Served) -> None:
    """forty requests of the host's own that hang take all of starlette's threads."""
    go = threading.Event()
    open_server.app.get("/hang")(lambda: go.wait(60))
    asked = [threading.Thread(target=open_server.get, args=("/hang",)) for _ in range(45)]
    for thread in asked:
        thread.start()
    try:
        assert open_server.get("/lora_forge/status").status == 200
        assert open_server.get("/lora_forge/projects").status == 200
        assert open_server.get("/lora_forge/picture?path=anna/images/photos/secret.png").status == 200
    finally:
        go.set()
        for thread in asked:
            thread.join(60)
