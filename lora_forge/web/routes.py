"""The routes: what a page polls, presses and sends. All are ``async def``, so that none waits behind the host's own
requests for its lock; what takes longer goes to the board or to threads of ours."""

from __future__ import annotations

import dataclasses
import functools
import io
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lora_forge.dataset.images import IMAGE_SUFFIXES, UnreadableImageError, read_image
from lora_forge.errors import LoraForgeError
from lora_forge.jobs import JobBoard, chores
from lora_forge.ports import Desk
from lora_forge.web.album_routes import album_routes
from lora_forge.web.answers import RefusedError, answer, field, language_of, read_json, refusal
from lora_forge.web.commands import command_of
from lora_forge.web.guard import OpensTo, is_foreign, login_of
from lora_forge.web.keep_routes import keep_routes
from lora_forge.web.lora_routes import lora_routes
from lora_forge.web.photo_routes import photo_routes
from lora_forge.web.places import confined
from lora_forge.web.plan_routes import plan_routes
from lora_forge.web.preset_routes import preset_routes
from lora_forge.web.protection import Refusal
from lora_forge.web.round_routes import round_routes
from lora_forge.web.run_routes import run_routes
from lora_forge.web.series_routes import series_routes
from lora_forge.web.serving import POOL, Handler, Routes, Served, in_pool
from lora_forge.web.tag_routes import tag_routes
from lora_forge.web.tagger_routes import tagger_routes
from lora_forge.web.test_routes import test_routes
from lora_forge.web.uploads import UploadLimits, Uploads
from lora_forge.web.xyz_routes import xyz_routes
from lora_forge.work import gather, projects
from lora_forge.work.gathering import uploads_dir
from lora_forge.work.memory import MemorySentence, memory_sentence
from lora_forge.work.queue import queue_of
from lora_forge.work.settings import new_config

PREFIX = "/lora_forge/"
PICTURE_PX = 256
MOST_PICTURE_PX = 1536


def mount(
    app: Any,
    desk: Desk,
    board: JobBoard,
    opens_to: OpensTo | None = None,
    *,
    api_auth: str = "",
    allows_paths: bool = False,
    limits: UploadLimits | None = None,
    side_board: JobBoard | None = None,
) -> None:
    """Add the routes to ``app`` (FastAPI or starlette, started or not), before all others; again is no harm.

    ``opens_to``: who is let in; by default whom gradio's login (``app.auth``) or ``api_auth`` (the host's
    ``--api-auth``) lets in. ``allows_paths``: whether photos may be imported from any folder of this machine.
    ``side_board``: where photos are looked at and tagged; by default the process's own. Files in the data root are
    from now on refused by the host's own file routes.
    """
    served = Served(desk, board, side_board or chores(), queue_of(desk, board))
    guard = _Guard(opens_to or login_of(app, api_auth))
    parts = (
        _run_routes(served, allows_paths, limits or UploadLimits()),
        run_routes(served),
        photo_routes(served),
        tag_routes(served),
        tagger_routes(served, allows_paths=allows_paths),
        series_routes(served),
        plan_routes(served),
        preset_routes(served),
        album_routes(served),
        test_routes(served),
        xyz_routes(served),
        round_routes(served),
        keep_routes(served),
        lora_routes(served),
    )
    others = [route for route in app.router.routes if not str(getattr(route, "path", "")).startswith(PREFIX)]
    app.router.routes[:] = [
        Refusal(desk.data_root()),
        *(route for part in parts for route in guard.routes(part)),
        *others,
    ]


class _Guard:
    """Routes that answer only whom the host lets in, and refusals in words."""

    def __init__(self, opens_to: OpensTo) -> None:
        self._opens_to = opens_to

    def routes(self, part: Routes) -> list[Route]:
        """``part`` behind the guard."""
        return [
            Route(PREFIX + name, self._guarded(handler), methods=[method])
            for method, handlers in (("GET", part.gets), ("POST", part.posts))
            for name, handler in handlers.items()
        ]

    def _guarded(self, handler: Handler) -> Handler:
        async def endpoint(request: Request) -> Response:
            try:
                self._check(request)
                return await handler(request)
            except LoraForgeError as problem:
                return refusal(problem, language_of(request))

        return endpoint

    def _check(self, request: Request) -> None:
        if is_foreign(request.headers):
            raise RefusedError(403, "Another site's page asked for this.", "Use the WebUI's own page.")
        if not self._opens_to(request):
            raise RefusedError(401, "Not logged in.", "Log in to the WebUI, or give the API's user and password.")


def _run_routes(served: Served, allows_paths: bool, limits: UploadLimits) -> Routes:
    own = _RunRoutes(served, allows_paths, limits)
    return Routes(
        {"status": own.status, "projects": own.projects, "picture": own.picture, "memory": own.memory},
        {"command": own.command, "upload": own.upload, "import": own.import_photos},
    )


class _RunRoutes:
    """The run, the projects, and what is uploaded to them."""

    def __init__(self, served: Served, allows_paths: bool, limits: UploadLimits) -> None:
        self._desk, self._board, self._chores = served.desk, served.board, served.chores
        self._allows_paths = allows_paths
        self._uploads = Uploads(functools.partial(uploads_dir, served.desk), limits, POOL)

    async def status(self, request: Request) -> Response:
        """``?since=NUMBER&language=zh``: the board, with the sentences after it; ``board=chores`` the other one."""
        since = request.query_params.get("since", "0")
        language = request.query_params.get("language", "en")
        board = self._chores if request.query_params.get("board") == "chores" else self._board
        return answer(board.snapshot(int(since) if since.isdecimal() else 0, language))

    async def command(self, request: Request) -> Response:
        """As :func:`command_of`, for the run; with ``"board": "chores"`` for what goes on beside it."""
        values = await read_json(request)
        board = self._chores if field(values, "board", str, "") == "chores" else self._board
        board.send(command_of(values))
        return answer(board.snapshot())

    async def projects(self, request: Request) -> Response:
        """Every project with its photos counted."""
        found = await in_pool(projects, self._desk.data_root())
        return answer({"projects": [dataclasses.asdict(facts) for facts in found]})

    async def memory(self, request: Request) -> Response:
        """``?resolution_px=512&kind=person``: a sentence on what that resolution takes, and whether it fits."""
        query = request.query_params
        side = query.get("resolution_px", "")
        values = {"resolution_px": int(side)} if side.isdecimal() and len(side) < 6 else {}

        def look() -> MemorySentence:
            family = self._desk.info().family
            return memory_sentence(family, new_config("memory", query.get("kind", "person"), family, 25, "", values))

        found = await in_pool(look)
        return answer({"sentence": found.sentence.text(language_of(request)), "fits": found.fits})

    async def picture(self, request: Request) -> Response:
        """``?path=PROJECT/images/...&side=256``: a picture in the projects' folder, as a small JPEG."""
        query = request.query_params
        path = confined(self._desk.data_root(), query.get("path", ""))
        if path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
            raise RefusedError(404, "There is no picture {path!r}.", path=query.get("path", ""))
        side = query.get("side", "")
        side_px = min(max(int(side), 16), MOST_PICTURE_PX) if side.isdecimal() and len(side) < 6 else PICTURE_PX
        try:
            content = await in_pool(_small, path, side_px)
        except UnreadableImageError as problem:
            raise RefusedError(404, "{path!r} can't be shown: {why}.", path=path.name, why=problem.reason) from problem
        headers = {"cache-control": "private, max-age=60", "x-content-type-options": "nosniff"}
        return Response(content, media_type="image/jpeg", headers=headers)

    async def upload(self, request: Request) -> Response:
        """``?name=FILE&batch=ID`` with the file as the body; the answer names the batch."""
        return answer(await self._uploads.take(request))

    async def import_photos(self, request: Request) -> Response:
        """``{"project", "trigger_word", "batch"}`` or, where it is allowed, ``{..., "paths": [...]}``."""
        values = await read_json(request)
        name, word = field(values, "project", str), field(values, "trigger_word", str, "")
        batch, paths = field(values, "batch", str, ""), field(values, "paths", list, [])
        folder = [self._uploads.folder(batch)] if batch else []
        sources = [Path(path) for path in paths if isinstance(path, str)]
        sources += [path for place in folder for path in sorted(place.iterdir()) if not path.name.startswith(".")]
        if not sources:
            raise RefusedError(400, "There is nothing to import.", "Upload photos or a zip first.")
        work = functools.partial(gather, allows_paths=self._allows_paths, upload_dirs=folder)
        report = await in_pool(work, self._desk, name, sources, word, lambda event: None)
        if batch:
            await in_pool(self._uploads.drop, batch)
        counts = {"imported": len(report.imported), "present": len(report.present)}
        reasons = [{"name": one.name, "reason": one.reason.text(language_of(request))} for one in report.skipped]
        return answer({**counts, "skipped": reasons})


def _small(path: Path, side_px: int) -> bytes:
    image, file = read_image(path), io.BytesIO()
    image.thumbnail((side_px, side_px))
    image.save(file, format="JPEG", quality=85)
    return file.getvalue()
