"""What the Test step proposes before a person says anything, and what that would come to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge.dataset.project import Project
from lora_forge.dataset.tags import TagError
from lora_forge.dataset.trait_rules import recoloured, worn_of
from lora_forge.dataset.traits import Traits
from lora_forge.errors import LoraForgeError
from lora_forge.evaluate import xyz
from lora_forge.evaluate.grid import files_there
from lora_forge.evaluate.live import gone_said
from lora_forge.evaluate.smart import most_cells
from lora_forge.events import text_of
from lora_forge.i18n import Said, word
from lora_forge.ports import Desk
from lora_forge.work.estimate import duration_said
from lora_forge.work.judge_models import is_toyworld
from lora_forge.work.judging import prospects
from lora_forge.work.runs import all_runs, runs_of
from lora_forge.work.speeds import load_speeds
from lora_forge.work.testing import told
from lora_forge.work.testing.files import read_about, tests_dir
from lora_forge.work.testing.request import Problem, TestRequest, read_form, strengths_text
from lora_forge.work.testing.store import list_tests

TOY_STEPS = 8
LEAST_SWAPS = 2
_SWAPS = {
    "person": ("white hair", "red dress", "snow"),
    "anime": ("white hair", "red dress", "snow"),
    "style": ("night", "snow"),
    "object": ("outdoors",),
    "concept": ("white hair", "red dress", "snow"),
}
_TOY_SWAPS = ("red dress", "snow")
_MORE = ("white hair", "red dress", "black clothes", "snow", "night", "beach", "from side", "full body")
_COMES_TO = word("{cells} cells with {each} picture(s) each: {pictures} pictures, {time}.")
_SMART = word("At most {most} of {cells} cells with {each} picture(s) each: {pictures} pictures at most, {time}.")
_UNKNOWN = word("time not measured yet")


@dataclass(frozen=True)
class Lora:
    """A LoRA that has numbered files in the host's folder. ``is_of_project``: one of the project's runs made it."""

    name: str
    epochs: tuple[int, ...]
    is_of_project: bool
    trigger_word: str


def loras(desk: Desk, project: Project) -> list[Lora]:
    """All LoRAs with numbered files; the project's first, the one written last before the others."""
    own = {run.name for run in runs_of(project)}
    words = _trigger_words(project.root.parent)
    words.update(dict.fromkeys(own, project.trigger_word))
    found = xyz.trained(desk.lora_dir())
    made = [Lora(name, epochs, name in own, words.get(name, "")) for name, epochs in found.items()]
    return sorted(made, key=lambda lora: not lora.is_of_project)


def proposed(desk: Desk, project: Project, kind: str, name: str = "") -> TestRequest | None:
    """What suits ``name``, or the project's newest LoRA; None where there is none.

    Raises:
        CheckpointError: no checkpoint is loaded.
    """
    found = loras(desk, project)
    chosen = next((lora for lora in found if lora.name == name), found[0] if found and not name else None)
    if chosen is None:
        return None
    return proposal(desk, project, kind, chosen)


def proposal(desk: Desk, project: Project, kind: str, lora: Lora) -> TestRequest:
    """A test of ``lora`` with what suits its type and the loaded checkpoint's family.

    Raises:
        CheckpointError: no checkpoint is loaded.
    """
    family, is_toy = desk.info().family, is_toyworld(desk, kind)
    shown = "toyworld" if is_toy else kind
    style = xyz.style_of(shown, family)
    trigger = lora.trigger_word
    if lora.name and not trigger:
        trigger = xyz.trigger_word_of(desk.lora_dir(), lora.name, lora.epochs[-1])
    return TestRequest(
        project=project.root,
        name=lora.name,
        kind=kind,
        epochs=lora.epochs,
        prompt=xyz.default_prompt(lora.name or "NAME", trigger, shown, family),
        swaps=swaps_of(project, kind, is_toy=is_toy),
        negative=style.negative,
        width=style.size_px,
        height=style.size_px,
        steps=TOY_STEPS if is_toy else 20,
        guidance=style.guidance,
        clip_skip=desk.info().clip_skip,
    )


def swaps_of(project: Project, kind: str, *, is_toy: bool = False) -> tuple[str, ...]:
    """What no photo shows: the project's changeable traits in other colours, and what is usual for the type until there
    are two; nothing that stands against a part of the subject."""
    traits = _traits(project)
    found = list(traits.swaps())
    for tag in _TOY_SWAPS if is_toy else _SWAPS.get(kind, ()):
        taken = {worn_of(one) for one in (*found, *traits.parts)}
        if len(found) < LEAST_SWAPS and worn_of(tag) not in taken:
            found.append(tag)
    return tuple(found)


def swap_choices(project: Project, kind: str, *, is_toy: bool = False) -> tuple[str, ...]:
    """What a person may choose swaps from."""
    traits = _traits(project)
    own = [tag for tag in (recoloured(tag, traits.answers.keys()) for tag in traits.changeable) if tag]
    usual = (*(_TOY_SWAPS if is_toy else _SWAPS.get(kind, ())), *(() if is_toy else _MORE))
    return tuple(dict.fromkeys((*own, *usual)))


def form(desk: Desk, project: Project, kind: str, name: str, language: str) -> dict[str, Any]:
    """The Test step's form, ready for JSON. Without any LoRA ``name`` is empty.

    Raises:
        CheckpointError: no checkpoint is loaded.
        ConfigError: there is no such kind.
    """
    found = loras(desk, project)
    request = proposed(desk, project, kind, name) or proposal(
        desk, project, kind, Lora("", (1,), False, project.trigger_word)
    )
    judges = prospects(desk, project, kind)
    return {
        **request.form(),
        "loras": [
            {
                "name": one.name,
                "epochs": list(one.epochs),
                "is_of_project": one.is_of_project,
                "trigger_word": one.trigger_word,
            }
            for one in found
        ],
        "strengths": strengths_text(request.strengths),
        "swap_choices": list(swap_choices(project, kind, is_toy=is_toyworld(desk, kind))),
        "samplers": list(xyz.SAMPLERS.values()),
        "judges": [one.to_json(language) for one in judges.used],
        "missing": [one.to_json(language) for one in judges.missing],
        "tests": [told.row(test) for test in list_tests(project)],
    }


def planned(desk: Desk, project: Project, values: dict[str, Any], language: str) -> dict[str, Any]:
    """What a form comes to, with every problem by its field; nothing is written."""
    read = read_form(project.root, values)
    problems = list(read.problems)
    request = read.request
    if request is not None:
        problems += _file_problems(desk, request)
    made: dict[str, Any] = {"cells": 0, "pictures": 0, "most_pictures": 0, "seconds": None, "sentence": ""}
    if request is not None:
        made = _counted(desk, project, request, language)
    return {**made, "problems": [{"key": one.key, "sentence": one.sentence.text(language)} for one in problems]}


def _counted(desk: Desk, project: Project, request: TestRequest, language: str) -> dict[str, Any]:
    plan = request.plan()
    cells, each = len(plan.cells()), plan.pictures_a_cell
    most = min(cells, most_cells(plan)) if request.mode == "smart" else cells
    pace = seconds_per_picture(desk, project, request)
    seconds = None if pace is None else pace * most * each
    time = Said(_UNKNOWN) if seconds is None else duration_said(seconds)
    values = {"cells": cells, "most": most, "each": each, "pictures": most * each, "time": time}
    sentence = Said(_SMART if request.mode == "smart" and most < cells else _COMES_TO, values)
    return {
        "cells": cells,
        "pictures": cells * each,
        "most_pictures": most * each,
        "seconds": None if seconds is None else round(seconds),
        "sentence": sentence.text(language),
    }


def _file_problems(desk: Desk, request: TestRequest) -> list[Problem]:
    plan = request.plan()
    try:
        _, gone = files_there(plan, [desk.lora_dir()])
    except LoraForgeError as problem:
        return [Problem("epochs", text_of(problem))]
    template = word("There is no file for {missing}.")
    return [Problem("epochs", Said(template, {"missing": gone_said(plan, gone)}))] if gone else []


def seconds_per_picture(desk: Desk, project: Project, request: TestRequest) -> float | None:
    """As earlier tests of the project with this checkpoint went, else as previews of its runs did; None: not known.

    Time is taken to grow with pixels and steps.
    """
    try:
        base = desk.info().name
    except LoraForgeError:
        return None
    work = request.width * request.height * request.steps
    for folder in sorted(tests_dir(project).glob("*"), key=lambda path: path.name[-15:], reverse=True):
        pace = _pace(folder)
        if pace.get("base") == base:
            return float(pace["seconds"] * work / (pace["pixels"] * pace["steps"]))
    for speed in reversed(load_speeds(desk.data_root())):
        if speed.shape.base == base and speed.preview_s and speed.preview_steps:
            return speed.preview_s * work / (speed.shape.resolution_px**2 * speed.preview_steps)
    return None


def _pace(folder: Path) -> dict[str, Any]:
    try:
        pace = read_about(folder).get("pace")
    except LoraForgeError:
        return {}
    is_whole = isinstance(pace, dict) and all(
        isinstance(pace.get(key), (int, float)) and pace[key] > 0 for key in ("pixels", "steps", "seconds")
    )
    return dict(pace) if is_whole and pace is not None else {}


def _traits(project: Project) -> Traits:
    try:
        return Traits.load(project)
    except TagError:  # damaged answers are said where they are given
        return Traits()


def _trigger_words(data_root: Path) -> dict[str, str]:
    """Trigger words of other projects' LoRAs by name, as far as they are known without opening the files."""
    return {run.name: word for run in all_runs(data_root) if (word := str(run.asked.get("trigger_word") or ""))}
