"""``lora-forge keep``."""

from __future__ import annotations

import time
from argparse import Namespace

from lora_forge.cli.console import Console
from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError
from lora_forge.lora_file.facts import read_facts
from lora_forge.work import archive, keeping
from lora_forge.work.archive import Entry
from lora_forge.work.keep_form import archived
from lora_forge.work.keeping import Folders, KeepRequest


def run(args: Namespace, console: Console) -> int:
    """Keep, list, undo or finish."""
    project = Project.load(args.project)
    place = Folders(project.root.resolve().parent, args.loras)
    if args.list:
        return _list(place, console)
    if args.undo or args.finish:
        return _turn(place, args, console)
    if args.epoch is None:
        raise ConfigError("--epoch is missing.", "Say which epoch is to be kept.")
    made = keeping.keep(place, _request(place, project, args))
    if console.is_json:
        told = {"file": str(made.file), "archived": list(made.archived), "undo": made.entry.id}
        console.object({"event": "Kept", **told})
    console.result(made.sentence.text())
    console.result(f"to take it back: --undo {made.entry.id}")
    return 0


def _request(place: Folders, project: Project, args: Namespace) -> KeepRequest:
    found = keeping.chosen(place, project, args.name)
    activation = args.activation
    if activation is None and args.epoch in found.epochs:
        activation = keeping.proposed_activation(read_facts(found.epochs[args.epoch]), project.trigger_word)
    return KeepRequest(
        project,
        args.name,
        args.epoch,
        args.strength,
        args.new_name or keeping.proposed_name(place, args.name),
        args.bake,
        args.picture,
        activation or "",
        args.weight,
        args.negative,
        args.notes,
    )


def _list(place: Folders, console: Console) -> int:
    for entry in archived(place.data_root()):
        if console.is_json:
            console.object({"event": "Archived", "id": entry.id, "state": entry.state, **entry.about})
        console.result(f"{entry.id}  {_line(entry)}")
    return 0


def _turn(place: Folders, args: Namespace, console: Console) -> int:
    if args.undo:
        entry, sentence = keeping.undo(place, args.undo)
    else:
        entry = archive.go_on(archive.find(place.data_root(), args.finish))
        sentence = keeping.kept_sentence(entry)
    if console.is_json:
        console.object({"event": "Archived", "id": entry.id, "state": entry.state})
    console.result(sentence.text())
    return 0


def _line(entry: Entry) -> str:
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.made_at))
    unfinished = "" if entry.state == "kept" else " (cut off: --finish or --undo)"
    return f"{day}{unfinished}  {keeping.kept_sentence(entry).text()}"
