"""``lora-forge download``."""

from __future__ import annotations

import signal
from argparse import Namespace
from dataclasses import replace
from types import FrameType

from lora_forge.cli.console import Console
from lora_forge.downloads import Item, Shelf, item_of
from lora_forge.events import Command, CommandBox, Emit, Event, Progress, StageStarted
from lora_forge.progress import size
from lora_forge.work.tagging import shelf_in

_INTERRUPTED, _MB = 130, 1_000_000


def run(args: Namespace, console: Console) -> int:
    """List, fetch, or take from a file; a mirror that is given is kept. Ctrl-C stops, and what came is kept."""
    shelf = shelf_in(args.data)
    if args.mirror is not None:
        shelf.mirrors.set(args.mirror)
    if args.id is None:
        _list(shelf, console)
        return 0
    item = item_of(args.id, shelf.items)
    if args.source is not None:
        standing = shelf.take(item.id, args.source)
        console.say(f"{item.id}: {standing.state} in {shelf.folder(item)}")
        return 0
    console.say(f"{item.id} ({size(item.size_bytes)}, {item.licence}) from {shelf.mirrors.url(item, item.files[0])}")
    commands = CommandBox()

    def stop(number: int, frame: FrameType | None) -> None:
        commands.send(Command.STOP)

    before = signal.signal(signal.SIGINT, stop)
    try:
        outcome = shelf.download(item.id, _in_megabytes(console), commands, accepts_terms=args.accept_licence)
    finally:
        signal.signal(signal.SIGINT, before)
    if outcome == "stopped":
        console.say("stopped; the same command goes on")
        return _INTERRUPTED
    console.say(f"{item.id}: {shelf.folder(item)}")
    return 0


def _in_megabytes(console: Console) -> Emit:
    """What a person reads is in MB; what a program reads stays in bytes."""

    def emit(event: Event) -> None:
        if isinstance(event, StageStarted):
            event = replace(event, total=event.total // _MB, unit="MB")
        elif isinstance(event, Progress):
            event = replace(event, done=event.done // _MB, total=event.total // _MB)
        console(event)

    return console if console.is_json else emit


def _list(shelf: Shelf, console: Console) -> None:
    for item in shelf.items:
        standing = shelf.standing(item)
        console.result(f"{item.id:24}  {standing.state:8}  {size(item.size_bytes):>8}  {item.licence}  {item.source}")
        if console.is_json:
            console.object({"event": "Download", **_plain(shelf, item)})


def _plain(shelf: Shelf, item: Item) -> dict[str, object]:
    standing = shelf.standing(item)
    facts = {"id": item.id, "name": item.name, "size_bytes": item.size_bytes, "source": item.source}
    return {**facts, "licence": item.licence, "state": standing.state, "done_bytes": standing.done_bytes}
