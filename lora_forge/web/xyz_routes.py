"""Routes for grids that the host's own X/Y/Z plot drew: which there are, and taking one in as a test."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.dataset.project import Project
from lora_forge.events import CommandBox, Emit
from lora_forge.i18n import Said, word
from lora_forge.web.answers import RefusedError, answer, field, read_json
from lora_forge.web.serving import Routes, Served, in_pool
from lora_forge.work.testing import load_test, run_test
from lora_forge.work.testing.opened import host_grid_path, host_grids, open_grid

MOST_BYTES = 512 << 20
_TITLE = word("Scores of the grid of {name}")
_FORM_KINDS = ("multipart/form-data", "application/x-www-form-urlencoded", "text/plain")


def xyz_routes(served: Served) -> Routes:
    """GET and POST handlers by name."""
    own = _XyzRoutes(served)
    return Routes({"test/host_grids": own.found}, {"test/open": own.open, "test/open_file": own.open_file})


class _XyzRoutes:
    def __init__(self, served: Served) -> None:
        self._served = served

    async def found(self, request: Request) -> Response:
        """Grids in the host's own folder whose text tells of a LoRA's epochs and strengths, the newest first."""
        grids = await in_pool(lambda: host_grids(self._served.desk.grids_dir()))
        return answer({"grids": [dataclasses.asdict(grid) for grid in grids]})

    async def open(self, request: Request) -> Response:
        """``{"project", "kind", "id"}``: a grid that was found."""
        values = await read_json(request)
        project = self._served.project(field(values, "project", str))
        path = host_grid_path(self._served.desk.grids_dir(), field(values, "id", str))
        return await self._take(project, field(values, "kind", str, "person"), path)

    async def open_file(self, request: Request) -> Response:
        """``?project=NAME&kind=person``, the file as the body."""
        query = request.query_params
        project = self._served.project(query.get("project", ""))
        return await self._take(project, query.get("kind", "person"), await _body(request))

    async def _take(self, project: Project, kind: str, file: Path | bytes) -> Response:
        """Keep its pictures as a test, and have them scored on the run's board."""
        self._served.board.check_free()
        id = await in_pool(open_grid, project, kind, file)
        test = await in_pool(load_test, project, id)
        desk, name = self._served.desk, test.request.name

        def work(emit: Emit, commands: CommandBox) -> str:
            return run_test(desk, project, id, emit, commands)

        about = {"project": project.root.name, "name": name, "test": id}
        self._served.board.start(Said(_TITLE, {"name": name}), work, about)
        return answer({"id": id})


async def _body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() in _FORM_KINDS:
        raise RefusedError(415, "This wants the file alone.", "Send it with Content-Type: application/octet-stream.")
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > MOST_BYTES:
            what, remedy = "The file is larger than {most} MB.", "Copy it to the server yourself."
            raise RefusedError(413, what, remedy, most=MOST_BYTES >> 20)
        pieces.append(piece)
    return b"".join(pieces)
