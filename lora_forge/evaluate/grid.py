"""Draw the pictures of a grid, file by file, so that it can be watched, stopped and taken up again."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL.Image import Image

from lora_forge.errors import LoraFileError
from lora_forge.evaluate.cells import CellStore
from lora_forge.evaluate.lora_tags import find_lora
from lora_forge.evaluate.plan import NO_EPOCH, GridPlan, file_stem, parse_range, parse_strengths
from lora_forge.events import CellDrawn, Emit, Progress, StageDone, StageStarted
from lora_forge.i18n import Said, word
from lora_forge.ports import GaveUpError, Host

__all__ = ["NO_EPOCH", "Grid", "GridPlan", "draw_grid", "parse_range", "parse_strengths"]

_REUSED = word("{done} of {total} cells, {pictures} picture(s) each; {reused} taken from an earlier drawing")


@dataclass
class Grid:
    """The pictures of a plan. ``cells``: (epoch, strength) to one picture a request; the baseline is (0, 0.0)."""

    plan: GridPlan
    cells: dict[tuple[int, float], list[Image]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """False when drawing was stopped before the last cell."""
        return all(cell in self.cells for cell in self.plan.cells())

    def pictures(self, epoch: int, strength: float) -> list[Image]:
        """The pictures of a cell, empty when it is not drawn; strength 0 is the same baseline for every epoch."""
        return self.cells.get((epoch, strength) if strength else (NO_EPOCH, 0.0), [])


def draw_grid(
    host: Host,
    plan: GridPlan,
    lora_dirs: Sequence[Path],
    name: str,
    emit: Emit,
    should_stop: Callable[[], bool] = lambda: False,
    cells_dir: Path | None = None,
) -> Grid:
    """Draw every cell of ``plan`` for the LoRA ``name``.

    Pictures are drawn file by file: strengths of one file need no reloading. With ``cells_dir`` each cell is kept on
    disk as it arrives, and a later call with the same plan, base and files takes it from there.

    Args:
        should_stop: asked before every cell; true ends the drawing, and the grid holds what there is.

    Raises:
        LoraFileError: epoch files are missing; all of them are named, before anything is drawn.
        ConfigError: the plan's prompt asks for another LoRA.
    """
    plan = plan.named(name)
    store = CellStore(cells_dir, host.info(), plan, files_of(plan, lora_dirs))
    grid, wanted = Grid(plan), plan.cells()
    emit(StageStarted("grid", len(wanted), "cells"))
    for cell in wanted:
        kept = store.load(*cell)
        if kept is not None:
            grid.cells[cell] = kept
            emit(CellDrawn(*cell, len(grid.cells), len(wanted)))
    reused, started = len(grid.cells), time.monotonic()
    missing = [cell for cell in wanted if cell not in grid.cells]
    for cell, pictures in _draw(host, plan, missing, lora_dirs, should_stop):
        store.save(*cell, pictures)
        grid.cells[cell] = pictures
        done = len(grid.cells)
        seconds_left = (time.monotonic() - started) / (done - reused) * (len(wanted) - done)
        emit(CellDrawn(*cell, done, len(wanted)))
        emit(Progress("grid", done, len(wanted), seconds_left))
    emit(_done(grid, len(wanted), reused))
    return grid


def _draw(
    host: Host,
    plan: GridPlan,
    cells: Sequence[tuple[int, float]],
    lora_dirs: Sequence[Path],
    should_stop: Callable[[], bool],
) -> Iterator[tuple[tuple[int, float], list[Image]]]:
    """Cell by cell out of one call of the host, which can then keep a file in place while strengths change."""
    if not cells:
        return
    drawn = host.draw([request for cell in cells for request in plan.requests(*cell)], lora_dirs, should_stop)
    try:
        for cell in cells:
            if should_stop():
                return
            yield cell, list(itertools.islice(drawn, plan.pictures_a_cell))
    except GaveUpError:
        return
    finally:
        if isinstance(drawn, Generator):  # gives the checkpoint back now, not when the collector comes by
            drawn.close()


def files_there(plan: GridPlan, lora_dirs: Sequence[Path]) -> tuple[dict[int, Path], tuple[int, ...]]:
    """The files of a plan by epoch, and the epochs that have none.

    Raises:
        LoraFileError: a file is there twice.
    """
    if not any(plan.strengths):
        return {}, ()
    files: dict[int, Path] = {}
    missing: list[int] = []
    for epoch in plan.epochs:
        try:
            files[epoch] = find_lora(file_stem(plan.name, epoch), lora_dirs)
        except LoraFileError as cause:
            if "first" in cause.values:  # there twice, not missing
                raise
            missing.append(epoch)
    return files, tuple(missing)


def files_of(plan: GridPlan, lora_dirs: Sequence[Path]) -> dict[int, Path]:
    """The files of a plan by epoch.

    Raises:
        LoraFileError: some are missing, and all of those are named; or one is there twice.
    """
    files, gone = files_there(plan, lora_dirs)
    missing = [f"{file_stem(plan.name, epoch)}.safetensors" for epoch in gone]
    if missing:
        raise LoraFileError(
            "The grid needs files that are not there: {missing}. Looked in {places}.",
            "Ask for the epochs that were trained, or check the name and the folder.",
            missing=", ".join(missing),
            places=", ".join(map(str, lora_dirs)) or Said("no folder at all"),
        )
    return files


def _done(grid: Grid, wanted: int, reused: int) -> StageDone:
    values = {"done": len(grid.cells), "total": wanted, "pictures": grid.plan.pictures_a_cell, "reused": reused}
    template = _REUSED if reused else "{done} of {total} cells, {pictures} picture(s) each"
    return StageDone("grid", template, values)
