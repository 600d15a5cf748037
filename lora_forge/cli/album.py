"""``lora-forge album``."""

from __future__ import annotations

import signal
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from lora_forge import atomic
from lora_forge.cli.console import Console
from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError
from lora_forge.evaluate.scenes import chosen
from lora_forge.events import Command, CommandBox
from lora_forge.host.desk import StandaloneDesk
from lora_forge.work.albums.drawing import check_album, draw_album
from lora_forge.work.albums.request import offered, request_for, seen_tags
from lora_forge.work.albums.sheet import sheet_png
from lora_forge.work.albums.store import Album, load_album, new_album
from lora_forge.work.albums.told import Teller


def run(args: Namespace, console: Console) -> int:
    """Draw and judge, or list the scenes; 130 when it was stopped."""
    project = Project.load(args.project)
    if args.list:
        return _list(project, args, console)
    desk = _desk(args)
    album = load_album(project, args.resume) if args.resume else _new(desk, project, args)
    with _stopped_by_interrupt(console) as commands:
        outcome = draw_album(desk, project, album, console, commands)
    if args.out and album.drawn():
        atomic.write_bytes(args.out, sheet_png(project, album, args.language, has_photos=not args.no_photos))
        console.result(str(args.out))
    _tell(project, album, console)
    return 0 if outcome == "done" else 130


def _list(project: Project, args: Namespace, console: Console) -> int:
    for one in Teller(project, args.language).scenes(args.kind):
        if console.is_json:
            console.object({"event": "Scene", **one})
        console.result(f"{'*' if one['is_chosen'] else ' '} {one['id']}  {one['label']}: {one['prompt']}")
    return 0


def _desk(args: Namespace) -> StandaloneDesk:
    missing = [f"--{name}" for name in ("base", "loras") if getattr(args, name) is None]
    if missing or not (args.name or args.resume):
        named = ", ".join([*missing, *([] if args.name or args.resume else ["--name"])])
        raise ConfigError("The album needs {missing}.", missing=named)
    data = args.data or args.project.resolve().parent
    return StandaloneDesk(data, args.loras, base=args.base, device=args.device or "auto")


def _new(desk: StandaloneDesk, project: Project, args: Namespace) -> Album:
    scenes = args.scene
    if not scenes and not args.own:
        scenes = chosen(offered(project, args.kind), seen_tags(project))
    more = {name: getattr(args, name) for name in ("seed", "steps", "width", "height")}
    family = desk.info().family
    request = request_for(project, args.kind, family, args.name, args.epoch, args.strength, scenes, args.own, **more)
    check_album(desk, Album(project.root, request, 0.0))
    return new_album(project, request)


def _tell(project: Project, album: Album, console: Console) -> None:
    told = Teller(project, "en").whole(album)
    if console.is_json:
        console.object({"event": "Album", **told})
    for one in told["pictures"]:
        signs = [
            f"{'+' if ask['is_ok'] else '?' if ask['is_ok'] is None else '-'}{ask['label']}" for ask in one["asks"]
        ]
        alike = f"alike {100 * one['identity']['value']:.0f} %" if one["identity"] else "likeness untold"
        if one["path"]:
            console.result(f"{one['label']}: {', '.join([alike, *signs])}")
    if told["verdict"]:
        console.result(told["verdict"]["sentence"])


@contextmanager
def _stopped_by_interrupt(console: Console) -> Iterator[CommandBox]:
    """First Ctrl-C: stop after this picture. Second: at once."""
    commands = CommandBox()

    def interrupted(_signal: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        commands.send(Command.STOP)
        console.say("stopping after this picture; --resume goes on; Ctrl-C again quits at once")

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield commands
    finally:
        signal.signal(signal.SIGINT, before)
