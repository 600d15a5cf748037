"""What the Keep step shows before anything is done: proposals, pictures to choose from, what would be put away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lora_forge.dataset.naming import printable
from lora_forge.dataset.project import Project
from lora_forge.errors import LoraFileError
from lora_forge.lora_file import sidecar
from lora_forge.lora_file.facts import read_facts
from lora_forge.ports import Desk
from lora_forge.work import archive, keeping
from lora_forge.work.archive import Entry
from lora_forge.work.keeping import Chosen
from lora_forge.work.runs import runs_of
from lora_forge.work.series import series_of
from lora_forge.work.testing.store import list_tests

_MOST_PICTURES = 12


@dataclass(frozen=True)
class KeepForm:
    """``pictures``: paths within the data root, the fittest first. ``others``: names of what goes to the archive."""

    name: str
    names: tuple[str, ...]
    epochs: tuple[int, ...] = ()
    epoch: int = 0
    strength: float = 1.0
    new_name: str = ""
    activation: str = ""
    negative: str = ""
    notes: str = ""
    family: str = ""
    pictures: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    other_bytes: int = 0
    problem: LoraFileError | None = None


def keep_form(desk: Desk, project: Project, name: str, epoch: int | None, strength: float | None) -> KeepForm:
    """For the LoRA ``name`` (empty: the project's newest) at ``epoch`` (None: the last) and ``strength``."""
    names = tuple(keeping.names_in(desk, project))
    own = (run.name for run in runs_of(project))
    wanted = name or next((one for one in own if one in names), "")
    if wanted not in names:
        return KeepForm(wanted, names)
    found = keeping.chosen(desk, project, wanted)
    at = epoch if epoch in found.epochs else max(found.epochs)
    away = found.put_away()
    form = KeepForm(
        wanted,
        names,
        tuple(found.epochs),
        at or 0,
        strength or 1.0,
        keeping.proposed_name(desk, wanted),
        others=tuple(path.name for path in away),
        other_bytes=sum(path.stat().st_size for path in away),
        pictures=tuple(_pictures(project, found, at or 0, strength or 1.0))[:_MOST_PICTURES],
    )
    return _with_facts(form, found, project)


def archived(data_root: Path) -> list[Entry]:
    """What is in the archive and can come back, newest first."""
    return [entry for entry in archive.entries(data_root) if entry.state != "undone"]


def _with_facts(form: KeepForm, found: Chosen, project: Project) -> KeepForm:
    """What the file itself and its card say, where it can be read."""
    path = found.epochs[form.epoch]
    card = sidecar.read_card(path)
    try:
        facts = read_facts(path)
    except LoraFileError as problem:
        return replace(form, problem=problem)
    activation = str(card.get("activation text") or "") or keeping.proposed_activation(facts, project.trigger_word)
    return replace(
        form,
        activation=activation,
        negative=str(card.get("negative text") or ""),
        notes=str(card.get("notes") or ""),
        family=facts.family_name,
    )


def _pictures(project: Project, found: Chosen, epoch: int, strength: float) -> Iterator[str]:
    """Pictures of that very cell in the tests of this LoRA, then the run's previews."""
    for test in list_tests(project):
        if test.request.name == found.name:
            for path in test.cells.get((epoch, strength), ()):
                yield f"{project.root.name}/{path.relative_to(project.root).as_posix()}"
    yield from _previews(project, found, epoch)


def _previews(project: Project, found: Chosen, epoch: int) -> Iterator[str]:
    """The run's previews, those nearest to the epoch's end first; at each step with the subject alone first."""
    folder = project.runs_dir / found.name / "previews"
    try:
        there = {name for name in os.listdir(folder) if printable(name) == name}
    except OSError:
        return
    prefix = f"{project.root.name}/runs/{found.name}/previews/"
    told = series_of(folder.parent).previews().told(prefix, there)
    end = _step_of(found.epochs[epoch])
    steps = sorted(told["steps"], key=lambda row: abs(row["step"] - end)) if end else told["steps"]
    for row in steps:
        yield from (
            path for column, path in sorted(row["pictures"].items(), key=lambda one: int(one[0])) if column != "0"
        )


def _step_of(path: Path) -> int:
    try:
        said = read_facts(path).metadata.get("ss_steps", "")
    except LoraFileError:
        return 0
    return int(said) if said.isdecimal() else 0
