"""A grid as the hosts' ``images.draw_grid_annotations`` lays it out, and the text that their X/Y/Z plot writes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from lora_forge.evaluate.lettering import _font

Picture = Image.Image


def cell_picture(column: int, row: int, size: tuple[int, int] = (64, 64)) -> Picture:
    """Noise of its own, no two alike."""
    values = np.random.default_rng(column * 1000 + row).integers(0, 200, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def rendered(
    pictures: Sequence[Sequence[Picture]],
    across: Sequence[str],
    down: Sequence[str],
    margin: int = 0,
    has_legend: bool = True,
) -> Picture:
    """``pictures``: rows of columns. Without a legend the host leaves the margin out too."""
    (width, height), columns, rows = pictures[0][0].size, len(pictures[0]), len(pictures)
    size_px = (width + height) // 25
    spacing = size_px // 2
    letters = _font(False, size_px)
    drawing = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    margin = margin if has_legend else 0
    left = width * 3 // 4 if has_legend and any(down) else 0
    heights = [_height(drawing, text, letters, width, spacing) for text in across] if has_legend else [0]
    top = max(heights) + spacing * 2 if sum(heights) else 0
    size = (columns * width + left + margin * (columns - 1), rows * height + top + margin * (rows - 1))
    grid = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(grid)
    for row, line in enumerate(pictures):
        for column, picture in enumerate(line):
            grid.paste(picture, (left + (width + margin) * column, top + (height + margin) * row))
    for column, text in enumerate(across if top else ()):
        place = left + (width + margin) * column + width / 2, top / 2
        pen.text(place, text, "black", _fitting(pen, text, size_px, width), "mm")
    for row, text in enumerate(down if left else ()):
        place = left / 2, top + (height + margin) * row + height / 2
        pen.text(place, text, "black", _fitting(pen, text, size_px, left), "mm")
    return grid


def _height(drawing: ImageDraw.ImageDraw, text: str, letters: Any, width: int, spacing: int) -> int:
    lines = max(1, math.ceil(drawing.textlength(text, font=letters) / width))  # as a text that is wrapped to fit
    box = drawing.multiline_textbbox((0, 0), text, font=letters)
    return math.ceil(lines * (box[3] - box[1] + spacing)) - spacing if text else 0


def _fitting(pen: ImageDraw.ImageDraw, text: str, size_px: int, width: float) -> Any:
    while size_px > 1 and pen.textlength(text, font=_font(False, size_px)) > width:
        size_px -= 1
    return _font(False, size_px)


def with_text(grid: Picture, text: str) -> bytes:
    """The file, as PNG."""
    info, file = PngImagePlugin.PngInfo(), BytesIO()
    info.add_text("parameters", text)
    grid.save(file, "PNG", pnginfo=info)
    return file.getvalue()


def told(prompt: str, x: str, y: str, **more: str) -> str:
    """An infotext of 64x64 pictures as AUTOMATIC1111 1.10.1 writes it; ``more``: with _ for the blanks in a name."""
    settings = {
        "Steps": "4", "Sampler": "DPM++ 2M", "Schedule type": "Karras", "CFG scale": "7", "Seed": "11",
        "Size": "64x64", "Model hash": "6ce0161689", "Model": "v1-5", "Lora hashes": '"x-000001: abc, y: def"',
        "Script": "X/Y/Z plot", "X Type": "Prompt S/R", "X Values": x, "Y Type": "Prompt S/R", "Y Values": y,
        "Version": "v1.10.1", **{name.replace("_", " "): value for name, value in more.items()},
    }  # fmt: skip
    last = ", ".join(f"{name}: {value}" for name, value in settings.items() if value)
    return f"{prompt}\nNegative prompt: blurry, (ugly:1.2)\n{last}"


def save(path: Path, grid: Picture, text: str) -> Path:
    """As the host does."""
    path.write_bytes(with_text(grid, text))
    return path
