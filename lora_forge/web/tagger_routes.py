"""Routes of automatic tags and of downloads: what there is, tagging as a chore, previews, fetching models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.dataset.taggers import MODES, PickOptions, RunOptions
from lora_forge.downloads import Item, LicenceError, Shelf, item_of
from lora_forge.i18n import Said, say, told, word
from lora_forge.web.answers import RefusedError, answer, field, language_of, read_json
from lora_forge.web.serving import Routes, Served, in_pool
from lora_forge.work.tagging import Offer, room_of, shelf_in, tag, would_be

_TAGGING, _DOWNLOADING = word("Tagging"), word("Download of {item}")


def tagger_routes(served: Served, *, allows_paths: bool = True) -> Routes:
    """GET and POST handlers by name. ``allows_paths``: whether a page may name a file of this machine."""
    own = _TaggerRoutes(served, allows_paths)
    gets = {"taggers": own.taggers, "downloads": own.downloads}
    posts = {
        "taggers/run": own.run,
        "taggers/preview": own.preview,
        "downloads/start": own.start,
        "downloads/use": own.use,
        "downloads/mirror": own.mirror,
    }
    return Routes(gets, posts)


class _TaggerRoutes:
    """Handlers on what ``served`` has."""

    def __init__(self, served: Served, allows_paths: bool) -> None:
        self._served, self._allows_paths = served, allows_paths

    async def taggers(self, request: Request) -> Response:
        """``?language=zh``: everything on offer, there or not."""
        language = language_of(request)
        offers = await in_pool(lambda: room_of(self._served.desk).offers())
        return answer({"taggers": [_offer(offer, language) for offer in offers], "modes": list(MODES)})

    async def run(self, request: Request) -> Response:
        """``{"project", "tagger", "keys", ...options}``: a chore; captions are written as one step at its end.

        ``"only_scores": true`` makes what the sliders of a preview need, and changes no caption.
        """
        values = await read_json(request)
        project = await in_pool(self._served.project, field(values, "project", str))
        id, keys, options = field(values, "tagger", str), _keys(values), run_options(values)
        room, is_fast = await in_pool(room_of, self._served.desk), field(values, "fast", bool, False)
        only_scores = field(values, "only_scores", bool, False)
        await in_pool(room.check, id)
        self._served.chores.start(
            Said(_TAGGING),
            lambda emit, commands: tag(
                project, room, id, options, keys, emit, commands, is_fast=is_fast, only_scores=only_scores
            ),
        )
        return answer(self._served.chores.snapshot())

    async def preview(self, request: Request) -> Response:
        """The same, from remembered scores: ``{"tags": {key: [...]}, "missing": [keys never scored]}``."""
        values = await read_json(request)
        project = await in_pool(self._served.project, field(values, "project", str))
        id, keys, options = field(values, "tagger", str), _keys(values), run_options(values)
        found = await in_pool(lambda: would_be(project, room_of(self._served.desk), id, options, keys))
        return answer({"tags": dict(found.tags), "missing": list(found.missing)})

    async def downloads(self, request: Request) -> Response:
        """``?language=zh``: every item with its state, and the mirrors."""
        language, shelf = language_of(request), self._shelf()
        lines = await in_pool(lambda: [_line(shelf, item, language) for item in shelf.items])
        mirrors = shelf.mirrors.all()
        return answer({"downloads": lines, "mirror": mirrors["hub"], "mirrors": mirrors})

    async def start(self, request: Request) -> Response:
        """``{"id", "accept_licence"}``: a chore. Terms that were not accepted are answered at once, with the text."""
        values = await read_json(request)
        shelf = self._shelf()
        item, accepts = item_of(field(values, "id", str), shelf.items), field(values, "accept_licence", bool, False)
        if item.terms and not accepts:
            raise LicenceError("{terms}", "Accept the terms, then press Download again.", terms=Said(item.terms))
        self._served.chores.start(
            Said(_DOWNLOADING, {"item": item.id}),
            lambda emit, commands: shelf.download(item.id, emit, commands, accepts_terms=accepts),
        )
        return answer(self._served.chores.snapshot())

    async def use(self, request: Request) -> Response:
        """``{"id", "path"}``: copy the item's files from a file, folder or zip of this machine."""
        values = await read_json(request)
        if not self._allows_paths:
            raise RefusedError(
                403, "Files of this machine can't be named from this page.", "Copy them into the folder of models."
            )
        shelf, path = self._shelf(), Path(field(values, "path", str).strip().strip('"')).expanduser()
        item = item_of(field(values, "id", str), shelf.items)
        await in_pool(shelf.take, item.id, path)
        return answer(_line(shelf, item, language_of(request)))

    async def mirror(self, request: Request) -> Response:
        """``{"url", "which": "hub"|"releases"}``; an empty address is the original."""
        values = await read_json(request)
        mirrors = self._shelf().mirrors
        await in_pool(mirrors.set, field(values, "url", str), field(values, "which", str, "hub"))
        return answer({"mirror": mirrors.all()["hub"], "mirrors": mirrors.all()})

    def _shelf(self) -> Shelf:
        return shelf_in(self._served.desk.data_root())


def run_options(values: Mapping[str, Any]) -> RunOptions:
    """The options of a request; what it leaves out is as in :class:`PickOptions`.

    Raises:
        RefusedError: one is of the wrong kind or out of range.
        TaggerError: there is no such mode.
    """
    picks = PickOptions(
        general=_share(values, "general", PickOptions.general),
        character=_share(values, "character", PickOptions.character),
        use_mcut=field(values, "mcut", bool, False),
        exclude=_texts(values, "exclude"),
        add=_texts(values, "add"),
        replace={str(tag): str(other) for tag, other in field(values, "replace", dict, {}).items()},
        underscores=field(values, "underscores", bool, False),
        character_tags=field(values, "character_tags", bool, True),
        drop_overlaps=field(values, "drop_overlaps", bool, True),
        limit=max(field(values, "limit", int, 0), 0),
        categories=_texts(values, "categories"),
    )
    return RunOptions(picks, field(values, "mode", str, "replace"))  # type: ignore[arg-type]


def _share(values: Mapping[str, Any], name: str, default: float) -> float:
    value = values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise RefusedError(400, "{name} must be a number from 0 to 1.", name=name)
    return float(value)


def _texts(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = field(values, name, list, [])
    if not all(isinstance(one, str) for one in found):
        raise RefusedError(400, "{name} must be {kind}.", name=name, kind="a list")
    return tuple(found)


def _keys(values: Mapping[str, Any]) -> tuple[str, ...] | None:
    return None if values.get("keys") is None else _texts(values, "keys")


def _offer(offer: Offer, language: str) -> dict[str, Any]:
    return {
        "id": offer.id,
        "name": offer.name.text(language),
        "kind": offer.kind,
        "state": offer.state,
        "sentence": offer.sentence.text(language),
        "size_bytes": offer.size_bytes,
        "licence": offer.licence,
        "source": told(offer.source, language),
        "thresholds": dataclasses.asdict(offer.thresholds),
    }


def _line(shelf: Shelf, item: Item, language: str) -> dict[str, Any]:
    standing = shelf.standing(item)
    return {
        "id": item.id,
        "name": say(item.name, language),
        "kind": item.kind,
        "size_bytes": item.size_bytes,
        "source": item.source,
        "licence": say(item.licence, language),
        "licence_url": item.licence_url,
        "terms": say(item.terms, language),
        "needs_licence": bool(item.terms),
        "has_checksum": all(file.sha256 for file in item.files),
        "state": standing.state,
        "done_bytes": standing.done_bytes,
        "bytes_per_s": round(standing.bytes_per_s),
        "sentence": standing.sentence.text(language),
    }
