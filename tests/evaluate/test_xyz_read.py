"""Grids laid out as the hosts lay them out, read back to the pixel; and what is refused, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_forge.errors import ConfigError
from lora_forge.evaluate.plan import GridPlan
from lora_forge.evaluate.xyz import axes_of, csv_line, infotext, quote
from lora_forge.evaluate.xyz_read import axes_of_file, parse_axes, parse_infotext, read_host_grid
from tests.evaluate.host_grid import cell_picture, rendered, save, told, with_text

TAG = "<lora:x-000001:0.5>"
PROMPT = f"ohwx, {TAG}, a red house"
X, Y = '"000001, 000002, 000003"', '"0.5, 1.0"'


def pictures(columns: int, rows: int, size: tuple[int, int] = (64, 64)) -> list[list[Image.Image]]:
    return [[cell_picture(column, row, size) for column in range(columns)] for row in range(rows)]


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("margin", [0, 2, 30])
@pytest.mark.parametrize("has_legend", [True, False])
@pytest.mark.parametrize(("columns", "rows"), [(3, 2), (1, 2), (3, 1), (1, 1)])
def test_every_cell_is_where_it_was(columns: int, rows: int, has_legend: bool, margin: int) -> None:
    across, down = ["000001", "000002", "000003"][:columns], ["0.5", "1.0"][:rows]
    shown = pictures(columns, rows)
    text = told(PROMPT, quote(", ".join(across)), quote(", ".join(down)))
    read = read_host_grid(with_text(rendered(shown, across, down, margin, has_legend), text))
    assert read.left_out == 0
    assert set(read.pictures) == {(e + 1, s) for e in range(columns) for s in (0.5, 1.0)[:rows]}
    for (epoch, strength), picture in read.pictures.items():
        assert same(picture, shown[int(strength == 1.0)][epoch - 1])


def test_what_is_not_in_the_axes_comes_from_the_text() -> None:
    plan, base = (axes := parse_axes(told(PROMPT, X, Y, Clip_skip="2"))).plan, axes.base
    assert plan == GridPlan(
        prompt="ohwx, <lora:x-NUM:STRENGTH>, a red house",
        negative_prompt="blurry, (ugly:1.2)",
        epochs=(1, 2, 3),
        strengths=(0.5, 1.0),
        seeds=(11,),
        width=64,
        height=64,
        steps=4,
        guidance=7.0,
        sampler="dpmpp_2m",
        clip_skip=2,
    )
    assert base == "v1-5"


@pytest.mark.parametrize(
    ("prompt", "x", "y"),
    [
        (PROMPT, "000001, 000002", "0.5, 1.0"),
        ("ohwx <lora:x-000001:0.5>", "x-000001, x-000002", ":0.5>, :1.0>"),
        ("<lora:x-000001:0.5> ohwx", "<lora:x-000001:, <lora:x-000002:", "0.5, 1"),
        ("ohwx <lora:x-000001:0.50>", "1, 2", ".50, .5, 1.0"),  # ".50" first, so that 1.0 gives 01.0: refused below
        ("a <lora:x-000001:.5> b", "0001, 0002", ".5, 1"),
        ("ohwx <lora:x-000001:1> <lora:style:0.8>", "x-000001:1, x-000001:0.5, x-000002:1, x-000002:0.5", ""),
        ("<lora:style-000007:0.8> <lora:x-000001:0.5>", "x-000001, x-000002", "0.5, 1.0"),
    ],
)
def test_axes_may_be_written_in_many_ways(prompt: str, x: str, y: str) -> None:
    if x == "1, 2":  # hits the 1 of 000001 and nothing else here
        y = "0.50, 1.0"
    more = {} if y else {"Y_Type": ""}
    axes = parse_axes(told(prompt, quote(x), quote(y), **more))
    assert axes.plan.name == "x"
    assert set(axes.cells.values()) == {(1, 0.5), (1, 1.0), (2, 0.5), (2, 1.0)}


def test_words_in_the_place_of_a_number_are_no_cells() -> None:
    """As guides teach it: the first column and row are drawn without a file, so they tell nothing."""
    x, y = "NUM, 000001, 000002", "STRENGTH, 0.5, 1.0"
    prompt, shown = "ohwx <lora:x-NUM:STRENGTH>", pictures(3, 3)
    text = told(prompt, quote(x), quote(y))
    read = read_host_grid(with_text(rendered(shown, x.split(", "), y.split(", ")), text))
    assert read.axes.plan.prompt == prompt
    assert read.left_out == 5
    assert set(read.pictures) == {(1, 0.5), (2, 0.5), (1, 1.0), (2, 1.0)}
    assert same(read.pictures[2, 1.0], shown[2][2])


def test_strength_0_is_one_baseline() -> None:
    shown = pictures(2, 2)
    prompt = "ohwx <lora:x-000001:0.0>"
    text = told(prompt, '"000001, 000002"', '"0.0, 1.0"')
    read = read_host_grid(with_text(rendered(shown, ["000001", "000002"], ["0.0", "1.0"]), text))
    assert set(read.pictures) == {(0, 0.0), (1, 1.0), (2, 1.0)}
    assert same(read.pictures[0, 0.0], shown[0][0])
    assert read.axes.plan.strengths == (0.0, 1.0)


@pytest.mark.parametrize("more", [{"Hires_upscale": "2"}, {"Hires_resize": "128x192"}])
def test_pictures_of_the_hires_pass_are_found(more: dict[str, str]) -> None:
    shown = pictures(2, 2, (128, 192))
    text = told("<lora:x-000001:0.5>", '"000001, 000002"', '"0.5, 1.0"', Size="64x96", **more)
    read = read_host_grid(with_text(rendered(shown, ["000001", "000002"], ["0.5", "1.0"]), text))
    assert same(read.pictures[2, 1.0], shown[1][1])
    assert (read.axes.plan.width, read.axes.plan.height) == (64, 96)


@pytest.mark.parametrize("factor", [0.5, 0.73, 1.9])
@pytest.mark.parametrize("margin", [0, 40])
@pytest.mark.parametrize("has_legend", [True, False])
def test_a_file_that_was_scaled_as_a_whole(has_legend: bool, margin: int, factor: float) -> None:
    """Each picture is still nearly what it was, to the scaling."""
    shown = [[blob(column, row) for column in range(4)] for row in range(3)]
    across, down = ["000001", "000002", "000003", "000004"], ["0.5", "0.8", "1.0"]
    grid = rendered(shown, across, down, margin, has_legend)
    size = round(grid.width * factor), round(grid.height * factor)
    text = told("<lora:x-000001:0.5>", quote(", ".join(across)), quote(", ".join(down)), Size="256x256")
    read = read_host_grid(with_text(grid.resize(size, Image.Resampling.LANCZOS), text))
    assert len(read.pictures) == 12
    for (epoch, strength), picture in read.pictures.items():
        wanted = shown[[0.5, 0.8, 1.0].index(strength)][epoch - 1].resize(picture.size, Image.Resampling.LANCZOS)
        assert abs(picture.width - 256 * factor) <= 1.5
        assert difference(picture, wanted) < 6


def blob(column: int, row: int) -> Image.Image:
    """A smooth picture of its own, that fills itself to the edge."""
    small = np.random.default_rng(column * 10 + row).integers(0, 180, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((256, 256), Image.Resampling.BICUBIC)


def difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


def test_black_pictures_of_an_interrupted_grid_are_left_out() -> None:
    shown = pictures(3, 2)
    shown[1][1] = shown[1][2] = Image.new("RGB", (64, 64))
    text = told(PROMPT, X, Y)
    read = read_host_grid(with_text(rendered(shown, ["000001", "000002", "000003"], ["0.5", "1.0"]), text))
    assert read.left_out == 2
    assert set(read.pictures) == {(1, 0.5), (2, 0.5), (3, 0.5), (1, 1.0)}


def test_a_grid_of_our_own_text_is_read_back(tmp_path: Path) -> None:
    plan = GridPlan("ohwx, <lora:a b-NUM:STRENGTH>", epochs=(1, 2, 10), strengths=(0.1, 0.8), width=64, height=64)
    axes, shown = axes_of(plan), pictures(3, 2)
    path = save(tmp_path / "grid.png", rendered(shown, axes.x, axes.y), infotext(plan))
    assert axes_of_file(path).plan == plan
    read = read_host_grid(path)
    assert same(read.pictures[10, 0.1], shown[0][2])


def test_a_jpeg_tells_in_exif() -> None:
    shown = [[blob(column, row) for column in range(2)] for row in range(2)]
    text = told("<lora:x-000001:0.5>", '"000001, 000002"', '"0.5, 1.0"', Size="256x256")
    exif, file = Image.Exif(), BytesIO()
    exif[0x8769] = {0x9286: b"UNICODE\0" + text.encode("utf-16-be")}  # Pillow 9 and 12 write both so
    rendered(shown, ["000001", "000002"], ["0.5", "1.0"]).save(file, "JPEG", quality=80, exif=exif)
    read = read_host_grid(file.getvalue())
    assert difference(read.pictures[2, 1.0], shown[1][1]) < 4


def refused(file: bytes | str) -> str:
    with pytest.raises(ConfigError, match="This grid can't be read") as caught:
        parse_axes(file) if isinstance(file, str) else read_host_grid(file)
    return caught.value.message()


def test_what_is_no_such_grid_is_refused_with_its_reason() -> None:
    plain = rendered(pictures(3, 2), ["000001", "000002", "000003"], ["0.5", "1.0"])
    file = BytesIO()
    plain.save(file, "PNG")
    assert "no text of how it was made" in refused(file.getvalue())
    assert "no picture that can be opened" in refused(b"GIF89a but no more")
    assert "no picture that can be opened" in refused(with_text(plain, told(PROMPT, X, Y))[:-300])
    assert "no X/Y/Z plot" in refused(with_text(plain, "a house\nSteps: 4, Seed: 1, Size: 64x64"))
    assert "third axis" in refused(told(PROMPT, X, Y, Z_Type="Seed", Z_Values='"1, 2"'))
    assert "X axis is Seed" in refused(told(PROMPT, X, Y, X_Type="Seed"))
    assert "axis (000009) is not in its prompt" in refused(told(PROMPT, '"000009, 000002"', Y))
    assert "several LoRAs (x, y)" in refused(told(f"{PROMPT} <lora:y-000001:1>", X, Y))
    assert "epochs are told by such names" in refused(told("ohwx <lora:x:0.5>", "x, y", Y))
    assert "other words of the prompt" in refused(told(f"{PROMPT} 0.5", X, Y))
    assert "tells no size" in refused(told(PROMPT, X, Y, Size=""))
    assert "can't be read (invalid literal" in refused(told(PROMPT, X, Y, Seed="many"))
    assert "do not fit" in refused(with_text(plain.resize((123, 457)), told(PROMPT, X, Y)))
    black = rendered([[Image.new("RGB", (64, 64))] * 3] * 2, ["000001", "000002", "000003"], ["0.5", "1.0"])
    assert "no picture with a LoRA" in refused(with_text(black, told(PROMPT, X, Y)))


@pytest.mark.parametrize("values", [("a", "b"), ('say "x"', "c, d"), ("<lora:x-000001:0.5>", "e:f")])
def test_settings_are_unquoted_as_the_hosts_quote_them(values: Sequence[str]) -> None:
    text = f"one\ntwo\nNegative prompt: three\nfour\nSteps: 1, Seed: 2, X Values: {quote(csv_line(values))}, Size: 8x8"
    assert parse_infotext(text) == (
        "one\ntwo",
        "three\nfour",
        {"Steps": "1", "Seed": "2", "X Values": csv_line(values), "Size": "8x8"},
    )
