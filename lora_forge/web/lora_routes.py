"""Routes of the tools on the host's LoRA files: the list, one file's facts, a lower rank, two as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.events import CommandBox, Emit
from lora_forge.i18n import Said, word
from lora_forge.lora_file.facts import read_facts
from lora_forge.web.answers import RefusedError, answer, field, language_of, read_json
from lora_forge.web.keep_routes import number_of
from lora_forge.web.serving import Routes, Served, in_pool
from lora_forge.work import lora_tools
from lora_forge.work.lora_facts import told
from lora_forge.work.lora_tools import Listed

_RESIZING, _MERGING = word("Lower rank of {file}"), word("Merge of {first} and {second}")


def lora_routes(served: Served) -> Routes:
    """GET and POST handlers by name."""
    own = _LoraRoutes(served)
    return Routes(
        {"loras/list": own.list, "loras/facts": own.facts},
        {"loras/resize": own.resize, "loras/merge": own.merge},
    )


class _LoraRoutes:
    def __init__(self, served: Served) -> None:
        self._served, self._desk = served, served.desk

    async def list(self, request: Request) -> Response:
        """Every LoRA in the host's folder."""
        rows = await in_pool(lora_tools.loras, self._desk)
        return answer({"files": [_row(row) for row in rows]})

    async def facts(self, request: Request) -> Response:
        """``?file=KEY&language=zh``: rows to read, words with counts, settings to reuse and what was left."""
        key, language = request.query_params.get("file", ""), language_of(request)
        return answer(await in_pool(lambda: told(read_facts(lora_tools.find(self._desk, key)), language)))

    async def resize(self, request: Request) -> Response:
        """``{"file", "rank" or "keep_share", "new_name"}``: a chore; its last sentence states the error."""
        values = await read_json(request)
        path = await in_pool(lora_tools.find, self._desk, field(values, "file", str))
        rank, share = _rank(values), number_of(values.get("keep_share"))
        if (rank is None) == (share is None):
            raise RefusedError(400, "Choose a rank, or how much is to be kept.")
        ending = f"r{rank}" if rank is not None else f"{round(100 * (share or 0))}pct"
        name = await self._name(values, lambda: lora_tools.proposed_name(self._desk, path, ending))
        return self._start(
            Said(_RESIZING, {"file": path.name}),
            lambda emit, commands: lora_tools.resize(self._desk, path, name, rank, share, emit, commands),
            name,
        )

    async def merge(self, request: Request) -> Response:
        """``{"first", "first_strength", "second", "second_strength", "rank", "new_name"}``: a chore; families that do
        not fit are refused at once."""
        from lora_forge.lora_file.merging import check_alike  # brings torch

        values = await read_json(request)
        paths = [await in_pool(lora_tools.find, self._desk, field(values, key, str)) for key in ("first", "second")]
        strengths = [_strength(values, key) for key in ("first_strength", "second_strength")]
        await in_pool(lambda: check_alike(*(read_facts(path) for path in paths)))
        rank, (first, second) = _rank(values), zip(paths, strengths, strict=True)
        name = await self._name(values, lambda: lora_tools.proposed_name(self._desk, paths[0], f"and_{paths[1].stem}"))
        return self._start(
            Said(_MERGING, {"first": paths[0].name, "second": paths[1].name}),
            lambda emit, commands: lora_tools.merge(self._desk, first, second, rank, name, emit, commands),
            name,
        )

    async def _name(self, values: Mapping[str, Any], propose: Callable[[], str]) -> str:
        name = str(field(values, "new_name", str, "")).strip() or await in_pool(propose)
        await in_pool(lora_tools.check_new_name, self._desk, name)
        return name

    def _start(self, title: Said, work: Callable[[Emit, CommandBox], object], name: str) -> Response:
        def run(emit: Emit, commands: CommandBox) -> str:
            try:
                work(emit, commands)
            except lora_tools.StoppedError:
                return "stopped"
            return "done"

        self._served.chores.start(title, run)
        return answer({**self._served.chores.snapshot(), "file": f"{name}.safetensors"})


def _rank(values: Mapping[str, Any]) -> int | None:
    rank: int | None = field(values, "rank", int, None)
    if rank is not None and not 1 <= rank <= 4096:
        raise RefusedError(400, "A rank of {rank} can't be.", "Choose 1 or more.", rank=rank)
    return rank


def _strength(values: Mapping[str, Any], name: str) -> float:
    strength = number_of(values.get(name, 1.0))
    if strength is None:
        raise RefusedError(400, "{name} must be a number.", name=name)
    return strength


def _row(row: Listed) -> dict[str, Any]:
    facts = row.facts
    return {
        "file": row.key,
        "name": row.path.stem,
        "size_bytes": row.size_bytes,
        "kind": facts.kind if facts else "",
        "family": facts.family_name if facts else "",
        "rank": facts.ranks[0][0] if facts and facts.ranks else None,
        "trigger_word": facts.trigger_word if facts else "",
        "is_ours": bool(facts and facts.is_ours),
        "is_readable": facts is not None,
    }
