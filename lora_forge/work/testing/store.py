"""A test on the disk: what was asked, its pictures, its scores, and what follows from them.

::

    PROJECT/tests/NAME-20261122-235959/test.json     what was asked, the base, the judges, how it ended
                                      /scores.json   what there is of each cell, and what the judges said of it
                                      /cells/*.png   one file a picture
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_forge import atomic
from lora_forge.dataset.naming import safe_stem
from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError, DatasetError
from lora_forge.evaluate.cells import CellStore
from lora_forge.evaluate.diagnose import Diagnosis, diagnose
from lora_forge.evaluate.plan import NO_EPOCH, GridPlan
from lora_forge.evaluate.recommend import Recommendation, recommend
from lora_forge.evaluate.scores import Cell, PictureScore, Surface, surface_of
from lora_forge.i18n import Said, word
from lora_forge.train.claim import is_claimed
from lora_forge.work.judging import Missing, PhotoSetFacts, Used
from lora_forge.work.testing.records import unpacked_record, unpacked_records
from lora_forge.work.testing.request import TestRequest

FOLDER, FILE, SCORES_FILE, CELLS = "tests", "test.json", "scores.json", "cells"
ENDINGS = ("done", "stopped", "failed")


@dataclass
class CellNote:
    """What there is of a cell. ``mark``: what it was drawn from. ``judges``: names by score. ``scores``: one a picture,
    None until the judges have seen it. ``revision``: when it changed last, in counts of the test."""

    revision: int
    pictures: tuple[str, ...]
    mark: str = ""
    judges: Mapping[str, str] = field(default_factory=dict)
    scores: tuple[PictureScore, ...] | None = None


@dataclass(frozen=True)
class KeptTest:
    """One test as it is on the disk now.

    ``cells``: paths of the pictures by cell, in the order of the plan's requests; the baseline is (0, 0.0).
    ``state``: running, stopped, done, failed, or interrupted where nobody is at it and nobody said why. ``total``: of
    the cells, as far as is known. ``base``: the checkpoint's name. ``error``: why it failed, as kept; None where it
    did not. ``made_at``: Unix seconds.
    """

    project: Project
    id: str
    folder: Path
    request: TestRequest
    plan: GridPlan
    base: str
    state: str
    made_at: float
    notes: Mapping[Cell, CellNote]
    cells: Mapping[Cell, tuple[Path, ...]]
    revision: int
    total: int
    surface: Surface
    recommendation: Recommendation | None
    diagnosis: Diagnosis | None
    used: tuple[Used, ...]
    missing: tuple[Missing, ...]
    photos: PhotoSetFacts | None
    error: Any = None

    @property
    def is_complete(self) -> bool:
        """Whether every cell of the plan is drawn."""
        return all(cell in self.cells for cell in self.plan.cells())

    def picture(self, epoch: int, strength: float, *, swapped: bool = False) -> Path | None:
        """The first picture of a cell; strength 0 is the baseline of every epoch."""
        found = self.cells.get((epoch, strength) if strength else (NO_EPOCH, 0.0), ())
        number = len(self.plan.seeds) if swapped and self.plan.swap_prompt else 0
        return found[number] if number < len(found) else None


def tests_dir(project: Project) -> Path:
    """Where a project's tests are."""
    return project.root / FOLDER


def test_dir(project: Project, id: str) -> Path:
    """The folder of the test ``id``.

    Raises:
        ConfigError: there is none.
    """
    folder = tests_dir(project) / id
    if not id or Path(id).name != id or "\\" in id or id.startswith(".") or not (folder / FILE).is_file():
        raise ConfigError("This project has no test {id}.", "Reload the list of tests.", id=id)
    return folder


def create(project: Project, request: TestRequest, base: str, now: float | None = None) -> str:
    """A folder for a new test; its id.

    Raises:
        ConfigError: the request is no grid.
        OSError: the project's folder can't be written.
    """
    request.plan()
    made_at = time.time() if now is None else now
    stem = f"{safe_stem(request.name)}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(made_at))}"
    home = tests_dir(project)
    home.mkdir(parents=True, exist_ok=True)
    number, id = 1, stem
    while True:
        try:
            (home / id).mkdir()
            break
        except FileExistsError:  # a second one within the second
            number += 1
            id = f"{stem}-{number}"
    write_about(home / id, {"version": 1, "request": request.to_dict(), "base": base, "made_at": made_at})
    return id


def read_about(folder: Path) -> dict[str, Any]:
    """test.json.

    Raises:
        ConfigError: it can't be read.
    """
    try:
        plain = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if isinstance(plain, dict) and isinstance(plain.get("request"), dict):
            return plain
        cause: object = Said(word("it holds no request"))
    except (OSError, ValueError, RecursionError) as problem:
        cause = problem
    raise ConfigError(
        "{file} of the test {id} can't be read: {cause}.", "Start a new test.", file=FILE, id=folder.name, cause=cause
    )


def write_about(folder: Path, values: Mapping[str, Any]) -> None:
    """test.json, whole or not at all."""
    atomic.write_json(folder / FILE, dict(values))


def change_about(folder: Path, **values: Any) -> None:
    """Change single entries of test.json."""
    write_about(folder, {**read_about(folder), **values})


class ScoreBook:
    """scores.json while a test is at work: :class:`lora_forge.evaluate.live.Notes` that are on the disk at once.

    ``store`` says what each cell is drawn from now, ``judges`` who looks at it now, by score.
    """

    def __init__(self, folder: Path, store: CellStore, judges: Mapping[str, str]) -> None:
        self._folder, self._store, self._judges = folder, store, judges
        self.revision, self.cells = read_notes(folder)

    def scores(self, cell: Cell) -> Sequence[PictureScore] | None:
        """What was said of the pictures that are there now, unless other judges, or more of them, look at it now. What
        an earlier judge told that is missing now is still true."""
        note, mark = self.cells.get(cell), self._store.mark(*cell)
        if note is None or note.scores is None or (mark and note.mark != mark):
            return None
        is_same = all(note.judges.get(score) == name for score, name in self._judges.items())
        return note.scores if is_same else None

    def drawn(self, cell: Cell, pictures: Sequence[object]) -> None:
        """Its pictures are there, now or before."""
        names, mark = tuple(path.name for path in self._store.paths(*cell)), self._store.mark(*cell)
        note = self.cells.get(cell)
        if note is None or note.pictures != names or (mark and note.mark != mark):
            self._set(cell, CellNote(self.revision + 1, names, mark))

    def scored(self, cell: Cell, scores: Sequence[PictureScore]) -> None:
        """The present judges have seen it."""
        note = self.cells[cell]
        self._set(cell, CellNote(self.revision + 1, note.pictures, note.mark, dict(self._judges), tuple(scores)))

    def _set(self, cell: Cell, note: CellNote) -> None:
        self.revision += 1
        self.cells[cell] = note
        write_notes(self._folder, self.revision, self.cells)


def write_notes(folder: Path, revision: int, cells: Mapping[Cell, CellNote]) -> None:
    """scores.json, whole or not at all."""
    plain = [
        {
            "epoch": cell[0],
            "strength": cell[1],
            "revision": note.revision,
            "pictures": list(note.pictures),
            "mark": note.mark,
            "judges": dict(note.judges),
            "scores": None if note.scores is None else [score.to_dict() for score in note.scores],
        }
        for cell, note in cells.items()
    ]
    atomic.write_json(folder / SCORES_FILE, {"version": 1, "revision": revision, "cells": plain})


def read_notes(folder: Path) -> tuple[int, dict[Cell, CellNote]]:
    """What :func:`write_notes` wrote; nothing where the file is missing or damaged: the pictures can be looked at
    again."""
    try:
        plain = json.loads((folder / SCORES_FILE).read_text(encoding="utf-8"))
        cells = {(int(one["epoch"]), float(one["strength"])): _note(one) for one in plain["cells"]}
        return int(plain["revision"]), cells
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return 0, {}


def _note(plain: Mapping[str, Any]) -> CellNote:
    scores = plain["scores"]
    return CellNote(
        int(plain["revision"]),
        tuple(os.path.basename(str(name)) for name in plain["pictures"]),
        str(plain["mark"]),
        {str(score): str(name) for score, name in plain["judges"].items()},
        None if scores is None else tuple(PictureScore.from_dict(one) for one in scores),
    )


def load_test(project: Project, id: str) -> KeptTest:
    """The test ``id`` with all that follows from what there is of it by now.

    Raises:
        ConfigError: there is none, or it can't be read.
    """
    folder = test_dir(project, id)
    about = read_about(folder)
    try:
        request = TestRequest.from_dict(project.root, about["request"])
        plan = request.plan()
    except (TypeError, ValueError, AttributeError) as cause:
        raise ConfigError(
            "{file} of the test {id} can't be read: {cause}.", "Start a new test.", file=FILE, id=id, cause=cause
        ) from cause
    revision, notes = read_notes(folder)
    wanted = plan.cells()
    paths = {cell: tuple(folder / CELLS / name for name in note.pictures) for cell, note in notes.items()}
    cells = {cell: found for cell, found in paths.items() if cell in wanted and all(map(Path.is_file, found))}
    scores = {cell: note.scores for cell, note in notes.items() if cell in wanted and note.scores}
    surface = surface_of(plan, scores)
    photos = unpacked_record(PhotoSetFacts, about.get("photos"))
    missing = unpacked_records(Missing, about.get("missing"))
    best = _best(surface, missing)
    return KeptTest(
        project=project,
        id=id,
        folder=folder,
        request=request,
        plan=plan,
        base=str(about.get("base", "")),
        state=_state(folder, about),
        made_at=float(about.get("made_at") or 0.0),
        notes=notes,
        cells=cells,
        revision=revision,
        total=max(int(about.get("total") or 0), len(cells)),
        surface=surface,
        recommendation=best,
        diagnosis=None if best is None else diagnose(surface, best, photos),
        used=unpacked_records(Used, about.get("used")),
        missing=missing,
        photos=photos,
        error=about.get("error"),
    )


def list_tests(project: Project) -> list[KeptTest]:
    """All tests of a project, newest first; damaged ones are left out."""
    found = []
    home = tests_dir(project)
    for folder in home.iterdir() if home.is_dir() else ():
        if not folder.name.startswith(".") and (folder / FILE).is_file():
            with contextlib.suppress(ConfigError):
                found.append(load_test(project, folder.name))
    return sorted(found, key=lambda test: (test.made_at, test.id), reverse=True)


def remove_test(project: Project, id: str) -> Path:
    """Move a test to the project's trash; its new place.

    Raises:
        ConfigError: there is none, or it is at work.
        DatasetError: the folder can't be moved.
    """
    folder = test_dir(project, id)
    if is_claimed(folder):
        raise ConfigError("The test {id} is at work.", "Wait for its end, or stop it.", id=id)
    trash = project.trash_dir / FOLDER
    try:
        trash.mkdir(parents=True, exist_ok=True)
        taken = set(os.listdir(trash))
        names = (id, *(f"{id} ({number})" for number in range(2, len(taken) + 3)))
        place = trash / next(name for name in names if name not in taken)
        os.rename(folder, place)
    except OSError as cause:
        raise DatasetError("{path} can't be moved to the trash: {cause}.", path=id, cause=cause) from cause
    return place


def _state(folder: Path, about: Mapping[str, Any]) -> str:
    if is_claimed(folder):
        return "running"
    return str(about["state"]) if about.get("state") in ENDINGS else "interrupted"


def _best(surface: Surface, missing: Sequence[Missing]) -> Recommendation | None:
    """None until a cell with the LoRA was scored."""
    if not any(strength for _, strength in surface):
        return None
    return recommend(surface, {one.score: one.sentence for one in missing})
