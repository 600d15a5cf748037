"""One file over a line that may break: asked for again from where it stopped, in pieces, until it is whole.

What has come lies in ``NAME.part``; beside it ``NAME.part.json`` keeps what the server called that version, so that two
versions are never mixed where no checksum would tell. Proxies are urllib's: the environment's and the system's.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lora_forge import __version__
from lora_forge.downloads.checks import DownloadError
from lora_forge.i18n import Said, word

PIECE = 1 << 18
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_OFFLINE = word(
    "Check the network and the proxy, set a mirror, or fetch the file on another machine and press 'I have the file'."
)
_LATER = word("What has come is kept: start it again later and it goes on from there.")
_FINAL = (400, 401, 403, 404, 410, 451)


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to ask it again when nothing more came."""

    timeout_s: float = 20.0
    pause_s: float = 1.0
    attempts: int = 4


@dataclass
class Transfer:
    """One file on its way: ``size_bytes`` is 0 where only the server knows; ``tell(have, total)`` at every piece."""

    url: str
    part: Path
    size_bytes: int
    has_sum: bool
    tell: Callable[[int, int], None]
    is_unwanted: Callable[[], bool]
    patience: Patience

    def run(self) -> bool:
        """Whether the file is whole now; False when it was unwanted midway.

        Raises:
            DownloadError: there is no such file, nobody answers, or the line keeps breaking.
        """
        left, pause = self.patience.attempts, threading.Event()
        while True:
            before = _size(self.part)
            cause: object = Said(word("the connection broke off"))
            try:
                if self._once():
                    return True
            except urllib.error.HTTPError as answer:
                self._refuse(answer)
                cause = f"{answer.code} {answer.reason}"
            except (OSError, http.client.HTTPException) as problem:
                cause = self._explain(problem)
            if self.is_unwanted():
                return False
            left = self.patience.attempts if _size(self.part) > before else left - 1
            if left <= 0:
                raise DownloadError(
                    "{url} does not come: {cause}.", _LATER, url=self.url, cause=cause
                )  # fmt: skip
            pause.wait(self.patience.pause_s)

    def _once(self) -> bool:
        """Ask once, from where the part ends; True when it is whole."""
        have = _size(self.part)
        if self.size_bytes and have == self.size_bytes:
            return True
        if self.size_bytes and have > self.size_bytes:
            have = self._forget()
        try:
            with _opener().open(self._request(have), timeout=self.patience.timeout_s) as answer:
                return self._read(answer, have)
        except urllib.error.HTTPError as problem:
            if problem.code != 416:
                raise
            total = re.search(r"\*/(\d+)", problem.headers.get("Content-Range", ""))
            if total and int(total[1]) == have:
                return True
            self._forget()
            return False

    def _request(self, have: int) -> urllib.request.Request:
        headers = {"User-Agent": f"lora-forge/{__version__}", "Accept-Encoding": "identity"}
        version = self._version()
        if have and not self.has_sum and not version:
            self._forget()
        elif have:
            headers["Range"] = f"bytes={have}-"
            if not self.has_sum:
                headers["If-Range"] = version
        return urllib.request.Request(self.url, headers=headers)

    def _read(self, answer: http.client.HTTPResponse, have: int) -> bool:
        start, total = _extent(answer)
        if start != have or answer.status == 200:
            have = self._forget()
            if start:
                return False  # not what was asked for; ask from the beginning
        if self.size_bytes and total and total != self.size_bytes:
            raise DownloadError(
                "{url} gives {found} bytes where the file has {wanted}.",
                "Is the mirror right? It may have answered with a page of its own.",
                url=self.url,
                found=total,
                wanted=self.size_bytes,
            )
        self._keep_version(answer)
        total = total or self.size_bytes
        while not self.is_unwanted():
            piece = answer.read(PIECE)
            if not piece:
                if have == 0:
                    self._append(b"")  # an empty file is a file: the checks say what it is not
                return have == total if total else True
            self._append(piece)
            have += len(piece)
            self.tell(have, total)
        return False

    def _append(self, piece: bytes) -> None:
        try:
            with self.part.open("ab") as file:
                file.write(piece)
        except OSError as cause:
            raise DownloadError(
                "{path} can't be written: {cause}.",
                "Make room, then start again: it goes on.",
                path=self.part,
                cause=cause,
            ) from cause

    # ---------------------------------------------------------------- what is kept beside the part

    def _version_path(self) -> Path:
        return self.part.with_name(self.part.name + ".json")

    def _version(self) -> str:
        try:
            found = json.loads(self._version_path().read_text(encoding="utf-8"))
            return str(found["version"]) if found["url"] == self.url else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _keep_version(self, answer: http.client.HTTPResponse) -> None:
        tag = answer.headers.get("ETag", "")
        version = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")
        with contextlib.suppress(OSError):
            self._version_path().write_text(json.dumps({"url": self.url, "version": version}), encoding="utf-8")

    def _forget(self) -> int:
        """Throw away what has come; returns how much is there now: 0."""
        self.part.unlink(missing_ok=True)
        return 0

    # ---------------------------------------------------------------- refusals in words

    def _refuse(self, answer: urllib.error.HTTPError) -> None:
        """What asking again won't change."""
        if answer.code in _FINAL:
            raise DownloadError(
                "{url} is not there: the server says {code} {reason}.",
                "Set another mirror, or fetch the file yourself and press 'I have the file'.",
                url=self.url,
                code=answer.code,
                reason=answer.reason,
            ) from answer

    def _explain(self, problem: Exception) -> str:
        """Why nothing came; raised at once where there is no line at all."""
        reason = problem.reason if isinstance(problem, urllib.error.URLError) else problem
        if isinstance(reason, (socket.gaierror, ConnectionRefusedError)) and not _size(self.part):
            raise DownloadError(
                "{host} can't be reached: {cause}.", _OFFLINE, host=urlsplit(self.url).netloc, cause=reason
            ) from problem
        return str(reason) or type(reason).__name__


def _opener() -> urllib.request.OpenerDirector:
    """Ours, made now: a host may have put its own in place of urllib's, and proxies may have been set since."""
    return urllib.request.build_opener()


def _extent(answer: http.client.HTTPResponse) -> tuple[int, int]:
    """(first byte, size of the whole file or 0) of an answer."""
    found = _RANGE.match(answer.headers.get("Content-Range", "")) if answer.status == 206 else None
    if found:
        return int(found[1]), 0 if found[2] == "*" else int(found[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else 0


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def forget_version(part: Path) -> None:
    """Remove what was kept beside a part that is a file now."""
    part.with_name(part.name + ".json").unlink(missing_ok=True)
