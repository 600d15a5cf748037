"""Routes of the runs and their queue: what there is, and what is begun, resumed, ordered and taken out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.jobs import JobError
from lora_forge.web.answers import RefusedError, answer, field, language_of, read_json
from lora_forge.web.run_requests import changed_request, request_from, sweep_of
from lora_forge.web.serving import Routes, Served, in_pool
from lora_forge.work.planning import RunRequest
from lora_forge.work.queue import about_of
from lora_forge.work.queue_words import entry_row
from lora_forge.work.report import report
from lora_forge.work.requests import asked, request_of
from lora_forge.work.run_settings import settings_of
from lora_forge.work.runs import RunList, find_run, remove_run
from lora_forge.work.sweep import sweep


def run_routes(served: Served) -> Routes:
    """GET and POST handlers by name."""
    own = _RunRoutes(served)
    return Routes(
        {"runs": own.runs, "runs/settings": own.settings, "runs/report": own.report},
        {
            "start": own.start,
            "runs/resume": own.resume,
            "runs/remove": own.remove_run,
            "queue/move": own.move,
            "queue/edit": own.edit,
            "queue/duplicate": own.duplicate,
            "queue/remove": own.remove,
            "queue/hold": own.hold,
            "queue/go": own.go,
            "queue/sweep": own.sweep,
        },
    )


class _RunRoutes:
    """Handlers; what touches the disk goes to a thread of ours."""

    def __init__(self, served: Served) -> None:
        self._served, self._desk, self._queue = served, served.desk, served.queue

    async def runs(self, request: Request) -> Response:
        """``?project=NAME&language=zh`` (project left out: of all): the runs, newest first, and the queue."""
        project, language = request.query_params.get("project", ""), language_of(request)
        return answer(await in_pool(self._listing, project, language))

    async def settings(self, request: Request) -> Response:
        """``?project=NAME&name=NAME``, or ``id=`` of what waits: what was asked for, to edit or do again."""
        query = request.query_params
        return answer(await in_pool(self._settings, query.get("project", ""), query.get("name", ""), query.get("id")))

    async def report(self, request: Request) -> Response:
        """``?project=NAME&name=NAME&language=zh``: a text to copy, without anything personal."""
        query, language = request.query_params, language_of(request)
        text = await in_pool(self._report, query.get("project", ""), query.get("name", ""), language)
        return answer({"text": text})

    async def start(self, request: Request) -> Response:
        """The fields of a :class:`RunRequest`, ``project`` by its name, ``values`` for its settings; refused at once
        where it can't be planned. With ``queue`` it waits where a run is going."""
        values = await read_json(request)
        wanted = request_from(self._desk.data_root(), values)
        return await self._submit(wanted, may_wait=field(values, "queue", bool, False))

    async def resume(self, request: Request) -> Response:
        """``{"project", "name"}``: go on with a run that was cut off, or begin again one that never took a step; it
        waits where another is going."""
        values = await read_json(request)
        project, name = field(values, "project", str), field(values, "name", str)
        wanted = await in_pool(self._resumed, project, name)
        return await self._submit(wanted, may_wait=field(values, "queue", bool, True))

    async def remove_run(self, request: Request) -> Response:
        """``{"project", "name"}``: the run's folder goes to the project's trash; its LoRA files stay."""
        values = await read_json(request)
        project, name = field(values, "project", str), field(values, "name", str)

        def remove() -> None:
            self._check_not_ours(project, name)
            remove_run(self._served.project(project), name)

        await in_pool(remove)
        return answer({"removed": name})

    async def move(self, request: Request) -> Response:
        """``{"id", "index"}``: 0 is next."""
        values = await read_json(request)
        await in_pool(self._queue.move, field(values, "id", str), field(values, "index", int))
        return await self._queue_answer(request)

    async def edit(self, request: Request) -> Response:
        """``{"id", "values", "name", ...}``: what is given takes the place of what was."""
        values = await read_json(request)
        root = self._desk.data_root()
        await in_pool(self._queue.edit, field(values, "id", str), lambda was: changed_request(root, was, values))
        return await self._queue_answer(request)

    async def duplicate(self, request: Request) -> Response:
        """``{"id"}``: the same again behind it, under the next free name; ``made`` is its id."""
        values = await read_json(request)
        made = await in_pool(self._queue.duplicate, field(values, "id", str))
        return await self._queue_answer(request, made=made)

    async def remove(self, request: Request) -> Response:
        """``{"id"}``"""
        values = await read_json(request)
        await in_pool(self._queue.remove, field(values, "id", str))
        return await self._queue_answer(request)

    async def hold(self, request: Request) -> Response:
        """Begin nothing more."""
        await read_json(request)
        await in_pool(self._queue.hold)
        return await self._queue_answer(request)

    async def go(self, request: Request) -> Response:
        """Begin what waits."""
        await read_json(request)
        await in_pool(self._queue.go)
        return await self._queue_answer(request)

    async def sweep(self, request: Request) -> Response:
        """``{"request": {as start}, "key", "values": [...]}``: a run for each value; ``made`` are their ids."""
        values = await read_json(request)
        wanted, key, tried = sweep_of(self._desk.data_root(), values)

        def add() -> list[str]:
            return self._queue.add(sweep(self._desk, wanted, key, tried))

        return await self._queue_answer(request, made=await in_pool(add))

    async def _submit(self, wanted: RunRequest, *, may_wait: bool) -> Response:
        def submit() -> tuple[str, str]:
            return self._queue.submit(wanted, may_wait=may_wait)

        state, number = await in_pool(submit)
        return answer({"state": state, "id": number, "title": wanted.name, **about_of(wanted)})

    async def _queue_answer(self, request: Request, **more: Any) -> Response:
        listing = await in_pool(self._waiting, language_of(request))
        return answer({**more, **listing})

    def _listing(self, project: str, language: str) -> Mapping[str, Any]:
        desk, entries = self._desk, self._queue.entries()
        if project:
            self._served.project(project)
        found = RunList(desk.data_root(), desk.lora_dir(), self._served.board.snapshot())
        names = [(entry.request.project.name, entry.request.name) for entry in entries]
        return {"runs": found.rows(project, language, names), **self._waiting(language)}

    def _waiting(self, language: str) -> Mapping[str, Any]:
        rows = [entry_row(entry, language) for entry in self._queue.entries()]
        return {"queue": rows, "is_held": self._queue.is_held}

    def _settings(self, project: str, name: str, number: str | None) -> Mapping[str, Any]:
        if number is not None:
            one = self._queue.find(number).request
            return {"project": one.project.name, "name": one.name, **asked(one)}
        for entry in self._queue.entries():
            if (entry.request.project.name, entry.request.name) == (project, name):
                return {"project": project, "name": name, **asked(entry.request)}
        return settings_of(self._desk, self._served.project(project), name)

    def _report(self, project: str, name: str, language: str) -> str:
        run, live = find_run(self._served.project(project), name), self._served.board.snapshot(language=language)
        is_ours = live["about"] == {"project": project, "name": name}
        state, log = (live["state"], live["log"]) if is_ours else (run.state, ())
        return report(run, state, log, self._desk, language)

    def _resumed(self, project: str, name: str) -> RunRequest:
        run = find_run(self._served.project(project), name)
        if run.state == "done":
            raise RefusedError(400, "The run {name} is done: there is nothing to go on with.", name=name)
        wanted = request_of(self._desk.data_root(), project, name, run.asked)
        if not run.has_config:
            return replace(wanted, resume=False)
        epochs = wanted.settings.get("epochs")  # more than it has: stopped before it took up the added ones
        is_longer = isinstance(epochs, int) and epochs > run.epochs
        return replace(wanted, settings={"epochs": epochs} if is_longer else {}, resume=True)

    def _check_not_ours(self, project: str, name: str) -> None:
        board = self._served.board
        if board.is_busy and board.snapshot()["about"] == {"project": project, "name": name}:
            raise JobError("The run {name} is at work already.", "Wait for its end, or stop it.", name=name)
