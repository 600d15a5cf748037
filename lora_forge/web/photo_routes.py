"""Routes of the Photos step: the wall, the trash, what is set by hand, and the work that prepares photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.dataset import trash
from lora_forge.dataset.face_set import cuts_of
from lora_forge.dataset.images import UnreadableImageError
from lora_forge.dataset.project import Box, Project
from lora_forge.dataset.project_file import Group
from lora_forge.dataset.thumbs import thumbs_of
from lora_forge.i18n import Said
from lora_forge.web import photo_chores
from lora_forge.web.answers import RefusedError, answer, field, read_json
from lora_forge.web.photo_list import listing, photo_path, photo_paths, trash_entry
from lora_forge.web.serving import Routes, Served, in_pool

_A_YEAR = "private, max-age=31536000, immutable"
_MOST_PX = 1 << 20


def photo_routes(served: Served) -> Routes:
    """GET and POST handlers by name."""
    own, chores = _PhotoRoutes(served), photo_chores.PhotoChores(served)
    return Routes(
        {
            "photos": own.photos,
            "thumb": own.thumb,
            "photos/prepared": chores.prepared,
            "photos/checkup": chores.last_checkup,
        },
        {
            "photos/trash": own.trash,
            "photos/restore": own.restore,
            "photos/crop": own.crop,
            "photos/face": own.face,
            "photos/group": own.group,
            "photos/process": chores.process,
            "photos/checkup": chores.checkup,
            "photos/remedy": chores.remedy,
            "photos/remedy/undo": chores.take_back,
        },
    )


def _size(project: Project, path: Path) -> tuple[int, int]:
    try:
        return thumbs_of(project.root).size(path)
    except OSError as cause:
        raise RefusedError(404, "There is no photo {key!r}.", "Reload the list of photos.", key=path.name) from cause


def _box(plain: list[Any], size: tuple[int, int]) -> Box:
    """What of the box lies in a picture of ``size``, in whole px.

    Raises:
        RefusedError: it is no box, or nothing of it does.
    """
    numbers = [number for number in plain if isinstance(number, (int, float)) and abs(number) <= _MOST_PX]
    if len(numbers) != 4 or len(plain) != 4:
        raise RefusedError(400, "{name} must be {kind}.", name="box", kind=Said("four numbers: x, y, width, height"))
    x, y, width, height = numbers
    left, top = max(0, round(x)), max(0, round(y))
    right, bottom = min(size[0], round(x + width)), min(size[1], round(y + height))
    if right <= left or bottom <= top:
        raise RefusedError(400, "The box {box} lies outside the photo.", "Draw it on the photo.", box=plain)
    return left, top, right - left, bottom - top


class _PhotoRoutes:
    """What answers at once."""

    def __init__(self, served: Served) -> None:
        self._served = served

    async def photos(self, request: Request) -> Response:
        """``?project=NAME&language=zh``: groups, photos and the trash."""
        query = request.query_params

        def work() -> dict[str, Any]:
            return listing(self._served.project(query.get("project", "")), query.get("language", "en"))

        return answer(await in_pool(work))

    async def thumb(self, request: Request) -> Response:
        """``?project=NAME&key=GROUP/NAME.jpg&v=STAMP`` or ``trash=NUMBER``: a JPEG of at most 256 px. With the stamp of
        the file as it is now a browser may keep it."""
        query = request.query_params

        def work() -> tuple[bytes, str]:
            project = self._served.project(query.get("project", ""))
            number = query.get("trash", "")
            if number:
                path = trash_entry(project, int(number) if number.isdecimal() and len(number) < 9 else 0).image_path
            else:
                path = photo_path(project, query.get("key", ""))
            thumbs = thumbs_of(project.root)
            try:
                return thumbs.picture(path), thumbs.look(path).stamp
            except UnreadableImageError as problem:
                what = "{name} can't be shown: {why}."
                raise RefusedError(404, what, name=path.name, why=problem.reason) from problem
            except OSError as cause:
                raise RefusedError(404, "There is no photo {key!r}.", key=path.name) from cause

        content, stamp = await in_pool(work)
        is_current = query.get("v") == stamp
        headers = {
            "cache-control": _A_YEAR if is_current else "private, max-age=5",
            "x-content-type-options": "nosniff",
        }
        return Response(content, media_type="image/jpeg", headers=headers)

    async def trash(self, request: Request) -> Response:
        """``{"project", "keys": [...]}``, or ``{"project", "keys": null, "group"}`` for all of a group: to the trash,
        with the faces cut from them, as one batch."""
        values = await read_json(request)
        keys, group = field(values, "keys", list, None), field(values, "group", str, "")
        if keys is None and not group:
            raise RefusedError(400, "{name} is missing.", name="keys")

        def work() -> dict[str, Any]:
            project = self._project(values)
            if keys is None:
                paths = [photo.path for photo in project.photos() if photo.group == group]
            else:
                paths = photo_paths(project, keys)
            moved = trash.take_out_all(project, [*paths, *cuts_of(project, paths)])
            return {"numbers": [entry.number for entry in moved]}

        return answer(await in_pool(work))

    async def restore(self, request: Request) -> Response:
        """``{"project", "numbers": [...]}``; without numbers the last batch. Answers where they are now."""
        values = await read_json(request)
        numbers = field(values, "numbers", list, None)
        if numbers is not None and not all(type(number) is int for number in numbers):
            raise RefusedError(400, "{name} must be {kind}.", name="numbers", kind=Said("a list of numbers"))

        def work() -> dict[str, Any]:
            project = self._project(values)
            if numbers is None:
                entries: Sequence[trash.TrashEntry] = trash.last_batch(project)
            else:
                entries = [trash_entry(project, number) for number in dict.fromkeys(numbers)]
            return {"keys": [project.key(path) for path in trash.put_back_all(project, entries)]}

        return answer(await in_pool(work))

    async def crop(self, request: Request) -> Response:
        """``{"project", "key", "box": [x, y, w, h] or null}``: what part of a photo to keep, in upright px."""
        return await self._set_box(request, "crop")

    async def face(self, request: Request) -> Response:
        """``{"project", "key", "box": [x, y, w, h] or null}``: where the face is, in upright px."""
        return await self._set_box(request, "face")

    async def _set_box(self, request: Request, kind: str) -> Response:
        values = await read_json(request)
        key, plain = field(values, "key", str), field(values, "box", list, None)

        def work() -> dict[str, Any]:
            project = self._project(values)
            path = photo_path(project, key)
            box = None if plain is None else _box(plain, _size(project, path))
            if kind == "crop":
                project.set_crop(path, box)
            else:
                project.set_face(path, box)
            photo = project.photo(path)
            return {"key": key, "face": photo.face, "crop": photo.crop}

        return answer(await in_pool(work))

    async def group(self, request: Request) -> Response:
        """``{"project", "name", "repeats": number or null}``: how often the group's photos are seen an epoch."""
        values = await read_json(request)
        name, repeats = field(values, "name", str), field(values, "repeats", int, None)

        def work() -> dict[str, Any]:
            project = self._project(values)
            known = project.group(name)
            project.set_group(Group(name, repeats, known.is_prior, known.is_faces))
            return {"name": name, "repeats": repeats}

        return answer(await in_pool(work))

    def _project(self, values: dict[str, Any]) -> Project:
        return self._served.project(field(values, "project", str))
