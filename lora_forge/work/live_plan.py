"""The live plan: what the form on the page comes to, at every key pressed. Nothing is written, no photo is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge.config import Family, TrainConfig
from lora_forge.dataset.manifest import load_manifest
from lora_forge.dataset.prepared import manifest_path
from lora_forge.dataset.project import Project
from lora_forge.errors import CheckpointError, ConfigError, LoraFileError, LoraForgeError
from lora_forge.i18n import Said, Several, Text, word
from lora_forge.lora_file.names import check_name
from lora_forge.ports import Desk
from lora_forge.work.archive import used_stems
from lora_forge.work.estimate import (
    Count,
    DiskSentence,
    Seen,
    count,
    disk_sentence,
    guessed,
    photos_seen,
    run_seconds,
    steps_said,
    time_said,
)
from lora_forge.work.memory import MemorySentence, memory_sentence
from lora_forge.work.settings import proposed_config

_LINE = word("{steps}, {parts}.")
_NO_PHOTOS = word("There are no photos in this project yet: add some in the Photos step.")
_NO_NAME = word("The LoRA has no name yet.")
_RUN_EXISTS = word("This project has a run named {name} already: resume it, or choose another name.")


@dataclass(frozen=True)
class Wish:
    """The form as the page sends it. ``values``: only the settings that differ from what is proposed."""

    project: Path
    kind: str
    name: str
    trigger_word: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """Why a run can't start so; ``key``: the setting (or ``name``, ``kind``, ``trigger_word``) it is about, or none."""

    key: str
    sentence: Text


@dataclass(frozen=True)
class LivePlan:
    """``count`` is None where the settings can't be read; ``memory``, ``disk`` where no checkpoint is loaded either.

    ``seconds_source``: ``measured``, ``similar`` or ``unknown``.
    """

    problems: tuple[Problem, ...]
    config: TrainConfig | None = None
    count: Count | None = None
    seconds: float | None = None
    seconds_source: str = "unknown"
    memory: MemorySentence | None = None
    disk: DiskSentence | None = None
    sentence: Said | None = None


def live_plan(desk: Desk, wish: Wish) -> LivePlan:
    """What ``wish`` comes to, with everything that stands in its way.

    Raises:
        DatasetError: there is no such project.
    """
    project = Project.load(wish.project)
    problems = _name_problems(desk, wish)
    family, base_problem = _family(desk)
    if base_problem is not None:
        problems.append(base_problem)
    config, config_problems = wished_config(project, wish, family or Family.SD1)
    problems += config_problems
    if config is None:
        return LivePlan(tuple(problems))
    seen = photos_seen(project, config, load_manifest(manifest_path(project)))
    if not any(not one.is_prior for one in seen):
        problems.append(Problem("", Said(_NO_PHOTOS)))
        return LivePlan(tuple(problems), config)
    return _counted(desk, config, family, seen, tuple(problems))


def wished_config(project: Project, wish: Wish, family: Family) -> tuple[TrainConfig | None, list[Problem]]:
    """The config of the run that is wished for, or why there is none."""
    try:
        config = proposed_config(project, wish.name, wish.kind, family, wish.values, wish.trigger_word)
    except ConfigError as problem:
        return None, _config_problems(problem)
    return config, []


def _counted(
    desk: Desk, config: TrainConfig, family: Family | None, seen: tuple[Seen, ...], problems: tuple[Problem, ...]
) -> LivePlan:
    counted = count(seen, config)
    if family is None:
        sentence = Said(_LINE, {"steps": steps_said(counted, config), "parts": time_said(None, "unknown")})
        return LivePlan(problems, config, counted, sentence=sentence)
    speed = guessed(desk, config)
    seconds = None if speed is None else run_seconds(counted, config, speed)
    source = "unknown" if speed is None else speed.source
    memory, disk = memory_sentence(family, config), disk_sentence(family, config, counted, desk.lora_dir())
    parts = Several((time_said(seconds, source), memory.short, disk.short))
    sentence = Said(_LINE, {"steps": steps_said(counted, config), "parts": parts})
    return LivePlan(problems, config, counted, seconds, source, memory, disk, sentence)


def _family(desk: Desk) -> tuple[Family | None, Problem | None]:
    try:
        return desk.info().family, None
    except CheckpointError as problem:
        return None, Problem("", _said(problem))


def _name_problems(desk: Desk, wish: Wish) -> list[Problem]:
    if not wish.name:
        return [Problem("name", Said(_NO_NAME))]
    try:
        check_name(wish.name, desk.lora_dir(), used=used_stems(desk.data_root()))
    except LoraFileError as problem:
        return [Problem("name", _said(problem))]
    if any((wish.project / "runs" / wish.name / "state").glob("step-*")):
        return [Problem("name", Said(_RUN_EXISTS, {"name": wish.name}))]
    return []


def _config_problems(problem: ConfigError) -> list[Problem]:
    """One for each setting where the error lists several."""
    listed = problem.values.get("problems")
    if isinstance(listed, Several):
        return [Problem(str(part.values.get("key", "")), part) for part in listed.parts if isinstance(part, Said)]
    return [Problem("kind" if "kinds" in problem.values else str(problem.values.get("name", "")), _said(problem))]


def _said(problem: LoraForgeError) -> Text:
    what = Said(problem.what, problem.values)
    return Several((what, Said(problem.remedy, problem.values)), " ") if problem.remedy else what
