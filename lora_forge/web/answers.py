"""Requests read and answers written, without pydantic: the hosts have two of its dialects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lora_forge.errors import LoraForgeError
from lora_forge.events import kept
from lora_forge.i18n import Said, word
from lora_forge.jobs.failures import JobError

MOST_JSON_BYTES = 1 << 20
_KINDS = {
    str: Said(word("text")),
    int: Said(word("a whole number")),
    bool: Said(word("true or false")),
    dict: Said(word("an object")),
    list: Said(word("a list")),
}


class RefusedError(LoraForgeError):
    """A request that is answered with ``status`` and two sentences."""

    def __init__(self, status: int, what: str, remedy: str = "", **values: object) -> None:
        super().__init__(what, remedy, **values)
        self.status = status


def refusal(problem: LoraForgeError, language: str = "en") -> Response:
    """``{"error": {"what", "remedy"}}`` in ``language``; 409 for what can't be while a job is at work."""
    status = problem.status if isinstance(problem, RefusedError) else 409 if isinstance(problem, JobError) else 400
    values = {name: kept(value) for name, value in problem.values.items()}
    error = {"what": Said(problem.what, values).text(language), "remedy": Said(problem.remedy, values).text(language)}
    return answer({"error": error}, status)


def language_of(request: Request) -> str:
    """``language`` of the request's JSON, where that was read, or of its query; English where nothing is said."""
    said = getattr(request.state, "language", None) or request.query_params.get("language")
    return said if isinstance(said, str) else "en"


def answer(values: Any, status: int = 200) -> Response:
    """JSON that no cache keeps."""
    return JSONResponse(values, status_code=status, headers={"cache-control": "no-store"})


async def read_json(request: Request) -> dict[str, Any]:
    """The request's JSON object.

    Raises:
        RefusedError: it is none, or too large. What a plain HTML form can send is none: another site could send it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError(415, "This wants JSON.", "Send it with Content-Type: application/json.")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_JSON_BYTES:
            raise RefusedError(413, "That is too much for one request.")
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as cause:
        raise RefusedError(400, "That is no JSON: {cause}.", cause=cause) from cause
    if not isinstance(values, dict):
        raise RefusedError(400, "This wants a JSON object.")
    request.state.language = values.get("language")
    return values


def field(values: Mapping[str, Any], name: str, kind: type, default: Any = ...) -> Any:
    """``values[name]``, of ``kind``; ``default`` where it is missing, or null with a default of None.

    Raises:
        RefusedError: it is missing without a default, or of another kind.
    """
    value = values.get(name, default)
    if value is ...:
        raise RefusedError(400, "{name} is missing.", name=name)
    if value is None and default is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise RefusedError(400, "{name} must be {kind}.", name=name, kind=_KINDS[kind])
    return value
