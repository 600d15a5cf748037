"""``lora-forge trial``."""

from __future__ import annotations

from argparse import Namespace

from lora_forge.cli.base import is_toyworld
from lora_forge.cli.console import Console
from lora_forge.cli.settings import resolve
from lora_forge.cli.train import host_of
from lora_forge.dataset.project import Project
from lora_forge.model.read import read_facts
from lora_forge.ports import never
from lora_forge.work.settings import count_photos, project_settings
from lora_forge.work.trial import sentence, told_plainly, try_config


def run(args: Namespace, console: Console) -> int:
    """Measure and say it: 0 when it fits, 1 when it does not."""
    project = Project.load(args.project)
    photos = count_photos(project, "Import some: lora-forge import SOURCE --project {root}")
    if args.preset is None and not args.config and is_toyworld(args.base):
        args.preset = "toyworld"
    family = read_facts(args.base).family
    config = resolve(args, family, photos, project.trigger_word, project_settings(project))
    made = try_config(host_of(args.base, config), project, config, console, never)
    assert made is not None  # nobody sends a stop
    if console.is_json:
        console.object({"event": "Tried", **told_plainly(project, made, "en")})
        return int(bool(made.failed_at))
    console.result(str(sentence(project, made)))
    for rung in made.ladder():
        changes = " ".join(f"--set {key}={value}" for key, value in rung.changes.items())
        console.result(f"  {rung.sentence}  {changes}")
    return int(bool(made.failed_at))
