"""What every route works with: the host, the two boards, and threads of ours for what takes longer."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.dataset.project import Project
from lora_forge.jobs import JobBoard
from lora_forge.ports import Desk
from lora_forge.work import project_dir
from lora_forge.work.queue import RunQueue

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
# Not starlette's own threads: forty requests that wait for the host's lock take all of those.
POOL = ThreadPoolExecutor(max_workers=4, thread_name_prefix="lora-forge-web")


@dataclass(frozen=True)
class Served:
    """``board`` holds the run, ``chores`` what goes on beside it: one job each at a time. ``queue``: runs that wait."""

    desk: Desk
    board: JobBoard
    chores: JobBoard
    queue: RunQueue

    def project(self, name: str) -> Project:
        """The project ``name`` in the host's data root.

        Raises:
            DatasetError: the name can't be one, or there is no such project.
        """
        return Project.load(project_dir(self.desk.data_root(), name))


@dataclass(frozen=True)
class Routes:
    """Handlers by their name under /lora_forge/."""

    gets: Mapping[str, Handler]
    posts: Mapping[str, Handler]


async def in_pool(function: Callable[..., T], *values: object) -> T:
    """``function(*values)`` on a thread of ours, so that the server's loop goes on meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(POOL, functools.partial(function, *values))
