"""From options to one checked config: preset, then --config, then the options, then --set; the last word wins."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_forge import config
from lora_forge.config import Family, TrainConfig
from lora_forge.errors import TrainingError
from lora_forge.presets import preset

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
SIZE_FIELDS = frozenset({"resolution_px", "use_buckets", "bucket_step_px", "bucket_min_px", "bucket_max_px"})
DEFAULT_PRESET = "person"


def given(args: Namespace) -> dict[str, Any]:
    """What was said on the command line itself: options, then --set."""
    options = {field: getattr(args, option, None) for option, field in OPTIONS.items()}
    said = {field: value for field, value in options.items() if value is not None}
    return {**said, **config.parse_assignments(args.assignments)}


def resolve(
    args: Namespace, family: Family, photos: int, trigger_word: str, prepared_size: Mapping[str, Any] | None = None
) -> TrainConfig:
    """The config of a new run.

    ``prepared_size``: the size settings the project is prepared with; they stand unless --config or the command line
    names a size.

    Raises:
        ConfigError: an unknown preset or setting, or a value out of range.
    """
    from_file = config.load(args.config).to_dict() if args.config else {}
    said = given(args)
    kind = args.preset or (None if args.config else DEFAULT_PRESET)
    values = preset(kind, family, photos) if kind else {}
    if prepared_size and SIZE_FIELDS.isdisjoint([*from_file, *said]):
        values.update(prepared_size)
    values.update(from_file)
    # alpha belongs to rank: a preset's ratio is kept when only the rank is changed
    if "rank" in said and "alpha" not in said and "rank" in values:
        values["alpha"] = _scaled_alpha(said["rank"], values)
    values.update(said)
    values["name"] = args.name
    values["trigger_word"] = values.get("trigger_word") or trigger_word
    return config.from_dict(values)


def resolve_resumed(args: Namespace, run_dir: Path) -> TrainConfig:
    """The config of a run that goes on: the one it was started with, with what the command line says now.

    Raises:
        TrainingError: there is no such run.
        ConfigError: a setting is unknown or out of range.
    """
    path = run_dir / "config.json"
    if not path.is_file():
        raise TrainingError(
            "There is no run named {name} to resume: {path} is not there.",
            "Start it without --resume, or check --name and --project.",
            name=args.name,
            path=path,
        )
    return config.load(path).replace(**given(args))


def _scaled_alpha(rank: Any, values: Mapping[str, Any]) -> float:
    try:
        return float(values["alpha"]) / float(values["rank"]) * float(rank)
    except (ValueError, ZeroDivisionError):  # from_dict says what is wrong with it
        return float(values["alpha"])
