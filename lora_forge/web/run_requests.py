"""What a page sends to begin a run, as a request that can be planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from lora_forge.web.answers import RefusedError, field
from lora_forge.work import RunRequest, project_dir
from lora_forge.work.planning import PROOFS
from lora_forge.work.requests import with_values

_OURS = ("values", "queue", "language")


def request_from(data_root: Path, values: Mapping[str, Any]) -> RunRequest:
    """The request that ``values`` describe: the fields of a :class:`RunRequest`, with ``values`` as its settings.

    Raises:
        RefusedError: a field is unknown, missing or of another kind.
        DatasetError: the project's name can't be one.
    """
    known = [*(one.name for one in fields(RunRequest)), *_OURS]
    for name in values:
        if name not in known:
            raise RefusedError(400, "There is no field {name!r}.", "Known are {known}.", name=name, known=known)
    request = RunRequest(
        project=project_dir(data_root, field(values, "project", str)),
        name=field(values, "name", str),
        kind=field(values, "kind", str, "person"),
        repeats=field(values, "repeats", int, None),
        epochs=field(values, "epochs", int, None),
        settings={**field(values, "settings", dict, {}), **field(values, "values", dict, {})},
        resume=field(values, "resume", bool, False),
        prove=field(values, "prove", str, "off"),
        folder=field(values, "folder", str, ""),
        trigger_word=field(values, "trigger_word", str, ""),
    )
    if request.prove not in PROOFS:
        raise RefusedError(
            400, "There is no proof {prove!r}.", "Say one of {known}.", prove=request.prove, known=PROOFS
        )
    return request


def changed_request(data_root: Path, was: RunRequest, values: Mapping[str, Any]) -> RunRequest:
    """``was`` with the fields that ``values`` give; the settings are replaced as a whole.

    Raises:
        RefusedError: a field is unknown or of another kind.
    """
    given = {name: value for name, value in values.items() if name != "id"}
    one = with_values(was)
    before = {"name": one.name, "kind": one.kind, "prove": one.prove, "folder": one.folder, "resume": one.resume}
    if "values" not in given and "settings" not in given:
        before["values"] = dict(one.settings)
    before["trigger_word"] = one.trigger_word
    return replace(request_from(data_root, {**before, **given, "project": one.project.name}), project=one.project)


def sweep_of(data_root: Path, values: Mapping[str, Any]) -> tuple[RunRequest, str, list[Any]]:
    """The request, the setting and the values of a sweep.

    Raises:
        RefusedError: a part is missing or of another kind.
    """
    request = request_from(data_root, field(values, "request", dict))
    tried: list[Any] = field(values, "values", list)
    return request, field(values, "key", str), tried
