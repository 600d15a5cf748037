"""The tests of a project: made, read with all that follows from them, listed, moved to the trash."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge.dataset.checkup.report import Report
from lora_forge.dataset.faces.memory import FOLDER as CHECKUP
from lora_forge.dataset.naming import safe_stem
from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError, DatasetError
from lora_forge.evaluate.diagnose import Diagnosis, diagnose
from lora_forge.evaluate.plan import NO_EPOCH, GridPlan
from lora_forge.evaluate.recommend import Recommendation, recommend
from lora_forge.evaluate.scores import Cell, Surface, surface_of
from lora_forge.train.claim import is_claimed
from lora_forge.work.judging import Missing, PhotoSetFacts, Used
from lora_forge.work.testing.files import (
    CELLS,
    FILE,
    FOLDER,
    SCORES_FILE,
    CellNote,
    read_about,
    read_notes,
    test_dir,
    tests_dir,
    write_about,
)
from lora_forge.work.testing.records import unpacked_record, unpacked_records
from lora_forge.work.testing.request import TestRequest
from lora_forge.work.trashing import to_trash

ENDINGS = ("done", "stopped", "failed")


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


def load_test(project: Project, id: str) -> KeptTest:
    """The test ``id`` with all that follows from what there is of it by now.

    Raises:
        ConfigError: there is none, or it can't be read.
    """
    folder = test_dir(project, id)
    read = _read(
        folder, tuple(map(_stamp, (folder / FILE, folder / SCORES_FILE, project.root / CHECKUP / "report.json")))
    )
    about, wanted = read.about, set(read.plan.cells())
    paths = {cell: tuple(folder / CELLS / name for name in note.pictures) for cell, note in read.notes.items()}
    cells = {cell: found for cell, found in paths.items() if cell in wanted and all(map(Path.is_file, found))}
    return KeptTest(
        project=project,
        id=id,
        folder=folder,
        request=read.request,
        plan=read.plan,
        base=str(about.get("base", "")),
        state=_state(folder, about),
        made_at=float(about.get("made_at") or 0.0),
        notes=read.notes,
        cells=cells,
        revision=read.revision,
        total=max(int(about.get("total") or 0), len(cells)),
        surface=read.surface,
        recommendation=read.best,
        diagnosis=read.diagnosis,
        used=unpacked_records(Used, about.get("used")),
        missing=read.missing,
        photos=read.photos,
        error=about.get("error"),
    )


@dataclass(frozen=True)
class _Read:
    """What the files of a test say, and what follows from that alone."""

    about: Mapping[str, Any]
    request: TestRequest
    plan: GridPlan
    revision: int
    notes: Mapping[Cell, CellNote]
    surface: Surface
    missing: tuple[Missing, ...]
    photos: PhotoSetFacts | None
    best: Recommendation | None
    diagnosis: Diagnosis | None


@functools.lru_cache(maxsize=64)
def _read(folder: Path, stamps: tuple[object, ...]) -> _Read:
    """Once for each content (``stamps``): a page asks every second, and lists of tests ask for all of them."""
    about = read_about(folder)
    root = folder.parent.parent
    try:
        request = TestRequest.from_dict(root, about["request"])
        plan = request.plan()
    except (TypeError, ValueError, AttributeError) as cause:
        raise ConfigError(
            "{file} of the test {id} can't be read: {cause}.",
            "Start a new test.",
            file=FILE,
            id=folder.name,
            cause=cause,
        ) from cause
    revision, notes = read_notes(folder)
    wanted = set(plan.cells())
    surface = surface_of(plan, {cell: note.scores for cell, note in notes.items() if cell in wanted and note.scores})
    photos = unpacked_record(PhotoSetFacts, about.get("photos"))
    missing = unpacked_records(Missing, about.get("missing"))
    best = _best(surface, missing)
    diagnosis = None if best is None else diagnose(surface, best, photos, _blurred(root))
    return _Read(about, request, plan, revision, notes, surface, missing, photos, best, diagnosis)


def _blurred(root: Path) -> tuple[str, ...]:
    """Keys of the photos that the last checkup calls blurred, of those that are still there."""
    try:
        project = Project.load(root)
        report = Report.load(project)
        found = report.finding("blur").photos if report is not None else ()
    except DatasetError:
        return ()
    return tuple(key for key in found if (project.images_dir / key).is_file())


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


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
    return to_trash(project, folder, FOLDER)


def _state(folder: Path, about: Mapping[str, Any]) -> str:
    if is_claimed(folder):
        return "running"
    return str(about["state"]) if about.get("state") in ENDINGS else "interrupted"


def _best(surface: Surface, missing: Sequence[Missing]) -> Recommendation | None:
    """None until a cell with the LoRA was scored."""
    if not any(strength for _, strength in surface):
        return None
    return recommend(surface, {one.score: one.sentence for one in missing})
