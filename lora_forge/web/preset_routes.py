"""Routes of the Train form: its fields and defaults, what it says now, and presets of a person's own."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.dataset.project import Project
from lora_forge.web.answers import answer, field, language_of, read_json
from lora_forge.web.serving import Routes, Served, in_pool
from lora_forge.work.drafts import Draft, save_draft
from lora_forge.work.form import form


def preset_routes(served: Served) -> Routes:
    """GET and POST handlers by name."""
    own = _PresetRoutes(served)
    return Routes({"train/form": own.form}, {"train/draft": own.draft})


class _PresetRoutes:
    def __init__(self, served: Served) -> None:
        self._served = served

    async def form(self, request: Request) -> Response:
        """``?project=NAME&kind=person&language=zh``: everything the form shows; ``kind`` may be left out."""
        query = request.query_params

        def work() -> dict[str, Any]:
            project = self._served.project(query.get("project", ""))
            taken = [entry.request.name for entry in self._served.queue.entries()]
            if self._served.board.is_busy:
                taken.append(self._served.board.snapshot()["about"].get("name", ""))
            return form(self._served.desk, project, query.get("kind", ""), language_of(request), taken)

        return answer(await in_pool(work))

    async def draft(self, request: Request) -> Response:
        """``{"project", "kind", "name", "trigger_word", "values"}``: kept as it is."""
        values = await read_json(request)
        draft = Draft(
            field(values, "kind", str),
            field(values, "name", str, ""),
            field(values, "trigger_word", str, ""),
            field(values, "values", dict, {}),
        )
        await in_pool(lambda: save_draft(self._project(values), draft))
        return answer({"draft": draft.plain()})

    def _project(self, values: dict[str, Any]) -> Project:
        return self._served.project(field(values, "project", str))
