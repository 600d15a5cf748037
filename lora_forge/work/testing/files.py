"""The files of a test: what was asked, its pictures, its scores.

::

    PROJECT/tests/NAME-20261122-235959/test.json     what was asked, the base, the judges, how it ended
                                      /scores.json   what there is of each cell, and what the judges said of it
                                      /cells/*.png   one file a picture
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_forge import atomic
from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError
from lora_forge.evaluate.cells import CellStore
from lora_forge.evaluate.scores import Cell, PictureScore
from lora_forge.i18n import Said, word

FOLDER, FILE, SCORES_FILE, CELLS = "tests", "test.json", "scores.json", "cells"


@dataclass
class CellNote:
    """What there is of a cell. ``mark``: what it was drawn from. ``judges``: names by score. ``scores``: one a picture,
    None until the judges have seen it. ``revision``: when it changed last, in counts of the test."""

    revision: int
    pictures: tuple[str, ...]
    mark: str = ""
    judges: Mapping[str, str] = field(default_factory=dict)
    scores: tuple[PictureScore, ...] | None = None


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
