"""``lora-forge lora``."""

from __future__ import annotations

from argparse import Namespace

from lora_forge.cli.console import Console
from lora_forge.events import CommandBox, Event
from lora_forge.lora_file.facts import read_facts
from lora_forge.work import lora_tools
from lora_forge.work.keeping import Folders
from lora_forge.work.lora_facts import told


def run(args: Namespace, console: Console) -> int:
    """Do what the action says."""
    actions = {"facts": _facts, "resize": _resize, "merge": _merge}
    return actions[args.action](args, console)


def _facts(args: Namespace, console: Console) -> int:
    found = told(read_facts(args.file), "en")
    if console.is_json:
        console.object({"event": "Facts", **found})
    for row in found["rows"]:
        console.result(f"{row['label']}: {row['value']}")
    for problem in found["problems"]:
        console.result(problem)
    words = ", ".join(f"{one['word']} ({one['count']})" for one in found["trigger_words"][:20])
    console.result(f"Words: {words or found['no_words']}")
    for key, value in found["settings"].items():
        console.result(f"  {key} = {value}")
    for one in found["left"]:
        console.result(f"  not taken: {one['key']} = {one['value']}: {one['why']}")
    return 0


def _resize(args: Namespace, console: Console) -> int:
    place, path = Folders(args.file.parent, args.file.parent), args.file
    ending = f"r{args.rank}" if args.rank is not None else f"{round(100 * args.keep)}pct"
    name = args.new_name or lora_tools.proposed_name(place, path, ending)
    made = lora_tools.resize(place, path, name, args.rank, args.keep, _nobody, CommandBox())
    return _said(made, console)


def _merge(args: Namespace, console: Console) -> int:
    place = Folders(args.file.parent, args.file.parent)
    name = args.new_name or lora_tools.proposed_name(place, args.file, f"and_{args.other.stem}")
    (first, second), box = args.strengths, CommandBox()
    made = lora_tools.merge(place, (args.file, first), (args.other, second), args.rank, name, _nobody, box)
    return _said(made, console)


def _nobody(event: Event) -> None:
    """The last sentence says it all."""


def _said(made: lora_tools.Result, console: Console) -> int:
    if console.is_json:
        loss = {"whole": made.loss.whole, "worst": made.loss.worst, "worst_layer": made.loss.worst_layer}
        console.object({"event": "Made", "file": str(made.saved.path), "bytes": made.saved.size_bytes, **loss})
    console.result(made.sentence.text())
    return 0
