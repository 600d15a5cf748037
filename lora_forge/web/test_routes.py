"""Routes of the Test step: its form, what a test comes to, the test as a job, its state while it grows, its exports."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.dataset.project import Project
from lora_forge.events import CommandBox, Emit
from lora_forge.i18n import Said, word
from lora_forge.web.answers import RefusedError, answer, field, language_of, read_json
from lora_forge.web.serving import Routes, Served, in_pool
from lora_forge.work.testing import KeptTest, TestRequest, load_test, new_test, remove_test, run_test, told
from lora_forge.work.testing.elsewhere import command_of, infotext_of
from lora_forge.work.testing.export import export_png
from lora_forge.work.testing.proposing import form, planned
from lora_forge.work.testing.request import read_form
from lora_forge.work.testing.run import check_resumable

_TITLE = word("Test of {name}")


def test_routes(served: Served) -> Routes:
    """GET and POST handlers by name."""
    own = _TestRoutes(served)
    return Routes(
        {"test/form": own.form, "test/state": own.state, "test/export": own.export, "test/command": own.kept_command},
        {
            "test/plan": own.plan,
            "test/start": own.start,
            "test/resume": own.resume,
            "test/finish": own.finish,
            "test/remove": own.remove,
            "test/infotext": own.infotext,
            "test/command": own.command,
        },
    )


class _TestRoutes:
    def __init__(self, served: Served) -> None:
        self._served = served

    async def form(self, request: Request) -> Response:
        """``?project=NAME&kind=person&name=LORA``: what is proposed for that LoRA, or the project's newest."""
        query = request.query_params
        project = self._served.project(query.get("project", ""))
        kind, name = query.get("kind", "person"), query.get("name", "")
        return answer(await in_pool(form, self._served.desk, project, kind, name, language_of(request)))

    async def plan(self, request: Request) -> Response:
        """The form: what it comes to; nothing is written."""
        values = await read_json(request)
        project = self._project(values)
        return answer(await in_pool(planned, self._served.desk, project, values, language_of(request)))

    async def start(self, request: Request) -> Response:
        """The form: starts the test on the run's board; what can't be drawn is refused at once."""
        values = await read_json(request)
        project, wanted = self._project(values), self._wanted(values)
        self._served.board.check_free()
        id = await in_pool(new_test, self._served.desk, wanted)
        self._start(project, id, wanted.name)
        return answer({"id": id})

    async def resume(self, request: Request) -> Response:
        """``{"project", "id"}``: draws and scores what is missing."""
        return await self._go_on(request, draws_all=False)

    async def finish(self, request: Request) -> Response:
        """``{"project", "id"}``: draws what a smart grid left out."""
        return await self._go_on(request, draws_all=True)

    async def remove(self, request: Request) -> Response:
        """``{"project", "id"}``: to the project's trash."""
        values = await read_json(request)
        await in_pool(remove_test, self._project(values), field(values, "id", str))
        return answer({})

    async def state(self, request: Request) -> Response:
        """``?project=NAME&id=ID&since=REVISION``: the test, with the cells that changed after that."""
        query = request.query_params
        since, language = query.get("since", "0"), language_of(request)
        project = self._served.project(query.get("project", ""))

        def work() -> dict[str, Any]:
            test = load_test(project, query.get("id", ""))
            return told.state(test, language, int(since) if since.isdecimal() else 0)

        return answer(await in_pool(work))

    async def export(self, request: Request) -> Response:
        """``?project=NAME&id=ID&what=grid&prompt=swaps&language=zh``: a PNG to save; ``what``: grid, swaps or heat."""
        query = request.query_params
        project = self._served.project(query.get("project", ""))
        what = query.get("what", "grid")
        if what == "grid" and query.get("prompt") == "swaps":
            what = "swaps"

        def work() -> tuple[str, bytes]:
            test = load_test(project, query.get("id", ""))
            return f"{test.id}-{what}.png", export_png(test, what, language_of(request))

        name, content = await in_pool(work)
        headers = {
            "content-disposition": f"attachment; filename*=UTF-8''{quote(name)}",
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
        }
        return Response(content, media_type="image/png", headers=headers)

    async def infotext(self, request: Request) -> Response:
        """The form as the host's own X/Y/Z plot has it, and what its fields then hold."""
        values = await read_json(request)
        return answer(await in_pool(infotext_of, self._served.desk, self._wanted(values)))

    async def command(self, request: Request) -> Response:
        """The form as a command line."""
        values = await read_json(request)
        return answer({"text": command_of(self._served.desk, self._wanted(values))})

    async def kept_command(self, request: Request) -> Response:
        """``?project=NAME&id=ID``: a test as a command line."""
        query = request.query_params
        project = self._served.project(query.get("project", ""))
        test = await in_pool(load_test, project, query.get("id", ""))
        return answer({"text": command_of(self._served.desk, test.request)})

    async def _go_on(self, request: Request, *, draws_all: bool) -> Response:
        values = await read_json(request)
        project, id = self._project(values), field(values, "id", str)
        self._served.board.check_free()

        def look() -> KeptTest:
            test = load_test(project, id)
            check_resumable(self._served.desk, test)
            return test

        test = await in_pool(look)
        self._start(project, id, test.request.name, draws_all=draws_all)
        return answer({"id": id})

    def _start(self, project: Project, id: str, name: str, *, draws_all: bool = False) -> None:
        desk = self._served.desk

        def work(emit: Emit, commands: CommandBox) -> str:
            return run_test(desk, project, id, emit, commands, draws_all=draws_all)

        about = {"project": project.root.name, "name": name, "test": id}
        self._served.board.start(Said(_TITLE, {"name": name}), work, about)

    def _project(self, values: dict[str, Any]) -> Project:
        return self._served.project(field(values, "project", str))

    def _wanted(self, values: dict[str, Any]) -> TestRequest:
        read = read_form(self._project(values).root, values)
        if read.request is None:
            raise RefusedError(400, "{problem}", problem=read.problems[0].sentence)
        return read.request
