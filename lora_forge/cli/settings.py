"""From options to one checked config: preset, then --config, then the options, then --set; the last word wins."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from lora_forge import config
from lora_forge.config import Family, TrainConfig
from lora_forge.work.settings import ProjectSettings, new_config, resumed_config

OPTIONS = {
    "epochs": "epochs",
    "repeats": "repeats",
    "rank": "rank",
    "resolution": "resolution_px",
    "seed": "seed",
    "trigger": "trigger_word",
    "device": "device",
    "precision": "precision",
}
DEFAULT_PRESET = "person"


def given(args: Namespace) -> dict[str, Any]:
    """What was said on the command line itself: options, then --set."""
    options = {field: getattr(args, option, None) for option, field in OPTIONS.items()}
    said = {field: value for field, value in options.items() if value is not None}
    return {**said, **config.parse_assignments(args.assignments)}


def resolve(
    args: Namespace, family: Family, photos: int, trigger_word: str, of_project: ProjectSettings | None = None
) -> TrainConfig:
    """The config of a new run.

    ``of_project``: what the project says itself; its size stands unless --config or the command line names one.

    Raises:
        ConfigError: an unknown preset or setting, or a value out of range.
    """
    saved = config.load(args.config).to_dict() if args.config else None
    kind = args.preset or (None if args.config else DEFAULT_PRESET)
    return new_config(args.name, kind, family, photos, trigger_word, given(args), saved, of_project)


def resolve_resumed(args: Namespace, run_dir: Path) -> TrainConfig:
    """The config of a run that goes on: the one it was started with, with what the command line says now.

    Raises:
        TrainingError: there is no such run.
        ConfigError: a setting is unknown or out of range.
    """
    return resumed_config(run_dir, args.name, given(args))
