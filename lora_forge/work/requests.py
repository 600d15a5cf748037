"""A request for a run as plain values: kept in the queue and beside the run, sent by a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_forge.work.planning import PROOFS, RunRequest
from lora_forge.work.projects import project_dir

_ASIDE = ("repeats", "epochs", "trigger_word")  # what the oldest form of a request has beside its settings


def with_values(request: RunRequest) -> RunRequest:
    """The same request with repeats, epochs and trigger word among its settings, where a page looks for them."""
    aside = {name: getattr(request, name) for name in _ASIDE[:2] if getattr(request, name) is not None}
    return replace(request, repeats=None, epochs=None, settings={**aside, **request.settings})


def asked(request: RunRequest) -> dict[str, Any]:
    """``request`` as plain JSON values, without the place of its project."""
    one = with_values(request)
    plain = {"kind": one.kind, "values": dict(one.settings), "trigger_word": one.trigger_word}
    return {**plain, "prove": one.prove, "folder": one.folder, "resume": one.resume}


def noted(request: RunRequest, before: Mapping[str, Any]) -> dict[str, Any]:
    """:func:`asked` for a run's own note. A run that goes on keeps what it was begun with (``before``), and what is
    said now comes to that; of one that an older program or the command line began nothing is known to note."""
    plain = asked(request)
    if not request.resume:
        return plain
    values = before.get("values")
    if not isinstance(values, dict) or not before.get("kind"):
        return {key: value for key, value in plain.items() if key not in ("kind", "values")}
    kept = {key: before[key] for key in ("kind", "trigger_word") if key in before}
    return {**plain, **kept, "values": {**values, **plain["values"]}}


def request_of(data_root: Path, project: str, name: str, plain: Mapping[str, Any]) -> RunRequest:
    """The request that :func:`asked` was given; what is missing or damaged is as by default.

    Raises:
        DatasetError: the project's name can't be one.
    """
    values, prove = plain.get("values"), plain.get("prove")
    return RunRequest(
        project_dir(data_root, project),
        name,
        str(plain.get("kind") or "person"),
        settings=dict(values) if isinstance(values, dict) else {},
        resume=plain.get("resume") is True,
        prove=next((proof for proof in PROOFS if proof == prove), "off"),
        folder=str(plain.get("folder") or ""),
        trigger_word=str(plain.get("trigger_word") or ""),
    )
