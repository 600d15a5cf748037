"""Routes of the Keep step: what would be kept, keeping it, the archive and the way back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.dataset.project import Project
from lora_forge.i18n import Said, Several
from lora_forge.web.answers import RefusedError, answer, field, language_of, read_json
from lora_forge.web.places import confined
from lora_forge.web.serving import Routes, Served, in_pool
from lora_forge.work import archive, keeping
from lora_forge.work.archive import Entry
from lora_forge.work.keep_form import KeepForm, archived, keep_form
from lora_forge.work.keeping import KeepRequest


def keep_routes(served: Served) -> Routes:
    """GET and POST handlers by name."""
    own = _KeepRoutes(served)
    posts = {"keep/keep": own.keep, "keep/undo": own.undo, "keep/go_on": own.go_on}
    return Routes({"keep/form": own.form}, posts)


class _KeepRoutes:
    def __init__(self, served: Served) -> None:
        self._served, self._desk = served, served.desk

    async def form(self, request: Request) -> Response:
        """``?project=&kind=&name=&epoch=&strength=``: proposals for that cell, and the archive."""
        query, language = request.query_params, language_of(request)
        epoch, strength = query.get("epoch", ""), number_of(query.get("strength", ""))

        def work() -> dict[str, Any]:
            project = self._served.project(query.get("project", ""))
            at = int(epoch) if epoch.isdecimal() and len(epoch) < 8 else None
            return self._form(keep_form(self._desk, project, query.get("name", ""), at, strength), language)

        return answer(await in_pool(work))

    async def keep(self, request: Request) -> Response:
        """``{"project", "name", "epoch", "strength", "new_name", "bake", "picture", "activation", "weight", "negative",
        "notes"}``: the file, what went to the archive, and ``undo``, the id to bring it back by."""
        values, language = await read_json(request), language_of(request)
        wanted = await in_pool(self._request, values)
        made = await in_pool(lambda: keeping.keep(self._desk, wanted, self._at_work()))
        told = {"file": made.file.name, "archived": list(made.archived), "undo": made.entry.id}
        return answer(
            {**told, "sentence": made.sentence.text(language), "archive": await in_pool(self._archive, language)}
        )

    async def undo(self, request: Request) -> Response:
        """``{"id"}``: every file of that entry back, what was kept to its trash."""
        values, language = await read_json(request), language_of(request)
        id = field(values, "id", str)
        entry, sentence = await in_pool(lambda: keeping.undo(self._desk, id, self._at_work()))
        told = {"id": entry.id, "back": [name for name, _ in entry.moved], "sentence": sentence.text(language)}
        return answer({**told, "archive": await in_pool(self._archive, language)})

    async def go_on(self, request: Request) -> Response:
        """``{"id"}``: finish what a program that was killed had begun."""
        values, language = await read_json(request), language_of(request)
        id = field(values, "id", str)
        entry = await in_pool(lambda: archive.go_on(archive.find(self._desk.data_root(), id)))
        told = {"id": entry.id, "sentence": keeping.kept_sentence(entry).text(language)}
        return answer({**told, "archive": await in_pool(self._archive, language)})

    def _form(self, form: KeepForm, language: str) -> dict[str, Any]:
        problem = form.problem
        parts = (Said(problem.what, problem.values), Said(problem.remedy, problem.values)) if problem else ()
        plain = {key: value for key, value in vars(form).items() if key != "problem"}
        lists = {key: list(plain[key]) for key in ("names", "epochs", "pictures", "others")}
        problems = Several(tuple(part for part in parts if part.template), " ").text(language)
        return {**plain, **lists, "problem": problems, "archive": self._archive(language)}

    def _archive(self, language: str) -> list[dict[str, Any]]:
        return [_row(entry, language) for entry in archived(self._desk.data_root())]

    def _request(self, values: Mapping[str, Any]) -> KeepRequest:
        project: Project = self._served.project(field(values, "project", str))
        picture, weight = field(values, "picture", str, ""), values.get("weight")
        strength = number_of(values.get("strength"))
        if strength is None:
            raise RefusedError(400, "{name} must be a number.", name="strength")
        return KeepRequest(
            project,
            field(values, "name", str),
            field(values, "epoch", int),
            strength,
            field(values, "new_name", str).strip(),
            field(values, "bake", bool, False),
            confined(self._desk.data_root(), picture) if picture else None,
            field(values, "activation", str, ""),
            number_of(weight),
            field(values, "negative", str, ""),
            field(values, "notes", str, ""),
        )

    def _at_work(self) -> set[str]:
        return at_work(self._served)


def at_work(served: Served) -> set[str]:
    """Names of LoRAs that something on the board or in the queue is about."""
    names = {entry.request.name for entry in served.queue.entries()}
    if served.board.is_busy:
        names.add(str(served.board.snapshot()["about"].get("name", "")))
    return names - {""}


def number_of(value: Any) -> float | None:
    """A finite number, also where it comes as text; None for anything else."""
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _row(entry: Entry, language: str) -> dict[str, Any]:
    about = entry.about
    return {
        "id": entry.id,
        "project": about.get("project", ""),
        "name": about.get("name", ""),
        "file": about.get("file", ""),
        "files": len(entry.moved),
        "made_at": entry.made_at,
        "is_unfinished": entry.state in ("keeping", "undoing"),
        "sentence": keeping.kept_sentence(entry).text(language),
    }
