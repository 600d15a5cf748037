"""Routes of the next round: rounds side by side, what to do next, and doing it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.errors import ConfigError
from lora_forge.web.answers import answer, field, language_of, read_json
from lora_forge.web.serving import Routes, Served, in_pool
from lora_forge.work.planning import RunRequest
from lora_forge.work.queue import about_of
from lora_forge.work.round_rows import told
from lora_forge.work.rounds import find_test, request_for


def round_routes(served: Served) -> Routes:
    """GET and POST handlers by name."""
    own = _RoundRoutes(served)
    return Routes({"rounds": own.rounds}, {"rounds/apply": own.apply})


class _RoundRoutes:
    def __init__(self, served: Served) -> None:
        self._served = served

    async def rounds(self, request: Request) -> Response:
        """``?project=NAME&test=ID&language=zh`` (``test`` left out: the newest): the rounds, and the advice."""
        query = request.query_params
        project = self._served.project(query.get("project", ""))
        return answer(await in_pool(told, project, query.get("test", ""), language_of(request)))

    async def apply(self, request: Request) -> Response:
        """``{"project", "choice", "test"}``: the run that the advice means, begun, or waiting where one is going."""
        values = await read_json(request)
        name, choice = field(values, "project", str), field(values, "choice", str)
        id = field(values, "test", str, "")

        def submit() -> tuple[RunRequest, str, str]:
            wanted = self._wanted(name, id, choice)
            return (wanted, *self._served.queue.submit(wanted, may_wait=True))

        wanted, state, number = await in_pool(submit)
        return answer({"state": state, "id": number, "title": wanted.name, **about_of(wanted)})

    def _wanted(self, name: str, id: str, choice: str) -> RunRequest:
        project = self._served.project(name)
        test = find_test(project, id)
        if test is None:
            raise ConfigError("No round of this project was tested yet.", "Start a test first.")
        taken = [entry.request.name for entry in self._served.queue.entries()]
        return request_for(self._served.desk, project, test, choice, taken)
