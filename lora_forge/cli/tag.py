"""``lora-forge tag``."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

from lora_forge.cli.console import Console
from lora_forge.dataset.project import Project
from lora_forge.dataset.taggers import PickOptions, Preview, RunOptions, preview
from lora_forge.errors import ConfigError
from lora_forge.events import CommandBox
from lora_forge.work.tagging import TaggerRoom, room_in, tag


def run_options(args: Namespace, room: TaggerRoom) -> RunOptions:
    """The options of the command line; thresholds that are not given are the tagger's maker's.

    Raises:
        ConfigError: a threshold is out of range, or a replacement has no "=".
    """
    advice = next((offer.thresholds for offer in room.offers() if offer.id == args.tagger), None)
    picks = PickOptions() if advice is None else PickOptions(advice.general, advice.character)
    for name in ("general", "character"):
        value = getattr(args, name)
        if value is not None and not 0 <= value <= 1:
            raise ConfigError("--{name} must be a number from 0 to 1.", name=name)
        picks = picks if value is None else replace(picks, **{name: value})
    for pair in args.replace:
        if "=" not in pair:
            raise ConfigError("{pair!r} is no replacement.", "Write TAG=OTHER.", pair=pair)
    return RunOptions(
        replace(
            picks,
            use_mcut=args.mcut,
            exclude=tuple(args.exclude),
            add=tuple(args.add),
            replace=dict(pair.split("=", 1) for pair in args.replace),
            underscores=args.underscores,
            character_tags=not args.no_characters,
            drop_overlaps=not args.keep_overlaps,
            limit=args.limit,
            categories=tuple(args.category),
        ),
        args.mode,
    )


def run(args: Namespace, console: Console) -> int:
    """Tag, or print what tagging would write."""
    project, room = Project.load(args.project), room_in([args.data / "models"])
    options = run_options(args, room)
    if not args.preview:
        tag(project, room, args.tagger, options, args.photo, console, CommandBox(), is_fast=args.fast)
        return 0
    found = _preview(args, project, room, options, console)
    console.object({"event": "Preview", "tags": dict(found.tags)}) if console.is_json else None
    for key, tags in found.tags.items():
        console.result(f"{key}: {', '.join(tags)}")
    return 0


def _preview(args: Namespace, project: Project, room: TaggerRoom, options: RunOptions, console: Console) -> Preview:
    """Photos that were never scored are scored first; no caption is written."""
    fingerprint = room.fingerprint(args.tagger)
    found = preview(project, fingerprint, options, args.photo)
    if found.missing:
        box = CommandBox()
        tag(project, room, args.tagger, options, found.missing, console, box, is_fast=args.fast, only_scores=True)
        found = preview(project, fingerprint, options, args.photo)
    return found
