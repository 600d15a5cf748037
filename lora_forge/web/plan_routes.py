"""Routes of the Train step before a run: the live plan, and test firing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.dataset.project import Project
from lora_forge.i18n import Said, word
from lora_forge.web.answers import RefusedError, answer, field, language_of, read_json
from lora_forge.web.serving import Routes, Served, in_pool
from lora_forge.work import trial
from lora_forge.work.drafts import load_draft
from lora_forge.work.live_plan import LivePlan, Wish, live_plan
from lora_forge.work.projects import project_dir

_TITLE = word("Test firing")


def plan_routes(served: Served) -> Routes:
    """GET and POST handlers by name."""
    own = _PlanRoutes(served)
    return Routes({"train/trial": own.last_trial}, {"train/plan": own.plan, "train/trial": own.trial})


class _PlanRoutes:
    def __init__(self, served: Served) -> None:
        self._served = served

    async def plan(self, request: Request) -> Response:
        """``{"project", "kind", "name", "trigger_word", "values"}``: what that comes to; nothing is written."""
        wish = self._wish(await read_json(request))
        found = await in_pool(live_plan, self._served.desk, wish)
        return answer(_plan_told(found, language_of(request)))

    async def trial(self, request: Request) -> Response:
        """The same: starts the test firing on the run's board; what can't be tried is refused at once."""
        wish = self._wish(await read_json(request))
        desk, board = self._served.desk, self._served.board
        board.check_free()
        await in_pool(lambda: trial.check(desk, wish))
        about = {"project": wish.project.name, "name": wish.name}
        board.start(Said(_TITLE), lambda emit, commands: trial.fire(desk, wish, emit, commands), about)
        return answer(board.snapshot(language=language_of(request)))

    async def last_trial(self, request: Request) -> Response:
        """``?project=NAME&language=zh``: what the last one came to, or null. It is stale where the form says something
        else by now: the draft that was kept, or ``&kind=person&values={...}``."""
        query = request.query_params

        def work() -> dict[str, Any] | None:
            project = self._served.project(query.get("project", ""))
            return trial.told(self._served.desk, project, language_of(request), _now(project, query))

        return answer(await in_pool(work))

    def _wish(self, values: Mapping[str, Any]) -> Wish:
        return Wish(
            project_dir(self._served.desk.data_root(), field(values, "project", str)),
            field(values, "kind", str, "person"),
            field(values, "name", str, ""),
            field(values, "trigger_word", str, ""),
            field(values, "values", dict, {}),
        )


def _now(project: Project, query: Mapping[str, str]) -> Wish | None:
    """What the form says now."""
    if "values" in query:
        try:
            values = json.loads(query["values"])
        except ValueError as cause:
            raise RefusedError(400, "That is no JSON: {cause}.", cause=cause) from cause
        known = values if isinstance(values, dict) else {}
        return Wish(project.root, query.get("kind", "person"), "", "", known)
    draft = load_draft(project)
    return Wish(project.root, draft.kind, draft.name, draft.trigger_word, draft.values) if draft else None


def _plan_told(plan: LivePlan, language: str) -> dict[str, Any]:
    counted, memory, disk = plan.count, plan.memory, plan.disk
    return {
        "problems": [{"key": one.key, "sentence": one.sentence.text(language)} for one in plan.problems],
        "photos": counted.photos if counted else 0,
        "repeats": plan.config.repeats if plan.config else None,
        "steps_per_epoch": counted.steps_per_epoch if counted else 0,
        "total_steps": counted.total_steps if counted else 0,
        "pictures_per_epoch": counted.pictures if counted else 0,
        "seconds": None if plan.seconds is None else round(plan.seconds),
        "seconds_source": plan.seconds_source,
        "memory": {"sentence": memory.sentence.text(language) if memory else "", "fits": memory is None or memory.fits},
        "disk": {
            "sentence": disk.sentence.text(language) if disk else "",
            "fits": disk is None or disk.fits,
            "bytes": disk.bytes if disk else 0,
        },
        "sentence": plan.sentence.text(language) if plan.sentence else "",
    }
