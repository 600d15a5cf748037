"""``lora-forge presets``: the kinds, presets of one's own, and settings of other trainers."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from lora_forge import config
from lora_forge.cli.console import Console
from lora_forge.config import Family
from lora_forge.errors import ConfigError
from lora_forge.presets import ABOUT, preset
from lora_forge.presets.brought import read_settings
from lora_forge.presets.fields import label_of
from lora_forge.presets.reasons import reasons
from lora_forge.presets.user import Presets, UserPreset


def run(args: Namespace, console: Console) -> int:
    """Do what ``args.action`` says."""
    presets = Presets(args.data)
    if args.action == "list":
        return _list(presets, console)
    if args.action == "show":
        return _show(args, presets, console)
    if args.action == "save":
        return _save(args.name, args.kind, config.parse_assignments(args.assignments), presets, console)
    return _import(args, presets, console)


def _list(presets: Presets, console: Console) -> int:
    own = presets.every()
    if console.is_json:
        kinds = [{"kind": kind, "sentence": about.sentence} for kind, about in ABOUT.items()]
        console.object({"event": "Presets", "kinds": kinds, "own": [one.plain() for one in own]})
    for kind, about in ABOUT.items():
        console.result(f"{kind:13} {about.sentence}")
    for one in own:
        console.result(f"{one.name}  (yours, {len(one.values)} changed from {one.kind})")
    return 0


def _show(args: Namespace, presets: Presets, console: Console) -> int:
    kind, values = (args.preset, {}) if args.preset in ABOUT else _own(presets.one(args.preset))
    family = Family(args.family)
    made = config.from_dict({**preset(kind, family, args.photos), **values})
    shown = made.to_dict()
    why = {one.key: one for one in reasons(kind, family, made, args.photos)}
    if console.is_json:
        told = {
            key: {"why": one.sentence.text(args.language), "source": one.source.text(args.language)}
            for key, one in why.items()
        }
        console.object({"event": "Preset", "kind": kind, "values": shown, "changed": values, "why": told})
    for key, one in why.items():
        console.result(f"{key} = {shown[key]}    {label_of(key, args.language)}")
        reason = "changed by you" if key in values else one.sentence.text(args.language)
        source = "" if key in values else f" [{one.source.text(args.language)}]"
        console.result(f"    {reason}{source}")
    return 0


def _own(one: UserPreset) -> tuple[str, dict[str, Any]]:
    return one.kind, dict(one.values)


def _save(name: str, kind: str, values: dict[str, Any], presets: Presets, console: Console) -> int:
    checked = config.from_dict({**preset(kind, Family.SD1), **values}).to_dict()
    presets.save(UserPreset(name, kind, {key: checked[key] for key in values}))
    console.result(f"{name}: {len(values)} changed from {kind}")
    if console.is_json:
        console.object({"event": "PresetSaved", **presets.one(name).plain()})
    return 0


def _import(args: Namespace, presets: Presets, console: Console) -> int:
    try:
        text = args.file.read_text(encoding="utf-8-sig")
    except ValueError as cause:
        raise ConfigError(
            "{name} can't be read as settings: {cause}.",
            "Choose a .json or .toml file as a trainer writes it.",
            name=args.file.name,
            cause=cause,
        ) from cause
    found = read_settings(text, args.file.name)
    left = [{"key": one.key, "value": one.value, "why": str(one.why)} for one in found.left]
    if console.is_json:
        console.object({"event": "Imported", "values": dict(found.values), "taken": list(found.taken), "left": left})
    for key, value in found.values.items():
        console.result(f"{key} = {value}")
    for one in left:
        console.say(f"left: {one['key']} = {one['value']}  {one['why']}")
    if args.name:
        return _save(args.name, args.kind or found.kind or "person", dict(found.values), presets, console)
    return 0
