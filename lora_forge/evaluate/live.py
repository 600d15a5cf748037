"""A scored grid while it grows: cells are drawn, looked at as they arrive, and what to draw next follows from that."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from PIL.Image import Image

from lora_forge.errors import LoraFileError, LoraForgeError
from lora_forge.evaluate.cells import CellStore
from lora_forge.evaluate.grid import files_there
from lora_forge.evaluate.plan import NO_EPOCH, GridPlan, file_stem
from lora_forge.evaluate.scores import Judge, PictureScore, Surface, judge_cell, surface_of
from lora_forge.evaluate.smart import most_cells, next_cells
from lora_forge.events import CellDrawn, CellScored, Emit, Progress, StageDone, StageStarted, Warned
from lora_forge.i18n import Text, some_of, word
from lora_forge.ports import Host

Cell = tuple[int, float]

_GONE = word("No longer there: {files}. Cells that are drawn stay, the others are left out.")
_DONE = word("{done} of {total} cells, {pictures} picture(s) each")
_UNSCORED = word("Epoch {epoch} at strength {strength} could not be scored: {problem}")


class Notes(Protocol):
    """What is known of a grid's cells, kept as it comes."""

    def scores(self, cell: Cell) -> Sequence[PictureScore] | None:
        """What the present judges said of the pictures that are there now; None where they have not seen them."""
        ...

    def drawn(self, cell: Cell, pictures: Sequence[Image]) -> None:
        """All pictures of a cell are there."""
        ...

    def scored(self, cell: Cell, scores: Sequence[PictureScore]) -> None:
        """The judges have looked at it."""
        ...


@dataclass
class LiveGrid:
    """Draws and scores the cells of ``plan``, which has its LoRA's name. ``store`` gives back pictures that are there
    already, ``notes`` their scores. ``files``: by epoch; an epoch without one is not drawn. ``only_kept``: draws
    nothing, only scores what is there. ``seconds`` and ``pictures``: what drawing and looking took until now."""

    host: Host
    plan: GridPlan
    lora_dirs: Sequence[Path]
    files: Mapping[int, Path]
    store: CellStore
    notes: Notes
    judge: Judge | None
    emit: Emit
    should_stop: Callable[[], bool] = lambda: False
    is_smart: bool = False
    only_kept: bool = False
    seconds: float = 0.0
    pictures: int = 0
    _drawn: set[Cell] = field(default_factory=set)
    _scores: dict[Cell, Sequence[PictureScore]] = field(default_factory=dict)

    def run(self) -> bool:
        """Draw and score until nothing is wanted any more; False when it was stopped before. The baseline comes first.

        Raises:
            LoraFileError: a LoRA can't be used. One that was removed meanwhile is said, and left out.
        """
        self.emit(StageStarted("grid", self._total(()), "cells"))
        if not self._take_back():
            return False
        while wanted := self._wanted():
            if not self._draw(wanted):
                return False
        values = {"done": len(self._drawn), "total": len(self.plan.cells()), "pictures": self.plan.pictures_a_cell}
        self.emit(StageDone("grid", _DONE, values))
        return True

    def surface(self) -> Surface:
        """The scores until now."""
        return surface_of(self.plan, self._scores)

    def _take_back(self) -> bool:
        """Cells that are drawn already; those that the present judges have not seen are scored."""
        for cell in self.plan.cells():
            if self.should_stop():
                return False
            pictures = self.store.load(*cell)
            if pictures is not None:
                self._arrived(cell, pictures, self._total(()))
        return True

    def _wanted(self) -> list[Cell]:
        if self.only_kept:
            return []
        cells = [cell for cell in self._reachable() if cell not in self._drawn]
        if not self.is_smart or not cells:
            return cells
        room = most_cells(self.plan) - len(self._drawn)  # counted here too: what was not scored is not seen there
        if room <= 0:
            return []
        unusable = {cell for cell in self.plan.cells() if cell not in self._scores} - set(cells) | self._drawn
        chosen = set(next_cells(self.plan, self.surface(), unusable))
        return [cell for cell in cells if cell in chosen][:room]  # in drawing order: one file after the other

    def _reachable(self) -> list[Cell]:
        return [cell for cell in self.plan.cells() if cell[0] == NO_EPOCH or cell[0] in self.files]

    def _total(self, wanted: Sequence[Cell]) -> int:
        most = 0 if self.only_kept else len(self._reachable())
        expected = min(most, most_cells(self.plan)) if self.is_smart else most
        return max(len(self._drawn) + len(wanted), expected)

    def _draw(self, cells: Sequence[Cell]) -> bool:
        """False when it was stopped."""
        kept = {cell: self.store.load_each(*cell) for cell in cells}
        missing = [
            (cell, number, request)
            for cell in cells
            for number, request in enumerate(self.plan.requests(*cell))
            if kept[cell][number] is None
        ]
        drawn = self.host.draw([request for _, _, request in missing], self.lora_dirs, self.should_stop)
        try:
            for number, (cell, place, _) in enumerate(missing):
                if self.should_stop():
                    return False
                self._draw_one(drawn, cell, place, kept[cell])
                if number + 1 == len(missing) or missing[number + 1][0] != cell:
                    self._finish(cell, kept[cell], cells)
        except (LoraFileError, OSError):
            if not self._lost_files():
                raise
        finally:
            if isinstance(drawn, Generator):  # gives the checkpoint back now, not when the collector comes by
                drawn.close()
        return True

    def _draw_one(self, drawn: Iterator[Image], cell: Cell, place: int, kept: list[Image | None]) -> None:
        started = time.monotonic()
        picture = next(drawn)
        self.store.save_one(*cell, place, picture)
        kept[place] = picture
        self.seconds += time.monotonic() - started
        self.pictures += 1

    def _finish(self, cell: Cell, kept: Sequence[Image | None], wanted: Sequence[Cell]) -> None:
        started = time.monotonic()
        left = [one for one in wanted if one not in self._drawn and one != cell]
        total = max(self._total(()), len(self._drawn) + 1 + len(left))
        self._arrived(cell, [picture for picture in kept if picture is not None], total)
        self.seconds += time.monotonic() - started
        pictures_left = (total - len(self._drawn)) * self.plan.pictures_a_cell
        self.emit(Progress("grid", len(self._drawn), total, self.seconds / self.pictures * pictures_left))

    def _arrived(self, cell: Cell, pictures: Sequence[Image], total: int) -> None:
        """All of a cell's pictures are there, drawn now or before."""
        self._drawn.add(cell)
        self.notes.drawn(cell, pictures)
        self.emit(CellDrawn(*cell, len(self._drawn), total))
        scores = self.notes.scores(cell)
        if scores is None and self.judge is not None:
            scores = self._look(self.judge, cell, pictures)
            if scores is not None:
                self.notes.scored(cell, scores)
        if scores is not None:
            self._scores[cell] = scores
            self.emit(CellScored(*cell))

    def _look(self, judge: Judge, cell: Cell, pictures: Sequence[Image]) -> list[PictureScore] | None:
        """A judge that fails costs this cell its scores, not the grid its pictures."""
        try:
            return judge_cell(judge, pictures, self.plan.asked())
        except (LoraForgeError, OSError) as problem:
            self.emit(Warned(_UNSCORED, {"epoch": cell[0], "strength": f"{cell[1]:g}", "problem": problem}))
            return None

    def _lost_files(self) -> bool:
        """Whether files were removed since the beginning; their epochs are then left out."""
        there, _ = files_there(self.plan, self.lora_dirs)
        lost = [epoch for epoch in self.files if epoch not in there]
        if lost:
            self.emit(Warned(_GONE, {"files": gone_said(self.plan, lost)}))
            self.files = {epoch: path for epoch, path in self.files.items() if epoch in there}
        return bool(lost)


def gone_said(plan: GridPlan, epochs: Sequence[int]) -> Text:
    """The names of files that are missing."""
    return some_of([f"{file_stem(plan.name, epoch)}.safetensors" for epoch in epochs])
