"""Routes of the Photos step for what takes longer: processing and the doctor. Work goes to the board of chores."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.web.answers import RefusedError
from lora_forge.web.serving import Served


class PhotoChores:
    """What goes to the board, and what came of it."""

    def __init__(self, served: Served) -> None:
        self._served = served

    async def prepared(self, request: Request) -> Response:
        raise RefusedError(501, "Not yet.")

    async def process(self, request: Request) -> Response:
        raise RefusedError(501, "Not yet.")

    async def checkup(self, request: Request) -> Response:
        raise RefusedError(501, "Not yet.")

    async def last_checkup(self, request: Request) -> Response:
        raise RefusedError(501, "Not yet.")

    async def remedy(self, request: Request) -> Response:
        raise RefusedError(501, "Not yet.")
