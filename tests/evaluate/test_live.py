"""A scored grid while it grows, on flat colours and a judge with a planted surface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_forge.errors import LoraFileError
from lora_forge.evaluate.cells import CellStore
from lora_forge.evaluate.grid import GridPlan, files_of
from lora_forge.evaluate.live import Cell, LiveGrid
from lora_forge.evaluate.recommend import recommend
from lora_forge.evaluate.scores import Asked, PictureScore
from lora_forge.evaluate.smart import most_cells
from lora_forge.events import CellDrawn, Event, Progress, Warned

from .fake import FlatHost, make_files

PROMPT, SWAPPED = "ohwx <lora:toy-NUM:STRENGTH>", "ohwx, snow <lora:toy-NUM:STRENGTH>"


class Notes:
    def __init__(self) -> None:
        self.seen: dict[Cell, Sequence[PictureScore]] = {}
        self.pictures: dict[Cell, int] = {}

    def scores(self, cell: Cell) -> Sequence[PictureScore] | None:
        return self.seen.get(cell)

    def drawn(self, cell: Cell, pictures: Sequence[Image.Image]) -> None:
        self.pictures[cell] = len(pictures)

    def scored(self, cell: Cell, scores: Sequence[PictureScore]) -> None:
        self.seen[cell] = scores


class Planted:
    """Best at epoch 6 and 0.7: a hill, told by what the host was asked for last."""

    def __init__(self, host: FlatHost) -> None:
        self.host, self.asked = host, list[tuple[int, Asked]]()

    def score(self, images: Sequence[Image.Image], asked: Asked) -> list[PictureScore]:
        self.asked.append((len(images), asked))
        prompt = self.host.asked[-1].prompt
        if "<lora:" not in prompt:
            return [PictureScore(0.1, shown=dict.fromkeys(asked.swaps, 0.9)) for _ in images]
        epoch, _, strength = prompt.rpartition("toy-")[2].rstrip(">").partition(":")
        far = ((int(epoch) - 6) / 6) ** 2 + ((float(strength) - 0.7) / 0.7) ** 2
        obeyed = 0.9 if float(strength) < 0.85 else 0.3
        return [PictureScore(max(0.0, 1 - far), shown=dict.fromkeys(asked.swaps, obeyed)) for _ in images]


def plan_of(**changes: Any) -> GridPlan:
    strengths = tuple(round(tenth / 10, 1) for tenth in range(11))
    values = {"strengths": strengths, "width": 64, "height": 64, "swap_prompt": SWAPPED, "swaps": ("snow",), **changes}
    return GridPlan(PROMPT, **values)


class World:
    def __init__(self, folder: Path, **changes: Any) -> None:
        self.host, self.notes, self.events = FlatHost(), Notes(), list[Event]()
        self.folder, self.dirs = folder, [folder / "loras"]
        self.plan = plan_of(**changes)
        make_files(self.dirs[0], "toy", self.plan.epochs)
        self.judge = Planted(self.host)

    def grid(self, **changes: Any) -> LiveGrid:
        files = files_of(self.plan, self.dirs)
        store = CellStore(self.folder / "cells", self.host.info(), self.plan, files)
        values = {"judge": self.judge, "emit": self.events.append, **changes}
        return LiveGrid(self.host, self.plan, self.dirs, files, store, self.notes, **values)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_smart_grid_finds_the_hill_with_a_third_of_the_cells(world: World) -> None:
    grid = world.grid(is_smart=True)
    assert grid.run()
    cells = list(world.notes.pictures)
    assert cells[0] == (0, 0.0)
    assert len(cells) <= most_cells(world.plan) <= 35
    best = recommend(grid.surface())
    assert abs(best.epoch - 6) <= 1
    assert abs(best.strength - 0.7) <= 0.11


def test_pictures_of_one_prompt_are_looked_at_together(tmp_path: Path) -> None:
    world = World(tmp_path, epochs=(1,), strengths=(0.0, 1.0), seeds=(1, 2, 3))
    grid = world.grid()
    assert grid.run()
    plain, swapped = Asked("ohwx"), Asked("ohwx, snow", ("snow",))
    assert world.judge.asked == [(3, plain), (3, swapped)] * 2
    obedience = grid.surface()[1, 1.0].obedience
    assert obedience is not None
    assert obedience.mean == pytest.approx(0.3 / 0.9)  # beside what the base does
    assert obedience.count == 3


def test_a_stop_between_two_pictures_keeps_them_all(tmp_path: Path) -> None:
    world = World(tmp_path, epochs=(1, 2), strengths=(0.0, 1.0))
    grid = world.grid(should_stop=lambda: len(world.host.asked) >= 3)
    assert not grid.run()
    assert list(world.notes.pictures) == [(0, 0.0)]
    assert world.host.is_closed
    again = world.grid()
    assert again.run()
    prompts = [request.prompt for request in world.host.asked]
    assert len(prompts) == len(set(prompts)) == 6  # the third one, of half a cell, was not drawn again
    assert again.pictures == 3
    assert world.judge.asked.count((1, Asked("ohwx"))) == 3  # what was scored once is not looked at again


def test_the_total_is_what_will_be_drawn(world: World) -> None:
    world.grid(is_smart=True).run()
    drawn = [event for event in world.events if isinstance(event, CellDrawn)]
    assert [event.done for event in drawn] == list(range(1, len(drawn) + 1))
    assert all(event.total == most_cells(world.plan) for event in drawn)
    left = [event.seconds_left for event in world.events if isinstance(event, Progress)]
    assert all(seconds is not None and seconds >= 0 for seconds in left)


def test_a_judge_that_fails_costs_scores_not_pictures(tmp_path: Path) -> None:
    world = World(tmp_path, epochs=(1, 2), strengths=(0.0, 1.0))

    class Broken:
        def score(self, images: Sequence[Image.Image], asked: Asked) -> list[PictureScore]:
            if "000001" in world.host.asked[-1].prompt:
                raise LoraFileError("The judge is ill.")
            return [PictureScore(0.5) for _ in images]

    grid = world.grid(judge=Broken())
    assert grid.run()
    assert len(world.notes.pictures) == 3
    assert set(grid.surface()) == {(0, 0.0), (2, 1.0)}
    (warned,) = (event for event in world.events if isinstance(event, Warned))
    assert warned.message == "Epoch 1 at strength 1 could not be scored: The judge is ill."


@pytest.mark.parametrize("judge", [None, "broken"])
def test_a_smart_grid_that_nobody_scores_comes_to_an_end(world: World, judge: Any) -> None:
    class Broken:
        def score(self, images: Sequence[Image.Image], asked: Asked) -> list[PictureScore]:
            raise LoraFileError("The judge is ill.")

    assert world.grid(judge=Broken() if judge else None, is_smart=True).run()
    assert 0 < len(world.notes.pictures) <= most_cells(world.plan)


def test_only_kept_pictures_are_scored(tmp_path: Path) -> None:
    world = World(tmp_path, epochs=(1, 2), strengths=(0.0, 1.0))
    world.grid(should_stop=lambda: len(world.host.asked) >= 4).run()
    world.notes.seen.clear()
    world.judge.asked.clear()
    assert world.grid(only_kept=True).run()
    assert len(world.host.asked) == 4
    assert set(world.notes.seen) == {(0, 0.0), (1, 1.0)}
