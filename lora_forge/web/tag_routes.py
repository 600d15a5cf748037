"""Routes of the Tags step: reading, editing, undo, finding, suggesting, files of other programs, the trait assistant.

An answer to an edit holds only what changed. ``base`` is the revision a page has seen, ``client`` a random word of its
own: 409 with ``conflict`` says that somebody else was at the same captions, and nothing was written.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.dataset.tags import Change, ConflictError, PhotoTags, QueryError, TagBook, TagError, book_of
from lora_forge.dataset.tags.formats import FORMATS, export, take_in
from lora_forge.dataset.tags.query import find
from lora_forge.dataset.tags.suggest import suggest
from lora_forge.dataset.tags.tokens import LIMIT
from lora_forge.dataset.trait_checks import contradictions
from lora_forge.dataset.trait_rules import PART_FROM, TITLES
from lora_forge.dataset.traits import Traits, survey
from lora_forge.dataset.traits import answer as answer_traits
from lora_forge.dataset.words import Words
from lora_forge.web.answers import RefusedError, field, language_of, read_json
from lora_forge.web.serving import Handler, Routes, Served, in_pool
from lora_forge.web.tag_answers import (
    change_of,
    conflict_of,
    label_of,
    photo_of,
    plain_answer,
    query_refusal,
    survey_of,
)

_MOST_IMPORT_BYTES = 64 << 20
_MOST_SUGGESTIONS = 200
_ORDER = {category: place for place, category in enumerate(TITLES)}


def tag_routes(served: Served) -> Routes:
    """GET and POST handlers by name."""
    own = _TagRoutes(served)
    gets = {
        "tags": own.tags,
        "tags/changes": own.changes,
        "tags/export": own.export,
        "tags/find": own.find,
        "tags/suggest": own.suggest,
        "traits": own.traits,
    }
    posts = {
        "tags/edit": own.edit,
        "tags/import": own.take_in,
        "tags/redo": own.redo,
        "tags/undo": own.undo,
        "tags/word": own.word,
        "traits": own.answer_traits,
    }
    return Routes({name: _told(handler) for name, handler in gets.items()},
                  {name: _told(handler) for name, handler in posts.items()})  # fmt: skip


def _told(handler: Handler) -> Handler:
    """Conflicts and queries that can't be understood have more to say than a refusal."""

    async def endpoint(request: Request) -> Response:
        try:
            return await handler(request)
        except ConflictError as problem:
            return conflict_of(problem, language_of(request))
        except QueryError as problem:
            return query_refusal(problem, language_of(request))

    return endpoint


class _TagRoutes:
    def __init__(self, served: Served) -> None:
        self._served = served
        self._words: dict[Path, Words] = {}

    async def tags(self, request: Request) -> Response:
        """Everything the page shows: photos with tags and tokens, and what the tags are called."""
        return plain_answer(await in_pool(self._all, request.query_params.get("project", ""), language_of(request)))

    async def changes(self, request: Request) -> Response:
        """``since``: what others have changed after that revision."""
        since = request.query_params.get("since", "0")
        number = int(since) if since.isdecimal() and len(since) < 18 else 0
        book = await in_pool(self._book, request.query_params.get("project", ""))
        return plain_answer(change_of(await in_pool(book.changes, number), language_of(request)))

    async def edit(self, request: Request) -> Response:
        """``operation`` on ``keys`` (null: all photos)."""
        values = await read_json(request)
        keys = _keys(values)
        operation = field(values, "operation", dict)
        words = await in_pool(self._dictionary)
        return await self._change(
            request, values,
            lambda book, base, client: book.apply(operation, keys, base, client, functools.partial(_rank, words)),
        )  # fmt: skip

    async def undo(self, request: Request) -> Response:
        """Take back the last edit; ``partly`` leaves out captions that were changed since."""
        return await self._step(request, TagBook.undo)

    async def redo(self, request: Request) -> Response:
        """Do again what was taken back last; as undo."""
        return await self._step(request, TagBook.redo)

    async def _step(self, request: Request, step: Callable[..., Change]) -> Response:
        values = await read_json(request)
        partly = field(values, "partly", bool, False)
        return await self._change(
            request, values, lambda book, base, client: step(book, base, client, is_partly=partly)
        )

    async def find(self, request: Request) -> Response:
        """``query``: keys of the photos it asks for."""
        query = request.query_params

        def work() -> list[str]:
            return find(self._book(query.get("project", "")), query.get("query", "")[:2000], self._dictionary())

        return plain_answer({"keys": await in_pool(work)})

    async def suggest(self, request: Request) -> Response:
        """``text``: tags that go on like it in either language, the set's own first."""
        query = request.query_params
        limit = query.get("limit", "20")
        most = min(int(limit), _MOST_SUGGESTIONS) if limit.isdecimal() and len(limit) < 6 else 20

        def work() -> list[dict[str, Any]]:
            found = suggest(self._book(query.get("project", "")), self._dictionary(), query.get("text", "")[:200], most)
            return [{"tag": one.tag, "zh": one.zh, "category": one.category, "count": one.count} for one in found]

        return plain_answer({"suggestions": await in_pool(work)})

    async def word(self, request: Request) -> Response:
        """``{"tag", "zh"}``: the user's own Chinese for a tag; empty takes it back."""
        values = await read_json(request)
        tag, zh = field(values, "tag", str), field(values, "zh", str)
        words = await in_pool(self._dictionary)
        await in_pool(words.add, tag, zh)
        return plain_answer({"tag": tag, "zh": words.zh(tag), "category": str(words.category(tag))})

    async def export(self, request: Request) -> Response:
        """``format``: all captions as one file to be kept."""
        name, form = request.query_params.get("project", ""), request.query_params.get("format", "")
        book = await in_pool(self._book, name)
        content = await in_pool(export, book, form)
        headers = {
            "cache-control": "no-store",
            "content-disposition": f'attachment; filename="captions{FORMATS[form]}"',
            "x-content-type-options": "nosniff",
        }
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def take_in(self, request: Request) -> Response:
        """A file of captions as the body (application/octet-stream, ``?project=``), or ``{"project", "text"}``."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/octet-stream":
            query = request.query_params
            base = query.get("base", "")
            values: dict[str, Any] = {"project": query.get("project", ""), "client": query.get("client", "")}
            if base.isdecimal() and len(base) < 18:
                values["base"] = int(base)
            data = await _body(request)
        else:
            values = await read_json(request)
            data = field(values, "text", str).encode("utf-8", errors="replace")
        strangers: list[str] = []

        def work(book: TagBook, base: int | None, client: str) -> Change:
            change, unknown = take_in(book, data, base, client)
            strangers.extend(unknown)
            return change

        return await self._change(request, values, work, lambda: {"strangers": strangers})

    async def traits(self, request: Request) -> Response:
        """``kind``: the traits in groups, what is proposed for each, and what does not fit together."""
        query, language = request.query_params, language_of(request)
        kind = _kind(query.get("kind", "person"))
        return plain_answer(await in_pool(self._survey, query.get("project", ""), kind, language))

    async def answer_traits(self, request: Request) -> Response:
        """``answers`` by tag and tags to ``complete``: one step of undo, and the traits as they are now."""
        values = await read_json(request)
        answers, complete = field(values, "answers", dict, {}), field(values, "complete", list, [])
        kind = _kind(field(values, "kind", str, "person"))
        if not all(isinstance(one, str) for one in (*answers.values(), *complete)):
            raise RefusedError(400, "{name} must be {kind}.", name="answers", kind="text")
        project, language = field(values, "project", str), language_of(request)
        return await self._change(
            request, values,
            lambda book, base, client: answer_traits(book, answers, complete, kind, base, client),
            lambda: {"traits": self._survey(project, kind, language)},
        )  # fmt: skip

    async def _change(
        self,
        request: Request,
        values: Mapping[str, Any],
        work: Callable[[TagBook, int | None, str], Change],
        more: Callable[[], Mapping[str, Any]] = dict,
    ) -> Response:
        name, base = field(values, "project", str), field(values, "base", int, None)
        client, language = field(values, "client", str, "")[:100], language_of(request)

        def edit() -> Any:
            return {**change_of(work(self._book(name), base, client), language), **more()}

        return plain_answer(await in_pool(edit))

    def _book(self, name: str) -> TagBook:
        return book_of(self._served.project(name))

    def _dictionary(self) -> Words:
        own = self._served.desk.data_root() / "words.tsv"
        if own not in self._words:
            self._words[own] = Words.load(own)
        return self._words[own]

    def _all(self, name: str, language: str) -> dict[str, Any]:
        book, words = self._book(name), self._dictionary()
        change = book.changes(0)  # all of it, with the revision it belongs to
        captions = dict(sorted(change.changed.items()))
        return {
            "revision": change.revision,
            "trigger_word": book.trigger_word,
            "limit": LIMIT,
            "photos": [{"key": key, **photo_of(photo)} for key, photo in captions.items()],
            "words": _words_of(captions, words),
            "undo": label_of(change.undo, language),
            "redo": label_of(change.redo, language),
            "problems": [{"key": key, "what": label_of(what, language)} for key, what in book.problems()],
        }

    def _survey(self, name: str, kind: str, language: str) -> dict[str, Any]:
        project, words = self._served.project(name), self._dictionary()
        seen = survey(project, kind, words)
        found = contradictions(project, kind, seen)
        return survey_of(seen, found, Traits.load(project), TITLES, words, language)


def _words_of(captions: Mapping[str, PhotoTags], words: Words) -> dict[str, dict[str, str]]:
    tags = Counter(tag for photo in captions.values() if photo.text is None for tag in photo.tags)
    return {tag: {"zh": words.zh(tag), "category": str(words.category(tag))} for tag in tags}


def _rank(words: Words, tag: str) -> tuple[int, int]:
    word = words.word(tag)
    return _ORDER.get(str(words.category(tag)), len(_ORDER)), word.rank if word else 1 << 30


def _keys(values: Mapping[str, Any]) -> list[str] | None:
    keys = field(values, "keys", list, None)
    if keys is not None and not all(isinstance(key, str) for key in keys):
        raise TagError("{name} must be a list of texts.", name="keys")
    return keys  # type: ignore[no-any-return]


def _kind(kind: str) -> str:
    return kind if kind in PART_FROM else "person"


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_IMPORT_BYTES:
            raise RefusedError(413, "That is too much for one request.")
    return bytes(body)
