"""Routes of the view on a run: the lines of its chart and the pictures drawn along the way."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.dataset.naming import printable
from lora_forge.dataset.project import Project
from lora_forge.web.answers import RefusedError, answer
from lora_forge.web.places import confined
from lora_forge.web.serving import Routes, Served, in_pool
from lora_forge.work.series import series_of

POINTS = 1200


def series_routes(served: Served) -> Routes:
    """GET handlers by name."""
    own = _SeriesRoutes(served)
    return Routes({"runs/series": own.series, "runs/previews": own.previews}, {})


class _SeriesRoutes:
    """What a page draws of a run; both answer for a run that has not begun yet too, with nothing in it."""

    def __init__(self, served: Served) -> None:
        self._served = served

    async def series(self, request: Request) -> Response:
        """``?project=&name=&since=STEP&revision=&points=1200``: the chart's lines behind a step, or all of them; with
        ``from=STEP&to=STEP`` only those between."""
        query = request.query_params
        since, points = _number(query, "since", 0), _number(query, "points", POINTS)
        span = (_number(query, "from", 0), _number(query, "to", 0)) if "from" in query and "to" in query else None

        def work() -> dict[str, Any]:
            _, run_dir = self._run(query)
            return series_of(run_dir).series(since, points, query.get("revision", ""), span)

        return answer(await in_pool(work))

    async def previews(self, request: Request) -> Response:
        """``?project=&name=``: the columns with their prompts and the steps with their pictures, newest first; a
        picture is a path for GET picture."""
        query = request.query_params

        def work() -> dict[str, Any]:
            project, run_dir = self._run(query)
            folder = run_dir / "previews"
            there = {name for name in _names(folder) if printable(name) == name}
            return series_of(run_dir).previews().told(f"{project.root.name}/runs/{run_dir.name}/previews/", there)

        return answer(await in_pool(work))

    def _run(self, query: Mapping[str, str]) -> tuple[Project, Path]:
        """The project, and the folder of the run, there or not.

        Raises:
            DatasetError: there is no such project, or one of the names leads elsewhere.
            RefusedError: the run has no name.
        """
        project, name = self._served.project(query.get("project", "")), query.get("name", "")
        if not name or "/" in name:
            raise RefusedError(400, "{name} is missing.", name="name")
        return project, confined(project.runs_dir, name)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # nothing was drawn yet
        return []


def _number(query: Mapping[str, str], name: str, otherwise: int) -> int:
    text = query.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 16 else otherwise
