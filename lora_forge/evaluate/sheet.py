"""One picture to share of a generalisation test: what was drawn, with its ticks, beside real photos, and the verdict.

Pillow alone, as everywhere here; ticks are drawn, not written, since few fonts have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageOps

from lora_forge.evaluate.lettering import Colour, text_size, wrap, write

PAPER: Colour = (252, 251, 248)
INK: Colour = (28, 30, 34)
MUTED: Colour = (110, 113, 120)
LINE: Colour = (222, 220, 214)
GOOD: Colour = (31, 138, 76)
BAD: Colour = (200, 53, 43)
WAIT: Colour = (150, 152, 158)
AMBER: Colour = (184, 110, 0)
WHITE: Colour = (255, 255, 255)

TILE_PX = 380
PHOTO_PX = 300
MARGIN, GAP = 48, 18
_TITLE, _FACTS, _SENTENCE, _LABEL, _TICK = 44, 21, 24, 22, 18
_MOST_PHOTOS = 5
_ROUND = 10
_FINE = 4  # shapes are drawn this much larger, then shrunk: Pillow's own edges are jagged


@dataclass(frozen=True)
class Drawn:
    """One picture of the test. ``ticks``: True, False, or None for what can't be told, each with its word."""

    image: Image.Image
    label: str
    ticks: tuple[tuple[bool | None, str], ...] = ()


@dataclass(frozen=True)
class Sheet:
    """What is said and shown. ``is_pass`` colours the ``stamp``; without ``photos`` their column is left out."""

    title: str
    facts: str
    stamp: str
    is_pass: bool | None
    sentence: str
    drawn: tuple[Drawn, ...]
    photos: tuple[Image.Image, ...] = ()
    photos_title: str = ""
    foot: str = ""


def render_sheet(sheet: Sheet) -> Image.Image:
    """The picture (RGB): up to nine in three columns about 1600 px wide, more of them in four."""
    layout = _Layout(sheet)
    canvas = Image.new("RGB", (layout.width, layout.height), PAPER)
    _head(canvas, sheet, layout)
    for number, one in enumerate(sheet.drawn):
        _tile(canvas, layout, one, layout.corner(number))
    if sheet.photos:
        _photos(canvas, sheet, layout)
    foot = layout.height - MARGIN // 2
    write(canvas, (layout.width - MARGIN, foot), sheet.foot, 17, MUTED, "rb")
    return canvas


class _Layout:
    """Lengths in pixels."""

    def __init__(self, sheet: Sheet) -> None:
        self.columns = 3 if len(sheet.drawn) <= 9 else 4
        self.rows = -(-len(sheet.drawn) // self.columns)
        shape = sheet.drawn[0].image if sheet.drawn else Image.new("L", (1, 1))
        self.tile = (TILE_PX, max(TILE_PX // 2, min(TILE_PX * 2, round(TILE_PX * shape.height / shape.width))))
        self.grid_width = self.columns * TILE_PX + (self.columns - 1) * GAP
        self.photos_left = MARGIN + self.grid_width + 2 * GAP
        self.width = (self.photos_left + PHOTO_PX if sheet.photos else MARGIN + self.grid_width) + MARGIN
        self.stamp_width = text_size(sheet.stamp, _SENTENCE)[0] + 44
        room = self.width - 2 * MARGIN - self.stamp_width - 20
        self.sentence = wrap(sheet.sentence, _SENTENCE, room, most_lines=3)
        self.line = round(_SENTENCE * 1.45)
        self.stamp_top = MARGIN + 112
        self.top = self.stamp_top + max(52, len(self.sentence) * self.line) + 34
        self.ticks = [_tick_lines(one) for one in sheet.drawn]
        self.caption = 42 + 28 * max((len(lines) for lines in self.ticks), default=0)
        self.pitch = self.tile[1] + self.caption + GAP
        self.height = self.top + self.rows * self.pitch - GAP + MARGIN + 26

    def corner(self, number: int) -> tuple[int, int]:
        row, column = divmod(number, self.columns)
        return MARGIN + column * (TILE_PX + GAP), self.top + row * self.pitch


def _head(canvas: Image.Image, sheet: Sheet, layout: _Layout) -> None:
    room = layout.width - 2 * MARGIN
    # by their middles: a Chinese line is higher than a Latin one
    write(canvas, (MARGIN, MARGIN + 20), wrap(sheet.title, _TITLE, room, most_lines=1)[0], _TITLE, INK, "lm")
    write(canvas, (MARGIN, MARGIN + 76), wrap(sheet.facts, _FACTS, room, most_lines=1)[0], _FACTS, MUTED, "lm")
    colour = GOOD if sheet.is_pass else AMBER if sheet.is_pass is False else WAIT
    top, width = layout.stamp_top, layout.stamp_width
    _shape(canvas, (MARGIN, top, MARGIN + width, top + 52), colour)
    write(canvas, (MARGIN + width // 2, top + 26), sheet.stamp, _SENTENCE, WHITE, "mm")
    first = top + (max(52 - len(layout.sentence) * layout.line, 0)) // 2
    for number, line in enumerate(layout.sentence):
        middle = first + number * layout.line + layout.line // 2
        write(canvas, (MARGIN + width + 20, middle), line, _SENTENCE, INK, "lm")


def _tile(canvas: Image.Image, layout: _Layout, one: Drawn, corner: tuple[int, int]) -> None:
    x, y = corner
    _paste(canvas, one.image, (x, y), layout.tile)
    below = y + layout.tile[1]
    write(canvas, (x, below + 24), wrap(one.label, _LABEL, TILE_PX, most_lines=1)[0], _LABEL, INK, "lm")
    for number, line in enumerate(_tick_lines(one)):
        left, middle = x, below + 56 + 28 * number
        for is_ok, text in line:
            _tick(canvas, (left, middle), is_ok)
            write(canvas, (left + 27, middle), text, _TICK, MUTED, "lm")
            left += _tick_width(text)


def _tick_lines(one: Drawn) -> list[list[tuple[bool | None, str]]]:
    """The ticks of a picture, as many in a line as fit."""
    lines: list[list[tuple[bool | None, str]]] = []
    left = TILE_PX
    for is_ok, words in one.ticks:
        text = wrap(words, _TICK, TILE_PX - 30, most_lines=1)[0]
        if left + _tick_width(text) - 14 > TILE_PX:
            lines.append([])
            left = 0
        lines[-1].append((is_ok, text))
        left += _tick_width(text)
    return lines


def _tick_width(text: str) -> int:
    return 27 + text_size(text, _TICK)[0] + 14


def _photos(canvas: Image.Image, sheet: Sheet, layout: _Layout) -> None:
    """A column as high as the pictures beside it."""
    bottom = layout.top + layout.rows * layout.pitch - GAP - 10
    top = layout.top
    ImageDraw.Draw(canvas).line((layout.photos_left - GAP, top, layout.photos_left - GAP, bottom), fill=LINE, width=2)
    title = 40
    write(canvas, (layout.photos_left, top + title // 2 - 6), sheet.photos_title, _LABEL, MUTED, "lm")
    room = bottom - top - title
    count = max(1, min(len(sheet.photos), _MOST_PHOTOS, room // 220))
    height = min((room - (count - 1) * GAP) // count, round(PHOTO_PX * 1.5))
    for number, photo in enumerate(sheet.photos[:count]):
        place = (layout.photos_left, top + title + number * (height + GAP))
        _paste(canvas, photo, place, (PHOTO_PX, height))


def _paste(canvas: Image.Image, image: Image.Image, place: tuple[int, int], size: tuple[int, int]) -> None:
    """Fill ``size`` with the picture, faces rather than feet, with round corners; small ones keep their pixels."""
    small = image.width < size[0] // 2
    how = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
    fitted = ImageOps.fit(image.convert("RGB"), size, how, centering=(0.5, 0.3))
    canvas.paste(fitted, place, _mask(size))


def _shape(canvas: Image.Image, box: tuple[int, int, int, int], colour: Colour) -> None:
    size = (box[2] - box[0], box[3] - box[1])
    canvas.paste(Image.new("RGB", size, colour), box[:2], _mask(size))


def _mask(size: tuple[int, int]) -> Image.Image:
    """A rectangle with round corners."""
    large = Image.new("L", (size[0] * _FINE, size[1] * _FINE))
    edge = (0, 0, large.width - 1, large.height - 1)
    ImageDraw.Draw(large).rounded_rectangle(edge, radius=_ROUND * _FINE, fill=255)
    return large.resize(size, Image.Resampling.BOX)


def _tick(canvas: Image.Image, place: tuple[int, int], is_ok: bool | None) -> None:
    """A small disc with a tick, a cross or a dash; ``place`` is the middle of its left edge."""
    side = 20
    large = Image.new("L", (side * _FINE, side * _FINE))
    ImageDraw.Draw(large).ellipse((0, 0, large.width - 1, large.height - 1), fill=255)
    sign = Image.new("L", large.size)
    for points in _SIGNS[is_ok]:
        scaled = [(x * side * _FINE, y * side * _FINE) for x, y in points]
        ImageDraw.Draw(sign).line(scaled, fill=255, width=round(side * _FINE * 0.12), joint="curve")
    corner = (place[0], place[1] - side // 2)
    colour = GOOD if is_ok else WAIT if is_ok is None else BAD
    for mask, ink in ((large, colour), (sign, WHITE)):
        canvas.paste(Image.new("RGB", (side, side), ink), corner, mask.resize((side, side), Image.Resampling.BOX))


_Points = Sequence[tuple[float, float]]
_SIGNS: dict[bool | None, tuple[_Points, ...]] = {
    True: (((0.27, 0.53), (0.43, 0.69), (0.74, 0.33)),),
    False: (((0.32, 0.32), (0.68, 0.68)), ((0.68, 0.32), (0.32, 0.68))),
    None: (((0.3, 0.5), (0.7, 0.5)),),
}
