"""The book's changes and the assistant's survey as the page reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from lora_forge.dataset.tags import Change, ConflictError, PhotoTags, QueryError
from lora_forge.dataset.tags.journal import Label
from lora_forge.dataset.trait_checks import Contradiction
from lora_forge.dataset.traits import Survey, Traits
from lora_forge.dataset.words import Words
from lora_forge.events import kept
from lora_forge.i18n import Said


def plain_answer(values: Any, status: int = 200) -> Response:
    """JSON that no cache keeps; file names that are no UTF-8 come as escapes."""
    try:
        body = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError:
        body = json.dumps(values, separators=(",", ":")).encode("ascii")
    return Response(body, status, media_type="application/json", headers={"cache-control": "no-store"})


def photo_of(photo: PhotoTags) -> dict[str, Any]:
    """``{"tags", "tokens"}``, and ``text`` where the caption is not plain tags."""
    found: dict[str, Any] = {"tags": photo.tags, "tokens": photo.tokens}
    return found if photo.text is None else {**found, "text": photo.text}


def label_of(label: Label, language: str) -> str:
    """What an edit is called; empty for none."""
    template, values = label
    return Said(template, {name: kept(value) for name, value in values.items()}).text(language) if template else ""


def change_of(change: Change, language: str) -> dict[str, Any]:
    """The answer to an edit, an undo, or a poll."""
    return {
        "revision": change.revision,
        "changed": {key: photo_of(photo) for key, photo in change.changed.items()},
        "gone": change.gone,
        "label": label_of(change.label, language),
        "undo": label_of(change.undo, language),
        "redo": label_of(change.redo, language),
        "left_out": [label_of(label, language) for label in change.left_out],
    }


def conflict_of(problem: ConflictError, language: str) -> Response:
    """409 with what the captions say now."""
    return plain_answer(
        {**change_of(problem.change, language), "error": error_of(problem, language), "conflict": True}, 409
    )


def query_refusal(problem: QueryError, language: str) -> Response:
    """400 with the place in the query."""
    return plain_answer({"error": error_of(problem, language), "at": problem.at}, 400)


def error_of(problem: ConflictError | QueryError, language: str) -> dict[str, str]:
    """Both sentences of an error."""
    return {"what": label_of((problem.what, problem.values), language),
            "remedy": label_of((problem.remedy, problem.values), language)}  # fmt: skip


def survey_of(
    seen: Survey, found: list[Contradiction], traits: Traits, titles: Mapping[str, str], words: Words, language: str
) -> dict[str, Any]:
    """The trait assistant's page."""
    groups = [
        {
            "category": category,
            "title": Said(titles.get(category, category)).text(language),
            "traits": [
                {
                    "tag": trait.tag,
                    "zh": words.zh(trait.tag),
                    "count": trait.count,
                    "share": round(trait.share, 4),
                    "proposal": trait.proposal,
                    "answer": trait.answer,
                    "why": trait.why.text(language),
                }
                for trait in group
            ],
        }
        for category, group in seen.groups
    ]
    return {
        "groups": groups,
        "contradictions": [_contradiction(one, language) for one in found],
        "sentence": seen.sentence.text(language),
        "examples": seen.examples,
        "example_notes": [note.text(language) for note in seen.notes],
        "changeable": traits.changeable,
        "kind": traits.kind,
        "photos": seen.photos,
    }


def _contradiction(one: Contradiction, language: str) -> dict[str, Any]:
    fixes = [
        {"id": fix.id, "label": fix.label.text(language), "operation": fix.operation, "keys": fix.keys,
         "answers": dict(fix.answers)}
        for fix in one.fixes
    ]  # fmt: skip
    return {"id": one.id, "sentence": one.sentence.text(language), "photos": one.photos, "fixes": fixes}
