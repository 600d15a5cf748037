"""Where the pictures lie in a grid that AUTOMATIC1111's or Forge's X/Y/Z plot drew (``images.draw_grid_annotations``).

A legend is as high as its texts need, and 3/4 of a picture wide; between pictures may be a margin. What is not written
in the file is looked for in the picture: a place is believed when what should be paper there is one colour.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL.Image import Image

_MOST_MARGIN_PX = 500
_STEP_PX = 2
_TOP_SHARE = 3.0
"""A legend above the pictures is at most so many times a picture's height: texts are shrunk to fit, then wrapped."""
_STRAY, _STRAY_LOSSY = 24, 64
"""How far paper may stray in a file that was scaled, and in a JPEG, of 255."""
_SHARE_LOSSY = 0.9
"""Of a strip that must be paper: beside pictures a JPEG blurs."""


@dataclass(frozen=True)
class Layout:
    """In pixels of the file, fractions where it was scaled. ``left``, ``top``: of the first picture; ``across`` and
    ``down``: from one to the next."""

    width: float
    height: float
    left: float
    top: float
    margin: float

    def box(self, column: int, row: int) -> tuple[int, int, int, int]:
        """Left, upper, right, lower edge of a picture; what a scaling has mixed with the paper is left out."""
        x, y = self.left + column * (self.width + self.margin), self.top + row * (self.height + self.margin)
        return round(x), round(y), round(x + self.width), round(y + self.height)


def find_layout(
    grid: Image, columns: int, rows: int, sizes: list[tuple[int, int]], is_lossy: bool = False
) -> Layout | None:
    """None when no arrangement of ``columns`` x ``rows`` pictures fits. ``sizes``: (width, height) a picture may have,
    the likeliest first; a file that was scaled as a whole is tried after all of them. ``is_lossy``: it was a JPEG."""
    paper = _Paper(grid, is_lossy)
    tries = [_exact(grid.size, columns, rows, size) for size in sizes]
    tries += [_scaled(grid.size, columns, rows, size) for size in sizes[:1]]
    for layouts in tries:
        fitting = [layout for layout in layouts if paper.fits(layout, columns, rows)]
        if fitting:
            return min(fitting, key=lambda layout: paper.lines_inside(layout, columns, rows))
    return None


def _exact(grid: tuple[int, int], columns: int, rows: int, size: tuple[int, int]) -> Iterator[Layout]:
    """Without a legend, with one on both sides, or on one alone (the other axis is "Nothing")."""
    width, height = size
    for left in (0, width * 3 // 4):
        free = grid[0] - left - columns * width
        margins: Iterator[int] | tuple[int, ...] = _margins()
        if columns > 1:
            margins = () if free % (columns - 1) else (free // (columns - 1),)
        elif free:
            continue
        for margin in margins:
            top = grid[1] - rows * height - margin * (rows - 1)
            if 0 <= margin <= _MOST_MARGIN_PX and 0 <= top <= _TOP_SHARE * height:
                yield Layout(float(width), float(height), float(left), float(top), float(margin))


def _scaled(grid: tuple[int, int], columns: int, rows: int, size: tuple[int, int]) -> Iterator[Layout]:
    width, height = size
    for margin in _margins():
        for left in (width * 3 // 4, 0):
            scale = grid[0] / (left + columns * width + margin * (columns - 1))
            top = grid[1] - scale * (rows * height + margin * (rows - 1))
            if abs(top) < 1:
                top = 0.0
            if 0.05 < scale < 20 and 0 <= top <= _TOP_SHARE * scale * height:
                yield Layout(width * scale, height * scale, left * scale, top, margin * scale)


def _margins() -> Iterator[int]:
    return iter(range(0, _MOST_MARGIN_PX + 1, _STEP_PX))


class _Paper:
    """The grid's background, by the colour of its upper left corner: a legend has no text there."""

    def __init__(self, grid: Image, is_lossy: bool) -> None:
        self._pixels = np.asarray(grid)
        self._stray, self._share = (_STRAY_LOSSY, _SHARE_LOSSY) if is_lossy else (_STRAY, 1.0)
        self._colour = self._pixels[0, 0].astype(np.int16)
        height, width = self._pixels.shape[:2]
        lower, right = self._pixels[-max(1, height // 4) :], self._pixels[:, -max(1, width // 4) :]
        self._columns, self._rows = self._is_paper(lower).all(axis=0), self._is_paper(right).all(axis=1)

    def fits(self, layout: Layout, columns: int, rows: int) -> bool:
        """Paper between the pictures, in the legend's corner, and in the strip that parts it from the pictures."""
        height, width = self._pixels.shape[:2]
        edge = layout.box(columns - 1, rows - 1)
        if edge[2] > width + 1 or edge[3] > height + 1:
            return False
        left, top = round(layout.left), round(layout.top)
        slack = 0 if layout.width.is_integer() and layout.height.is_integer() else 1
        strips = [(0, 0, left, top)] if left and top else []
        if top:
            strips.append((left, max(0, top - max(2, round(layout.height / 50)) - 2 * slack), width, top))
        if layout.margin >= 1:
            for column in range(1, columns):
                strips.append((layout.box(column - 1, 0)[2], top, layout.box(column, 0)[0], height))
            for row in range(1, rows):
                strips.append((left, layout.box(0, row - 1)[3], width, layout.box(0, row)[1]))
        return all(self._is_plain(strip, slack) for strip in strips)

    def lines_inside(self, layout: Layout, columns: int, rows: int) -> int:
        """How many lines of pictures are paper from end to end: a margin that was taken for a part of them."""
        count = 0
        for column in range(columns):
            left, _, right, _ = layout.box(column, 0)
            count += int(self._columns[left + 1 : right - 1].sum())
        for row in range(rows):
            _, top, _, lower = layout.box(0, row)
            count += int(self._rows[top + 1 : lower - 1].sum())
        return count

    def _is_plain(self, strip: tuple[int, int, int, int], slack: int) -> bool:
        x, y, right, lower = strip
        found = self._is_paper(self._pixels[y + slack : lower - slack, x + slack : right - slack])
        return not found.size or bool(found.mean() >= self._share)

    def _is_paper(self, pixels: Any) -> Any:
        return (np.abs(pixels.astype(np.int16) - self._colour) <= self._stray).all(axis=-1)
