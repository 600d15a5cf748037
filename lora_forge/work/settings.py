"""From a preset and what a person said to one checked config; the last word wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_forge import config
from lora_forge.config import Family, TrainConfig
from lora_forge.dataset.manifest import load_manifest
from lora_forge.dataset.prepared import manifest_path
from lora_forge.dataset.project import Project
from lora_forge.dataset.tags import TagError
from lora_forge.dataset.traits import Traits
from lora_forge.errors import DatasetError, TrainingError
from lora_forge.presets import aligned, preset
from lora_forge.work.proposing import Visits, visits_of

CONFIG_FILE = "config.json"  # as train.run writes it, which is not imported for a name
PREVIEW_EVERY_STEPS = 50
PREVIEW_SHARE = 0.1  # of a run's time, where nobody has said how often previews come
USUAL_PHOTOS = 25  # what repeats are proposed for while there are no photos yet
SIZE_FIELDS = frozenset({"resolution_px", "use_buckets", "bucket_step_px", "bucket_min_px", "bucket_max_px"})


@dataclass(frozen=True)
class ProjectSettings:
    """What a project itself says of a run. ``values``: settings. ``visits``: its photos, to place previews by; None
    draws previews only where they are asked for."""

    values: Mapping[str, Any] = field(default_factory=dict)
    visits: Visits | None = None


def new_config(
    name: str,
    kind: str | None,
    family: Family,
    photos: int,
    trigger_word: str,
    said: Mapping[str, Any],
    saved: Mapping[str, Any] | None = None,
    of_project: ProjectSettings | None = None,
) -> TrainConfig:
    """The config of a new run: the preset of ``kind``, then ``saved`` (an earlier run's settings), then ``said``.

    ``of_project``: what :func:`project_settings` gives; its size stands unless ``saved`` or ``said`` names one. With
    its photos known previews come every 50 steps or so, one of them at the end of each epoch, and take a tenth of the
    run's time at most; whoever says how often they come gets every one of them.

    Raises:
        ConfigError: an unknown preset or setting, or a value out of range.
    """
    saved, of_project = saved or {}, of_project or ProjectSettings()
    values = preset(kind, family, photos) if kind else {}
    keeps_size = SIZE_FIELDS.isdisjoint([*saved, *said])
    values.update({name: value for name, value in of_project.values.items() if keeps_size or name not in SIZE_FIELDS})
    values.update(saved)
    # alpha belongs to rank: a preset's ratio is kept when only the rank is changed
    if "rank" in said and "alpha" not in said and "rank" in values:
        values["alpha"] = _scaled_alpha(said["rank"], values)
    values.update(said)
    values["name"] = name
    values["trigger_word"] = values.get("trigger_word") or trigger_word
    made = config.from_dict(values)
    return made if of_project.visits is None else made.replace(**_preview_places(made, of_project.visits, values))


def proposed_config(
    project: Project, name: str, kind: str, family: Family, values: Mapping[str, Any], trigger_word: str = ""
) -> TrainConfig:
    """The config of a run as the form proposes it, with what a person changed: ``values``, {} for all defaults.

    Without photos it is counted for 25 of them. ``trigger_word``: what the form says, before it is the project's.

    Raises:
        ConfigError: an unknown preset or setting, or a value out of range.
        DatasetError: the project's photos can't be listed.
    """
    own = project_settings(project)
    photos = own.visits.photos if own.visits else 0
    word = trigger_word or project.trigger_word
    return new_config(name, kind, family, photos or USUAL_PHOTOS, word, values, of_project=own)


def _preview_places(made: TrainConfig, visits: Visits, values: Mapping[str, Any]) -> dict[str, Any]:
    """When previews come and what they may take, as far as ``values`` do not say it."""
    is_placed = "preview_every_steps" in values
    placed = {} if is_placed else {"preview_every_steps": _preview_step(made, visits)}
    is_limited = "preview_share" in values or (is_placed and made.preview_every_steps)
    return placed if is_limited else {**placed, "preview_share": PREVIEW_SHARE}


def _preview_step(made: TrainConfig, visits: Visits) -> int:
    counted = visits if visits.photos else Visits(((USUAL_PHOTOS, None),))
    return aligned(PREVIEW_EVERY_STEPS, counted.steps(made.repeats, made.batch_size, made.gradient_accumulation))


def resumed_config(run_dir: Path, name: str, said: Mapping[str, Any]) -> TrainConfig:
    """The config of a run that goes on: the one it was started with, with what is said now.

    Raises:
        TrainingError: there is no such run.
        ConfigError: a setting is unknown or out of range.
    """
    path = run_dir / CONFIG_FILE
    if not path.is_file():
        raise TrainingError(
            "There is no run named {name} to resume: {path} is not there.",
            "Start it without resuming, or check the name and the project.",
            name=name,
            path=path,
        )
    return config.load(path).replace(**said)


def count_photos(project: Project, remedy: str = "Add some first.") -> int:
    """How many photos there are to learn from, prior preservation pictures not counted.

    Raises:
        DatasetError: there are none; ``remedy`` may name the project as {root}.
    """
    photos = sum(not project.group(photo.group).is_prior for photo in project.photos())
    if not photos:
        raise DatasetError("There are no photos in {root}.", remedy, root=project.root)
    return photos


def project_settings(project: Project, has_previews: bool = True) -> ProjectSettings:
    """What the project itself says of a run: the size it is prepared with, previews that change what its traits leave
    changeable, and its photos, which say when previews come."""
    values = {**_prepared_size(project), **_preview_prompts(project)}
    return ProjectSettings(values, visits_of(project) if has_previews else None)


def _preview_prompts(project: Project) -> dict[str, Any]:
    try:
        swaps = Traits.load(project).swaps()
    except TagError:  # damaged answers are said where they are given; a run goes without them
        swaps = ()
    return {"preview_prompts": ["TRIGGER", f"TRIGGER, {', '.join(swaps)}"]} if swaps else {}


def _prepared_size(project: Project) -> dict[str, Any]:
    manifest = load_manifest(manifest_path(project))
    if manifest is None:
        return {}
    size = manifest.settings
    return {
        "resolution_px": size.resolution_px,
        "use_buckets": size.use_buckets,
        "bucket_step_px": size.step,
        "bucket_min_px": size.least,
        "bucket_max_px": size.most,
    }


def _scaled_alpha(rank: Any, values: Mapping[str, Any]) -> float:
    try:
        return float(values["alpha"]) / float(values["rank"]) * float(rank)
    except (ValueError, TypeError, ZeroDivisionError):  # from_dict says what is wrong with it
        return float(values["alpha"])
