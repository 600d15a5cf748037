"""The test as a job: cells drawn by the host, looked at by the judges, kept at once; stopped, and taken up again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from lora_forge.config import Family
from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError, LoraFileError, TrainingError
from lora_forge.evaluate.cells import CellStore
from lora_forge.evaluate.grid import files_of, files_there
from lora_forge.evaluate.live import LiveGrid, gone_said
from lora_forge.evaluate.scores import Cell
from lora_forge.events import CommandBox, Emit, Event, Progress, Recommended, StageStarted, Warned, text_of
from lora_forge.i18n import Said, word
from lora_forge.ports import BaseInfo, Desk, GaveUpError
from lora_forge.train.claim import claimed
from lora_forge.work.judging import Judging, judging
from lora_forge.work.packing import packed
from lora_forge.work.testing.files import CELLS, ScoreBook, change_about, read_about, test_dir
from lora_forge.work.testing.records import packed_record
from lora_forge.work.testing.request import TestRequest
from lora_forge.work.testing.store import KeptTest, create, load_test

_GONE = word("No longer there: {files}. Cells that are drawn stay, the others are left out.")


def new_test(desk: Desk, request: TestRequest) -> str:
    """Look whether the test can be made, and make its folder; its id. Nothing is drawn yet.

    Raises:
        CheckpointError: no checkpoint is loaded.
        ConfigError: the request is no grid.
        LoraFileError: a file is missing.
        OSError: the project's folder can't be written.
    """
    project, plan = Project.load(request.project), request.plan()
    files_of(plan, [desk.lora_dir()])
    return create(project, request, desk.info().name)


def check_resumable(desk: Desk, test: KeptTest) -> None:
    """Nothing, if the test could go on now.

    Raises:
        CheckpointError: no checkpoint is loaded.
        ConfigError: another checkpoint is loaded than the one it is drawn with.
    """
    if test.request.mode == "xyz":
        return
    loaded = desk.info().name
    if test.base and loaded != test.base:
        raise ConfigError(
            "This test is drawn with the checkpoint {base}, and {loaded} is loaded.",
            "Load {base}, or start a new test.",
            base=test.base,
            loaded=loaded,
        )


def run_test(
    desk: Desk, project: Project, id: str, emit: Emit, commands: CommandBox, *, draws_all: bool = False
) -> str:
    """Draw and score what is missing of the test ``id``; ``done`` or ``stopped``.

    A stop is obeyed between two pictures, and everything until then is kept. Cells that are there already, drawn from
    the same files, are taken as they are, their scores too. With ``draws_all`` a smart grid becomes a full one. Of a
    grid that the host drew itself (mode ``xyz``) only the scores are made.

    Raises:
        ConfigError: there is no such test, it is at work already, or another checkpoint is loaded.
        LoraForgeError: as the host's drawing does; what was drawn until then is kept.
    """
    folder = test_dir(project, id)
    with _alone(folder, id), _ending(folder) as ending:
        if draws_all:
            _draw_all(folder)
        test = load_test(project, id)
        check_resumable(desk, test)
        ending.outcome = _Job(desk, test, emit, commands).run()
        return ending.outcome


@dataclass
class _Ending:
    outcome: str = "failed"


@contextlib.contextmanager
def _alone(folder: Path, id: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(claimed(folder))
        except TrainingError as cause:
            raise ConfigError("The test {id} is at work.", "Wait for its end, or stop it.", id=id) from cause
        yield


@contextlib.contextmanager
def _ending(folder: Path) -> Iterator[_Ending]:
    """Keeps in test.json how it ended; where the program dies before, nothing is said there, and that tells it."""
    ending = _Ending()
    change_about(folder, state="running", error=None)
    try:
        yield ending
    except BaseException as cause:
        with contextlib.suppress(OSError, ConfigError):  # the first error is the one to be heard
            error = packed(text_of(cause)) if isinstance(cause, Exception) else None
            change_about(folder, state="failed", error=error)
        raise
    change_about(folder, state=ending.outcome)


def _draw_all(folder: Path) -> None:
    request = read_about(folder)["request"]
    if request.get("mode") == "smart":
        change_about(folder, request={**request, "mode": "full"})


class _Job:
    def __init__(self, desk: Desk, test: KeptTest, emit: Emit, commands: CommandBox) -> None:
        self._desk, self._test, self._commands = desk, test, commands
        self._say = emit

    def run(self) -> str:
        test, dirs = self._test, [self._desk.lora_dir()]
        try:
            judges = self._judges()
        except GaveUpError:
            return "stopped"
        files: Mapping[int, Path] = {}
        if test.request.mode != "xyz":
            files, gone = files_there(test.plan, dirs)
            if gone:
                self._say(Warned(_GONE, {"files": gone_said(test.plan, gone)}))
            if not files and not test.cells and any(test.plan.strengths):
                raise LoraFileError("There is no file for {missing}.", missing=gone_said(test.plan, gone))
        store = _store(None if test.request.mode == "xyz" else self._desk, test, files)
        names: dict[str, str] = {used.score: str(used.name) for used in judges.used}
        book = ScoreBook(test.folder, store, names)
        grid = LiveGrid(
            host=self._desk,
            plan=test.plan,
            lora_dirs=dirs,
            files=files,
            store=store,
            notes=book,
            judge=judges.judge,
            emit=self._emit,
            should_stop=self._commands.asks_to_stop,
            is_smart=test.request.mode == "smart",
            only_kept=test.request.mode == "xyz",
        )
        try:
            is_whole = grid.run()
        except GaveUpError:
            is_whole = False
        finally:
            self._note_pace(grid)
        self._recommend()
        return "done" if is_whole else "stopped"

    def _judges(self) -> Judging:
        test = self._test
        found = judging(self._desk, test.project, test.request.kind, self._emit, self._commands.asks_to_stop)
        change_about(
            test.folder,
            used=[packed_record(one) for one in found.used],
            missing=[packed_record(one) for one in found.missing],
            photos=packed_record(found.photos),
        )
        for one in found.missing:
            self._say(Warned("{text}", {"text": one.sentence}))
        return found

    def _emit(self, event: Event) -> None:
        """On to the board; the host's bar moves too."""
        self._say(event)
        if isinstance(event, StageStarted) and event.stage == "grid":
            self._note_total(event.total)
        if isinstance(event, Progress):
            self._desk.report(event.done, event.total, f"LoRA Forge: {self._test.request.name}, {event.stage}")
            if event.stage == "grid":
                self._note_total(event.total)

    def _note_total(self, total: int) -> None:
        if read_about(self._test.folder).get("total") != total:
            change_about(self._test.folder, total=total)

    def _note_pace(self, grid: LiveGrid) -> None:
        """How long a picture took here, for the next test's estimate."""
        if grid.pictures:
            plan = self._test.plan
            pace: dict[str, Any] = {
                "base": self._test.base,
                "pixels": plan.width * plan.height,
                "steps": plan.steps,
                "seconds": grid.seconds / grid.pictures,
            }
            with contextlib.suppress(OSError):
                change_about(self._test.folder, pace=pace)

    def _recommend(self) -> None:
        test = load_test(self._test.project, self._test.id)
        if test.recommendation is not None:
            best = test.recommendation
            self._say(Recommended(best.epoch, best.strength, best.sentence))


def keep_cell(project: Project, id: str, cell: Cell, pictures: Sequence[Image]) -> None:
    """Put pictures that the host drew itself into a test of mode ``xyz``: one a request of its plan, in that order."""
    test = load_test(project, id)
    store = _store(None, test, {})
    store.save(*cell, pictures)
    ScoreBook(test.folder, store, {}).drawn(cell, pictures)


def _store(desk: Desk | None, test: KeptTest, files: Mapping[int, Path]) -> CellStore:
    """With a checkpoint of no name where the host drew: nothing is known of it but what its picture tells."""
    base = BaseInfo(test.base, Family.SD1, "epsilon", Said("")) if desk is None else desk.info()
    return CellStore(test.folder / CELLS, base, test.plan, files)
