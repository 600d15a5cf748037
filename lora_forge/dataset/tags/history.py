"""Planning undo and redo: which files go back to which text, and which no longer fit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lora_forge.dataset.tags import disk
from lora_forge.dataset.tags.errors import TagError
from lora_forge.dataset.tags.journal import Files, Journal, Label, Record
from lora_forge.dataset.tags.shelf import Shelf
from lora_forge.i18n import word

_GONE = word("{names}: the photo is not there any more; its caption was left as it is.")
_CHANGED = word("{names}: the caption was changed since and left as it is.")


@dataclass
class Plan:
    """What one step writes. ``record``: the edit that is taken back or done again."""

    label: Label
    writes: list[disk.Write] = field(default_factory=list)
    left_out: list[Label] = field(default_factory=list)
    record: Record | None = None


def plan_back(root: Path, record: Record, shelf: Shelf, is_partly: bool) -> Plan:
    """The plan of undoing ``record``.

    Raises:
        TagError: a caption was changed since, and not ``is_partly``.
    """
    files = {place: (after, before) for place, (before, after) in record.files.items()}
    return _plan(root, record, files, shelf, is_partly)


def plan_forth(root: Path, record: Record, shelf: Shelf, is_partly: bool) -> Plan:
    """The plan of doing ``record`` again; as :func:`plan_back`."""
    return _plan(root, record, record.files, shelf, is_partly)


def settle(root: Path, journal: Journal, shelf: Shelf, revision: int) -> None:
    """Find out how an edit ended that was cut off by a crash: done when any of its files says so, else void."""
    if journal.unfinished is None:
        return
    kind, record = journal.unfinished
    files = record.files if kind != "undo" else {place: (new, old) for place, (old, new) in record.files.items()}
    disk.clear_temporaries(root, [*files])
    for place, (old, new) in files.items():
        disk.mend(root, place, old, new)
    shelf.refresh(revision)
    reached = (new == _text_now(root, place, shelf)[0] != old for place, (old, new) in files.items())
    journal.finish(int(record.plain["id"]), is_done=any(reached))


def _plan(root: Path, record: Record, files: Files, shelf: Shelf, is_partly: bool) -> Plan:
    plan = Plan(record.label, record=record)
    changed, gone = [], []
    for place, (old, new) in files.items():
        if place.startswith("images/") and place not in shelf.files:
            gone.append(place)
            continue
        now, stamp = _text_now(root, place, shelf)
        if now == old and now != new:
            plan.writes.append(disk.Write(place, old, new, stamp))
        elif now != new:
            changed.append(place)
    if changed and not is_partly:
        raise TagError(
            "{count} captions were changed since by another program, first {name}: that edit no longer fits.",
            "Take back the rest of it only, or leave it.",
            count=len(changed),
            name=os.path.basename(changed[0]),
        )
    for template, places in ((_GONE, gone), (_CHANGED, changed)):
        if places:
            plan.left_out.append((template, {"names": _names(places)}))
    return plan


def _text_now(root: Path, place: str, shelf: Shelf) -> tuple[str | None, disk.Stamp | None]:
    file = shelf.files.get(place)
    if file is not None:
        return file.raw, None if file.is_other else file.stamp
    try:
        return disk.read(os.path.join(root, place))
    except FileNotFoundError:
        return None, None


def _names(places: list[str]) -> str:
    stems: Mapping[str, str] = {place: os.path.basename(place)[: -len(".txt")] for place in places}
    return ", ".join([*stems.values()][:5]) + (" …" if len(places) > 5 else "")
