from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageFont

from lora_forge.evaluate import lettering
from lora_forge.evaluate.grid import Grid, GridPlan
from lora_forge.evaluate.heat import heat_colour, render_heat_map
from lora_forge.evaluate.lettering import text_mask, text_size, wrap
from lora_forge.evaluate.picture import IDENTITY, KEEP, PLAN_KEY, render_grid, save_grid
from lora_forge.evaluate.recommend import Recommendation, recommend
from lora_forge.evaluate.scores import CellScore, PictureScore
from lora_forge.evaluate.xyz import infotext
from lora_forge.events import Event, GridSaved
from lora_forge.i18n import Said

Cell = tuple[int, float]


def grid_of(
    size: tuple[int, int] = (64, 64), strengths: tuple[float, ...] = (0.0, 0.5, 1.0), prompt: str = "x"
) -> Grid:
    """Each cell a colour of its own, one that no label uses."""
    plan = GridPlan(
        f"{prompt} <lora:toy-NUM:STRENGTH>", epochs=(1, 2, 5), strengths=strengths, width=size[0], height=size[1]
    )
    colours = {cell: (20 + 12 * number, 200, 120) for number, cell in enumerate(plan.cells())}
    return Grid(plan, {cell: [Image.new("RGB", size, colour)] for cell, colour in colours.items()})


def places(picture: Image.Image, colour: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """The box of all pixels of exactly this colour."""
    flat = Image.new("RGB", picture.size, colour)
    difference = ImageChops.difference(picture, flat).convert("RGB")
    same = difference.point(lambda value: 0 if value else 255)
    red, green, blue = same.split()
    return ImageChops.darker(ImageChops.darker(red, green), blue).getbbox()


def test_columns_are_epochs_and_rows_are_strengths() -> None:
    grid = grid_of()
    picture = render_grid(grid)
    boxes = {}
    for cell, pictures in grid.cells.items():
        box = places(picture, pictures[0].getpixel((0, 0)))  # type: ignore[arg-type]
        assert box is not None
        assert (box[2] - box[0], box[3] - box[1]) == (128, 128)
        boxes[cell] = box
    for strength in (0.5, 1.0):
        lefts = [boxes[epoch, strength][0] for epoch in (1, 2, 5)]
        assert lefts == sorted(set(lefts))
        assert len({boxes[epoch, strength][1] for epoch in (1, 2, 5)}) == 1
    assert boxes[0, 0.0][1] < boxes[1, 0.5][1] < boxes[1, 1.0][1]
    assert boxes[0, 0.0][0] == boxes[1, 0.5][0] == boxes[1, 1.0][0]


@pytest.mark.parametrize(
    ("size", "shown"),
    [((64, 64), (128, 128)), ((128, 64), (128, 64)), ((48 + 16, 128), (64, 128)), ((512, 768), (512, 768))],
)
def test_small_pictures_grow_by_whole_factors_and_shapes_stay(size: tuple[int, int], shown: tuple[int, int]) -> None:
    grid = grid_of(size, strengths=(1.0,))
    picture = render_grid(grid)
    box = places(picture, grid.cells[1, 1.0][0].getpixel((0, 0)))  # type: ignore[arg-type]
    assert box is not None
    assert (box[2] - box[0], box[3] - box[1]) == shown


def test_a_large_grid_stays_within_bounds() -> None:
    plan = GridPlan("x <lora:toy-NUM:STRENGTH>", epochs=tuple(range(1, 41)), strengths=(1.0,), width=1024, height=1024)
    assert 5500 < render_grid(Grid(plan)).width <= 5620


def test_the_recommended_cell_is_framed() -> None:
    grid = grid_of()
    chosen = Recommendation(2, 0.5, 1.0, Said("Keep it."))
    picture = render_grid(grid, recommendation=chosen)
    frame, cell = places(picture, KEEP), places(picture, grid.cells[2, 0.5][0].getpixel((0, 0)))  # type: ignore[arg-type]
    assert frame is not None
    assert cell is not None
    assert frame[0] < cell[0]
    assert frame[1] < cell[1]
    assert frame[2] > cell[2]
    assert frame[3] > cell[3]
    assert frame[2] - frame[0] < 128 + 20
    assert places(render_grid(grid), KEEP) is None


def test_bars_are_as_long_as_the_scores() -> None:
    grid = grid_of(strengths=(1.0,))
    surface = {
        cell: CellScore.of([PictureScore(identity)])
        for cell, identity in (((1, 1.0), 0.0), ((2, 1.0), 1.0), ((5, 1.0), 0.0))
    }
    picture = render_grid(grid, surface)
    bars = picture.crop((0, 0, picture.width, picture.height - 45))  # without the legend
    full = places(bars, IDENTITY)
    surface[2, 1.0] = CellScore.of([PictureScore(0.5)])
    half = places(render_grid(grid, surface).crop((0, 0, picture.width, picture.height - 45)), IDENTITY)
    assert full is not None
    assert half is not None
    assert (half[2] - half[0]) == pytest.approx((full[2] - full[0]) / 2, abs=1)


def test_undrawn_cells_are_shown_as_such() -> None:
    grid = grid_of()
    del grid.cells[5, 1.0]
    assert render_grid(grid).size == render_grid(grid_of()).size


def test_the_file_carries_plan_and_infotext(tmp_path: Path) -> None:
    grid, events = grid_of(prompt="ohwx, 红裙"), list[Event]()
    save_grid(tmp_path / "out" / "grid.png", grid, events.append, note="base")
    assert events == [GridSaved(tmp_path / "out" / "grid.png", 3, 3)]
    with Image.open(tmp_path / "out" / "grid.png") as picture:
        assert picture.format == "PNG"
        told: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in json.loads(picture.info[PLAN_KEY]).items()
        }
        assert GridPlan(**told) == grid.plan
        assert picture.info["parameters"] == infotext(grid.plan, {"Clip skip": "1"})


def test_lettering_without_a_scalable_font(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow 9.5, or one built without FreeType: the bitmap font, enlarged."""
    bitmap = getattr(ImageFont, "load_default_imagefont", ImageFont.load_default)()  # 9.5 knows no other
    monkeypatch.setattr(lettering, "_font", lambda is_wide, size_px: bitmap)
    small, large = text_mask("epoch 5 红", 11), text_mask("epoch 5 红", 33)
    assert large.height == 3 * small.height
    assert large.width == 3 * small.width
    assert small.getextrema()[1] == 255
    assert render_grid(grid_of(), note="base").width > 400


@pytest.mark.parametrize("words", ["one two three four five six seven eight nine ten", "a" * 200, "红裙" * 60])
def test_lines_fit_and_lose_nothing(words: str) -> None:
    lines = wrap(words, 20, 160, most_lines=100)
    assert all(text_size(line, 20)[0] <= 160 for line in lines)
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")
    short = wrap(words, 20, 160, most_lines=2)
    assert len(short) == 2
    assert short[1].endswith("...")


def test_heat_rises_in_lightness_and_holds_its_ends() -> None:
    def lightness(value: float) -> float:
        red, green, blue = heat_colour(value)
        return 0.299 * red + 0.587 * green + 0.114 * blue

    levels = [lightness(step / 50) for step in range(51)]
    assert all(low < high for low, high in itertools.pairwise(levels))
    assert heat_colour(-1) == heat_colour(0)
    assert heat_colour(2) == heat_colour(1)


def test_heat_maps_show_each_score_in_its_place() -> None:
    surface = {
        (epoch, strength): CellScore.of([PictureScore(identity, obedience=1.0)])
        for epoch, strength, identity in (
            (0, 0.0, 0.0),
            (1, 0.5, 0.25),
            (1, 1.0, 0.5),
            (2, 0.5, 0.625),
            (2, 1.0, 0.875),
        )
    }
    best = recommend(surface)
    picture = render_heat_map(surface, best)
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    boxes = [places(picture, heat_colour(identity)) for identity in (0.0, 0.25, 0.5, 0.625, 0.875)]
    assert all(box is not None for box in boxes)
    none, low, mid, high, top = (box for box in boxes if box is not None)
    assert none[1] < low[1] < mid[1]
    assert none[0] == low[0] == mid[0]
    assert high[0] > low[0]
    assert top[1] > high[1]
    assert render_heat_map(surface, best, scale=2).size == (2 * picture.width, 2 * picture.height)


def test_the_second_prompts_pictures_can_be_shown_instead() -> None:
    plan = GridPlan("x <lora:toy-NUM:STRENGTH>", epochs=(1,), strengths=(1.0,), seeds=(1, 2), width=64, height=64,
                    swap_prompt="x, snow <lora:toy-NUM:STRENGTH>", swaps=("snow",))  # fmt: skip
    colours = [(20, 200, 120), (40, 200, 120), (60, 200, 120), (80, 200, 120)]
    grid = Grid(plan, {(1, 1.0): [Image.new("RGB", (64, 64), colour) for colour in colours]})
    plain, swapped = render_grid(grid), render_grid(grid, shows_swapped=True)
    assert [places(plain, colour) is not None for colour in colours] == [True, False, False, False]
    assert [places(swapped, colour) is not None for colour in colours] == [False, False, True, False]


def test_a_sparse_grid_leaves_its_cells_blank() -> None:
    grid = grid_of()
    del grid.cells[5, 1.0]
    said, blank = render_grid(grid), render_grid(grid, is_sparse=True)
    difference = ImageChops.difference(said, blank).getbbox()
    assert difference is not None
    assert difference[2] - difference[0] < 128  # the words alone


def test_yellow_is_good_where_a_low_score_is() -> None:
    surface = {(1, 1.0): CellScore.of([PictureScore(0.25, copying=1.0)])}
    picture = render_heat_map(surface)
    assert places(picture, heat_colour(0.0)) is not None  # the copied cell is as dark as can be
    clean = render_heat_map({(1, 1.0): CellScore.of([PictureScore(0.25, health=0.5, copying=0.0)])})
    assert places(clean, heat_colour(1.0)) is not None
    assert places(clean, heat_colour(0.0)) is None


def test_a_map_for_each_score_that_was_told() -> None:
    one = render_heat_map({(1, 1.0): CellScore.of([PictureScore(None)])})
    two = render_heat_map({(1, 1.0): CellScore.of([PictureScore(0.5)])})
    four = render_heat_map({(1, 1.0): CellScore.of([PictureScore(0.5, obedience=0.5, copying=0.5)])})
    assert two.size == (2 * one.width, one.height)
    assert four.size == (2 * one.width, 2 * one.height)


def test_cells_that_were_never_scored_have_their_place(tmp_path: Path) -> None:
    plan = GridPlan("x <lora:toy-NUM:STRENGTH>", epochs=(1, 2, 3, 4, 5), strengths=(0.0, 0.5, 1.0))
    surface = {(3, 0.5): CellScore.of([PictureScore(0.5)])}
    assert render_heat_map(surface, plan=plan).width > render_heat_map(surface).width
