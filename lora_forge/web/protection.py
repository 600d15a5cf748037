"""Photos kept from the host's own file routes, which serve whatever lies under the WebUI's folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from lora_forge.web import exposure

_FILE_ROUTES = ("/file=", "/file/")


def protect(page: Any, root: Path) -> None:
    """Have gradio refuse everything in ``root``; ``page`` is the launched ``gradio.Blocks``.

    gradio's own list of blocked paths is not enough: gradio 3.41 and 4.40 compare it with the path as it was asked
    for, so that a link to the folder passes it, and on some disks its name in other letters. The route that
    :func:`lora_forge.web.mount` adds looks at the place itself; this is the second lock.
    """
    blocked = getattr(page, "blocked_paths", None)
    if isinstance(blocked, list):
        wanted = {str(root), str(root.resolve())}
        page.blocked_paths = [*(path for path in blocked if path not in wanted), *sorted(wanted)]
    exposure.remember(page)


class Refusal(Route):
    """Comes before all other routes, and takes only what asks the host for a file in ``root``: 403."""

    def __init__(self, root: Path) -> None:
        super().__init__("/lora_forge/refused", _refuse, methods=["GET"])
        self._root = root

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and is_aimed_at(str(scope.get("path", "")), self._root):
            return Match.FULL, {"endpoint": self.endpoint, "path_params": {}}
        return Match.NONE, {}


def is_aimed_at(url_path: str, root: Path) -> bool:
    """Whether ``url_path`` (decoded) asks gradio for something in ``root``, by whatever name of the place."""
    for route in _FILE_ROUTES:
        _, found, place = url_path.partition(route)
        if found and _is_in(place, root):
            return True
    return False


def _is_in(place: str, root: Path) -> bool:
    try:
        real, wanted = Path(os.path.realpath(place)), os.stat(root)
    except (OSError, ValueError):  # nothing is there to be kept
        return False
    return any(_is_same(folder, wanted) for folder in (real, *real.parents))


def _is_same(folder: Path, wanted: os.stat_result) -> bool:
    """By the disk's own numbers: upper and lower case, short names and network names of one folder are one."""
    try:
        return os.path.samestat(os.stat(folder), wanted)
    except (OSError, ValueError):
        return False


async def _refuse(request: Request) -> Response:
    return JSONResponse({"detail": "These files are kept from this route."}, status_code=403)
