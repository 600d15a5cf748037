"""A real web server on this machine that misbehaves as asked: breaks off, lies, refuses, ignores ranges."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """``breaks_after``: bytes of the next answers' bodies, one each, after which the line is cut. ``codes``: of the
    next answers. ``pause_s``: between pieces of 1 KB."""

    breaks_after: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    has_ranges: bool = True
    etag: str = '"one"'
    pause_s: float = 0.0


class FileServer:
    """Serves ``files`` by path; ``asked`` remembers (path, Range, status)."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files, self.how = dict(files), Behaviour()
        self.asked: list[tuple[str, str, int]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        content = self.files.get(request.path)
        code = self.how.codes.pop(0) if self.how.codes else 200 if content is not None else 404
        asked = request.headers.get("Range", "")
        if code != 200 or content is None:
            return self._say(request, code, b"sorry", asked)
        start = self._start(request, asked)
        if start >= len(content) and start:
            return self._say(request, 416, b"", asked, {"Content-Range": f"bytes */{len(content)}"})
        more = {"ETag": self.how.etag}
        if start:
            more["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self._say(request, 206 if start else 200, content[start:], asked, more)

    def _start(self, request: BaseHTTPRequestHandler, asked: str) -> int:
        same = request.headers.get("If-Range", self.how.etag) == self.how.etag
        found = re.fullmatch(r"bytes=(\d+)-", asked)
        return int(found[1]) if found and same and self.how.has_ranges else 0

    def _say(
        self, request: BaseHTTPRequestHandler, code: int, body: bytes, asked: str, more: Mapping[str, str] | None = None
    ) -> None:
        self.asked.append((request.path, asked, code))
        request.send_response(code)
        for name, value in {**(more or {}), "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        cut = self.how.breaks_after.pop(0) if self.how.breaks_after and code < 300 else len(body)
        with contextlib.suppress(ConnectionError):  # the other side stopped
            for first in range(0, min(cut, len(body)), 1024):
                request.wfile.write(body[first : min(first + 1024, cut)])
                time.sleep(self.how.pause_s)
        if cut < len(body):
            request.wfile.flush()
            request.close_connection = True
