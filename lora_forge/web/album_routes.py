"""Routes of the generalisation test (云旅游): its scenes, an album that is drawn as a job, and the picture to share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.evaluate.xyz import trained
from lora_forge.i18n import Said, word
from lora_forge.jobs import JobError
from lora_forge.web.answers import RefusedError, answer, field, language_of, read_json
from lora_forge.web.serving import Routes, Served, in_pool
from lora_forge.work.albums.drawing import check_album, draw_album
from lora_forge.work.albums.request import AlbumRequest, request_for, usual_steps
from lora_forge.work.albums.sheet import sheet_png
from lora_forge.work.albums.store import Album, albums_of, load_album, new_album, remove_album
from lora_forge.work.albums.told import Teller
from lora_forge.work.judging import prospects
from lora_forge.work.runs import runs_of

_TITLE = word("Generalisation test of {name}")
_STRENGTH = 0.8
_MORE = {"seed": int, "width": int, "height": int, "steps": int, "sampler": str, "clip_skip": int}


def album_routes(served: Served) -> Routes:
    """GET and POST handlers by name."""
    own = _AlbumRoutes(served)
    return Routes(
        {"album/form": own.form, "album/state": own.state, "album/sheet": own.sheet},
        {"album/start": own.start, "album/resume": own.resume, "album/remove": own.remove},
    )


class _AlbumRoutes:
    """Handlers; what touches the disk goes to a thread of ours."""

    def __init__(self, served: Served) -> None:
        self._served, self._desk, self._board = served, served.desk, served.board

    async def form(self, request: Request) -> Response:
        """``?project=&kind=&name=&epoch=&strength=``: the scenes on offer, who would judge, and the albums there are;
        name, epoch and strength are proposed where they are left out."""
        query = request.query_params
        return answer(await in_pool(self._form, dict(query), language_of(request)))

    async def state(self, request: Request) -> Response:
        """``?project=NAME&id=ID``: an album with all that is known of its pictures."""
        query, language = request.query_params, language_of(request)

        def look() -> dict[str, Any]:
            project = self._served.project(query.get("project", ""))
            album = load_album(project, query.get("id", ""))
            return Teller(project, language, self._working_on()).whole(album)

        return answer(await in_pool(look))

    async def sheet(self, request: Request) -> Response:
        """``?project=NAME&id=ID&photos=1``: the picture to share; ``photos=0`` leaves the real ones out."""
        query, language = request.query_params, language_of(request)
        has_photos = query.get("photos", "1") != "0"

        def draw() -> tuple[str, bytes]:
            project = self._served.project(query.get("project", ""))
            album = load_album(project, query.get("id", ""))
            return album.id, sheet_png(project, album, language, has_photos=has_photos)

        name, content = await in_pool(draw)
        headers = {
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "content-disposition": f"attachment; filename*=UTF-8''{_quoted(name)}.png",
        }
        return Response(content, media_type="image/png", headers=headers)

    async def start(self, request: Request) -> Response:
        """``{"project", "kind", "name", "epoch", "strength", "scenes": [ids], "own": [prompts], "seed", "width",
        "height", "steps", "guidance", "sampler", "clip_skip"}``: draws an album; refused at once where it can't be."""
        values = await read_json(request)
        self._board.check_free()
        name = field(values, "project", str)
        album = await in_pool(self._made, name, values)
        self._begin(name, album)
        return answer({"id": album.id})

    async def resume(self, request: Request) -> Response:
        """``{"project", "id"}``: draws what is missing of an album that was stopped or cut off."""
        values = await read_json(request)
        self._board.check_free()
        name, number = field(values, "project", str), field(values, "id", str)

        def look() -> Album:
            album = load_album(self._served.project(name), number)
            check_album(self._desk, album)
            return album

        self._begin(name, await in_pool(look))
        return answer({"id": number})

    async def remove(self, request: Request) -> Response:
        """``{"project", "id"}``: the album goes to the project's trash."""
        values = await read_json(request)
        name, number = field(values, "project", str), field(values, "id", str)

        def remove() -> None:
            project = self._served.project(name)
            if self._working_on() == load_album(project, number).id:
                raise JobError("The album {name} is being drawn.", "Stop it first.", name=number)
            remove_album(project, number)

        await in_pool(remove)
        return answer({"removed": number})

    def _form(self, query: Mapping[str, str], language: str) -> dict[str, Any]:
        project, kind = self._served.project(query.get("project", "")), query.get("kind") or "person"
        loras = trained(self._desk.lora_dir())
        name = query.get("name") or next((run.name for run in runs_of(project) if run.name in loras), "")
        epochs = loras.get(name, ())
        found, teller = prospects(self._desk, project, kind), Teller(project, language, self._working_on())
        return {
            "name": name,
            "epochs": list(epochs),
            "epoch": _number(query.get("epoch"), int, epochs[-1] if epochs else 0),
            "strength": _number(query.get("strength"), float, _STRENGTH),
            "seed": 0,
            "steps": usual_steps(kind),
            "scenes": teller.scenes(kind),
            "albums": [teller.row(album) for album in albums_of(project)],
            "judges": [one.to_json(language) for one in found.used],
            "missing": [one.to_json(language) for one in found.missing],
        }

    def _made(self, project_name: str, values: Mapping[str, Any]) -> Album:
        project = self._served.project(project_name)
        wanted = self._request(values)
        check_album(self._desk, Album(project.root, wanted, 0.0))
        return new_album(project, wanted)

    def _request(self, values: Mapping[str, Any]) -> AlbumRequest:
        more = {name: field(values, name, kind, None) for name, kind in _MORE.items()}
        guidance = values.get("guidance")
        return request_for(
            self._served.project(field(values, "project", str)),
            field(values, "kind", str, "person"),
            self._desk.info().family,
            field(values, "name", str),
            field(values, "epoch", int),
            _float(values, "strength"),
            [one for one in field(values, "scenes", list, []) if isinstance(one, str)],
            [one for one in field(values, "own", list, []) if isinstance(one, str)],
            **more,
            guidance=None if guidance is None else _float(values, "guidance"),
        )

    def _begin(self, project_name: str, album: Album) -> None:
        project = self._served.project(project_name)
        about = {"project": project_name, "name": album.request.name, "album": album.id}
        title = Said(_TITLE, {"name": album.request.name})
        self._board.start(title, lambda emit, commands: draw_album(self._desk, project, album, emit, commands), about)

    def _working_on(self) -> str:
        """The id of the album that is being drawn."""
        return str(self._board.snapshot()["about"].get("album", "")) if self._board.is_busy else ""


def _float(values: Mapping[str, Any], name: str) -> float:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RefusedError(400, "{name} must be {kind}.", name=name, kind=Said(word("a number")))
    return float(value)


def _number(text: str | None, kind: type[int] | type[float], otherwise: float) -> float:
    try:
        return kind(text or "")
    except ValueError:
        return otherwise


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name)
