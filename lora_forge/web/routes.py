"""The routes: what a page polls, presses and sends. All are ``async def``, so that none waits behind the host's own
requests for its lock; what takes longer goes to the board or to threads of ours."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import io
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lora_forge.dataset.images import IMAGE_SUFFIXES, UnreadableImageError, read_image
from lora_forge.errors import LoraForgeError
from lora_forge.events import Command
from lora_forge.jobs import JobBoard, JobError
from lora_forge.ports import Desk
from lora_forge.web.answers import RefusedError, answer, field, read_json, refusal
from lora_forge.web.guard import OpensTo, is_foreign, login_of
from lora_forge.web.places import confined
from lora_forge.web.protection import Refusal
from lora_forge.web.uploads import UploadLimits, Uploads
from lora_forge.work import RunRequest, gather, plan, project_dir, projects, run
from lora_forge.work.gathering import uploads_dir
from lora_forge.work.planning import PROOFS

PREFIX = "/lora_forge/"
PICTURE_PX = 256
MOST_PICTURE_PX = 1536
T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
# Not starlette's own threads: forty requests that wait for the host's lock take all of those.
_POOL = ThreadPoolExecutor(max_workers=4, thread_name_prefix="lora-forge-web")


def mount(
    app: Any,
    desk: Desk,
    board: JobBoard,
    opens_to: OpensTo | None = None,
    *,
    api_auth: str = "",
    allows_paths: bool = False,
    limits: UploadLimits | None = None,
) -> None:
    """Add the routes to ``app`` (FastAPI or starlette, started or not), before all others; again is no harm.

    ``opens_to``: who is let in; by default whom gradio's login (``app.auth``) or ``api_auth`` (the host's
    ``--api-auth``) lets in. ``allows_paths``: whether photos may be imported from any folder of this machine. Files in
    the data root are from now on refused by the host's own file routes.
    """
    served = _Served(app, desk, board, opens_to or login_of(app, api_auth), allows_paths, limits or UploadLimits())
    others = [route for route in app.router.routes if not str(getattr(route, "path", "")).startswith(PREFIX)]
    app.router.routes[:] = [Refusal(desk.data_root()), *served.routes(), *others]


class _Served:
    """One desk and one board behind the routes."""

    def __init__(
        self, app: Any, desk: Desk, board: JobBoard, opens_to: OpensTo, allows_paths: bool, limits: UploadLimits
    ) -> None:
        self._app, self._desk, self._board, self._opens_to = app, desk, board, opens_to
        self._allows_paths = allows_paths
        self._uploads = Uploads(functools.partial(uploads_dir, desk), limits, _POOL)

    def routes(self) -> list[Route]:
        """All but the refusal."""
        gets = {"status": self.status, "projects": self.projects, "picture": self.picture}
        posts = {"command": self.command, "start": self.start, "upload": self.upload, "import": self.import_photos}
        return [
            *(Route(PREFIX + name, self._guarded(handler), methods=["GET"]) for name, handler in gets.items()),
            *(Route(PREFIX + name, self._guarded(handler), methods=["POST"]) for name, handler in posts.items()),
        ]

    def _guarded(self, handler: Handler) -> Handler:
        async def endpoint(request: Request) -> Response:
            try:
                self._check(request)
                return await handler(request)
            except JobError as problem:
                return answer({"error": {"what": problem.what.format(**problem.values), "remedy": problem.remedy}}, 409)
            except LoraForgeError as problem:
                return refusal(problem)

        return endpoint

    def _check(self, request: Request) -> None:
        if is_foreign(request.headers):
            raise RefusedError(403, "Another site's page asked for this.", "Use the WebUI's own page.")
        if not self._opens_to(request):
            raise RefusedError(401, "Not logged in.", "Log in to the WebUI, or give the API's user and password.")

    async def status(self, request: Request) -> Response:
        """``?since=NUMBER&language=zh``: the board, with the sentences after that number."""
        since = request.query_params.get("since", "0")
        language = request.query_params.get("language", "en")
        return answer(self._board.snapshot(int(since) if since.isdecimal() else 0, language))

    async def command(self, request: Request) -> Response:
        """``{"command": "stop"}``: one of :class:`Command`."""
        word = field(await read_json(request), "command", str)
        known = {command.value: command for command in Command}
        if word not in known:
            raise RefusedError(400, "There is no command {word!r}.", "Say one of {known}.", word=word, known=[*known])
        self._board.send(known[word])
        return answer(self._board.snapshot())

    async def start(self, request: Request) -> Response:
        """The fields of a :class:`RunRequest`, ``project`` by its name. Refused at once where it can't be planned."""
        values = await read_json(request)
        known = {one.name for one in dataclasses.fields(RunRequest)}
        for name in values:
            if name not in known:
                raise RefusedError(400, "There is no field {name!r}.", "Known are {known}.", name=name, known=[*known])
        wanted = RunRequest(
            project=project_dir(self._desk.data_root(), field(values, "project", str)),
            name=field(values, "name", str),
            kind=field(values, "kind", str, "person"),
            repeats=field(values, "repeats", int, None),
            epochs=field(values, "epochs", int, 10),
            settings=field(values, "settings", dict, {}),
            resume=field(values, "resume", bool, False),
            prove=field(values, "prove", str, "off"),
            folder=field(values, "folder", str, ""),
        )
        if wanted.prove not in PROOFS:
            raise RefusedError(
                400, "There is no proof {prove!r}.", "Say one of {known}.", prove=wanted.prove, known=PROOFS
            )
        self._board.check_free()
        await _in_pool(plan, self._desk, wanted)
        self._board.start(wanted.name, lambda emit, commands: run(self._desk, wanted, emit, commands).outcome)
        return answer(self._board.snapshot())

    async def projects(self, request: Request) -> Response:
        """Every project with its photos counted."""
        found = await _in_pool(projects, self._desk.data_root())
        return answer({"projects": [dataclasses.asdict(facts) for facts in found]})

    async def picture(self, request: Request) -> Response:
        """``?path=PROJECT/images/...&side=256``: a picture in the projects' folder, as a small JPEG."""
        query = request.query_params
        path = confined(self._desk.data_root(), query.get("path", ""))
        if path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
            raise RefusedError(404, "There is no picture {path!r}.", path=query.get("path", ""))
        side = query.get("side", "")
        side_px = min(max(int(side), 16), MOST_PICTURE_PX) if side.isdecimal() and len(side) < 6 else PICTURE_PX
        try:
            content = await _in_pool(_small, path, side_px)
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
        report = await _in_pool(work, self._desk, name, sources, word, lambda event: None)
        if batch:
            await _in_pool(self._uploads.drop, batch)
        counts = {"imported": len(report.imported), "present": len(report.present)}
        return answer({**counts, "skipped": [dataclasses.asdict(left_out) for left_out in report.skipped]})


def _small(path: Path, side_px: int) -> bytes:
    image, file = read_image(path), io.BytesIO()
    image.thumbnail((side_px, side_px))
    image.save(file, format="JPEG", quality=85)
    return file.getvalue()


async def _in_pool(function: Callable[..., T], *values: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(_POOL, functools.partial(function, *values))
