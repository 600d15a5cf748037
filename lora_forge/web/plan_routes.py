"""Routes of the Train step before a run: the live plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.web.answers import answer, field, language_of, read_json
from lora_forge.web.serving import Routes, Served, in_pool
from lora_forge.work.live_plan import LivePlan, Wish, live_plan
from lora_forge.work.projects import project_dir


def plan_routes(served: Served) -> Routes:
    """GET and POST handlers by name."""
    own = _PlanRoutes(served)
    return Routes({}, {"train/plan": own.plan})


class _PlanRoutes:
    def __init__(self, served: Served) -> None:
        self._served = served

    async def plan(self, request: Request) -> Response:
        """``{"project", "kind", "name", "trigger_word", "values"}``: what that comes to; nothing is written."""
        wish = self._wish(await read_json(request))
        found = await in_pool(live_plan, self._served.desk, wish)
        return answer(_plan_told(found, language_of(request)))

    def _wish(self, values: Mapping[str, Any]) -> Wish:
        return Wish(
            project_dir(self._served.desk.data_root(), field(values, "project", str)),
            field(values, "kind", str, "person"),
            field(values, "name", str, ""),
            field(values, "trigger_word", str, ""),
            field(values, "values", dict, {}),
        )


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
