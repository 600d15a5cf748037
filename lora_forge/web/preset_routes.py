"""Routes of the Train form: its fields and defaults, what it says now, and presets of a person's own."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.dataset.project import Project
from lora_forge.presets.brought import read_settings
from lora_forge.presets.user import Presets, UserPreset
from lora_forge.web.answers import answer, field, language_of, read_json
from lora_forge.web.serving import Routes, Served, in_pool
from lora_forge.work.drafts import Draft, save_draft
from lora_forge.work.form import form
from lora_forge.work.warming import warm


def preset_routes(served: Served) -> Routes:
    """GET and POST handlers by name."""
    own = _PresetRoutes(served)
    return Routes(
        {"train/form": own.form, "presets/one": own.one, "presets/file": own.file},
        {
            "train/draft": own.draft,
            "presets/save": own.save,
            "presets/remove": own.remove,
            "presets/import": own.bring,
        },
    )


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
            told = form(self._served.desk, project, query.get("kind", ""), language_of(request), taken)
            warm()
            return told

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

    async def one(self, request: Request) -> Response:
        """``?name=NAME``: a preset of the person's own."""
        preset = await in_pool(lambda: self._presets().one(request.query_params.get("name", "")))
        return answer({"name": preset.name, "kind": preset.kind, "values": dict(preset.values)})

    async def file(self, request: Request) -> Response:
        """``?name=NAME``: the preset as a file to share."""
        preset = await in_pool(lambda: self._presets().one(request.query_params.get("name", "")))
        text = json.dumps(preset.plain(), indent=2, ensure_ascii=False) + "\n"
        headers = {
            "cache-control": "no-store",
            "content-disposition": f"attachment; filename*=UTF-8''{quote(preset.name, safe='')}.json",
            "x-content-type-options": "nosniff",
        }
        return Response(text, media_type="application/json", headers=headers)

    async def save(self, request: Request) -> Response:
        """``{"name", "kind", "values"}``: kept under that name; one that had it goes to the trash."""
        values = await read_json(request)
        preset = UserPreset(field(values, "name", str), field(values, "kind", str), field(values, "values", dict))
        await in_pool(lambda: self._presets().save(preset))
        return answer({"name": preset.name, "kind": preset.kind, "changed": len(preset.values)})

    async def remove(self, request: Request) -> Response:
        """``{"name"}``: to the trash."""
        values = await read_json(request)
        name = field(values, "name", str)
        await in_pool(lambda: self._presets().remove(name))
        return answer({"name": name})

    async def bring(self, request: Request) -> Response:
        """``{"text", "file_name"}``: settings from a file, ours or another trainer's; nothing is kept."""
        values = await read_json(request)
        text, file_name = field(values, "text", str), field(values, "file_name", str, "")
        found = await in_pool(lambda: read_settings(text, file_name))
        language = language_of(request)
        left = [{"key": one.key, "value": one.value, "why": one.why.text(language)} for one in found.left]
        return answer(
            {
                "values": dict(found.values),
                "kind": found.kind,
                "name": found.name,
                "taken": list(found.taken),
                "left": left,
            }
        )

    def _presets(self) -> Presets:
        return Presets(self._served.desk.data_root())

    def _project(self, values: dict[str, Any]) -> Project:
        return self._served.project(field(values, "project", str))
