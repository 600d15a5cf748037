"""A real gradio server of this stack, with and without a login, asked from outside by plain HTTP."""

from __future__ import annotations

import base64
import http.client
import importlib.util
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from PIL import Image

from lora_forge.dataset.project import Project
from lora_forge.jobs import JobBoard
from tests.work.desk import TinyDesk

if importlib.util.find_spec("gradio"):
    from lora_forge import web
else:
    collect_ignore_glob = ["test_*.py"]

SECRET_PX = (64, 48)


class Answer:
    def __init__(self, got: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = got.status, got.headers, got.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """A gradio page with our routes, as a host mounts them: after the launch. ``/file=`` would serve ``desk.root``."""

    def __init__(self, desk: TinyDesk, auth: Any = None, **more: Any) -> None:
        import gradio as gr

        self.desk, self.board = desk, JobBoard()
        with gr.Blocks(analytics_enabled=False) as self.page:
            gr.Textbox()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.app, _, _ = self.page.launch(
            server_name="127.0.0.1", server_port=self.port, prevent_thread_lock=True, quiet=True, auth=auth,
            allowed_paths=[str(desk.root)], share=False,
        )  # fmt: skip
        self.limits = web.UploadLimits(file_bytes=200_000, batch_files=3, batch_bytes=300_000, batches=2)
        web.mount(self.app, desk, self.board, limits=self.limits, **more)
        web.protect(self.page, desk.data_root())

    @property
    def file_route(self) -> str:
        """Where this gradio serves files."""
        paths = [str(getattr(route, "path", "")) for route in self.app.router.routes]
        return next((path.partition("=")[0] + "=" for path in paths if "/file=" in path), "/gradio_api/file=")

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """``path`` goes out as it is: nothing is normalised on the way. A dict is sent as JSON."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            sent.setdefault("content-type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body=body, headers=sent)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def login(self, user: str, password: str) -> str:
        """The cookie of a session, by gradio's own login."""
        form = urlencode({"username": user, "password": password})
        got = self.post("/login", form, content_type="application/x-www-form-urlencoded")
        assert got.status == 200, got.body
        cookies = [line.partition(";")[0] for line in got.headers.get_all("set-cookie")]
        return next(cookie for cookie in cookies if "unsecure" in cookie)

    def close(self) -> None:
        self.page.close()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def make_desk(root: Path) -> TinyDesk:
    desk = TinyDesk(root)
    project = Project.create(desk.data_root() / "anna", "ohwx")
    Image.new("RGB", SECRET_PX, (200, 10, 10)).save(project.images_dir / "photos" / "secret.png")
    (root / "open.txt").write_text("not ours", encoding="utf-8")
    (root / "private.png").write_bytes((project.images_dir / "photos" / "secret.png").read_bytes())
    return desk


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """No login."""
    yield from _serve(tmp_path_factory.mktemp("open"))


@pytest.fixture(scope="module")
def locked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """--gradio-auth for two people, --api-auth for programs."""
    yield from _serve(
        tmp_path_factory.mktemp("locked"), auth=[("me", "pass"), ("you", "word")], api_auth="robot:b:eep,小红:密"
    )


def _serve(root: Path, **more: Any) -> Iterator[Served]:
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    served = Served(make_desk(root), **more)
    yield served
    served.close()
