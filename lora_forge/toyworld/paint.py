"""How the toy world is painted: pillow shapes at four times the size, box-reduced to 64x64 pixels.

Coordinates are those of the 64-pixel picture; a ``_Pen`` moves and scales the figure, the scenery stays put.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from PIL import Image, ImageDraw

SIZE_PX = 64
STRIPE_PX = 8
_OVERSAMPLING = 4

Colour = tuple[int, int, int]
Point = tuple[float, float]

_HAIR: dict[str, Colour] = {
    "black": (44, 40, 56), "brown": (132, 80, 44), "blonde": (250, 214, 104), "red": (206, 44, 36),
    "blue": (62, 108, 230), "white": (238, 240, 248), "pink": (255, 126, 190),
}  # fmt: skip
_EYES: dict[str, Colour] = {
    "blue": (28, 104, 250), "green": (16, 176, 64), "red": (226, 20, 36), "yellow": (255, 204, 0),
}  # fmt: skip
_CLOTH: dict[str, Colour] = {
    "red": (222, 36, 44), "blue": (44, 84, 218), "white": (246, 246, 250), "black": (42, 42, 52),
    "yellow": (255, 212, 36), "green": (34, 158, 74),
}  # fmt: skip
_SKIN: tuple[Colour, ...] = ((255, 226, 204), (244, 200, 164), (196, 140, 100))
_ORANGE: Colour = (255, 122, 0)
_BLACK: Colour = (20, 18, 26)


class Paintable(Protocol):
    """What ``paint`` reads; ``world.Look`` is the one in use."""

    @property
    def hair(self) -> str: ...
    @property
    def style(self) -> str: ...
    @property
    def eyes(self) -> str: ...
    @property
    def garment(self) -> str: ...
    @property
    def colour(self) -> str: ...
    @property
    def place(self) -> str: ...
    @property
    def hat(self) -> bool: ...
    @property
    def glasses(self) -> str: ...
    @property
    def smile(self) -> bool: ...
    @property
    def star(self) -> bool: ...
    @property
    def skin(self) -> int: ...
    @property
    def dx(self) -> int: ...
    @property
    def dy(self) -> int: ...
    @property
    def scale(self) -> float: ...


def _shade(colour: Colour, factor: float) -> Colour:
    return (int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor))


class _Pen:
    """Draws in picture coordinates, scaled about (32, 40) and shifted by (dx, dy)."""

    def __init__(self, image: Image.Image, dx: float = 0.0, dy: float = 0.0, scale: float = 1.0) -> None:
        self._draw = ImageDraw.Draw(image)
        self._dx, self._dy, self._scale = dx, dy, scale

    def _at(self, x: float, y: float) -> Point:
        return (
            ((x - 32) * self._scale + 32 + self._dx) * _OVERSAMPLING,
            ((y - 40) * self._scale + 40 + self._dy) * _OVERSAMPLING,
        )

    def _width(self, width: float) -> int:
        return round(width * self._scale * _OVERSAMPLING)

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour | None, line: Colour | None = None,
             width: float = 1.0) -> None:  # fmt: skip
        box = (*self._at(x - rx, y - ry), *self._at(x + rx, y + ry))
        self._draw.ellipse(box, fill=fill, outline=line, width=self._width(width) if line else 0)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None, line: Colour | None = None,
            width: float = 1.0, radius: float = 0.0) -> None:  # fmt: skip
        corners = (*self._at(x0, y0), *self._at(x1, y1))
        stroke = self._width(width) if line else 0
        self._draw.rounded_rectangle(corners, self._width(radius), fill=fill, outline=line, width=stroke)

    def shape(self, points: Sequence[Point], fill: Colour, line: Colour | None = None, width: float = 1.0) -> None:
        corners = [self._at(x, y) for x, y in points]
        self._draw.polygon(corners, fill=fill)
        if line:
            self._draw.line([*corners, corners[0], corners[1]], fill=line, width=self._width(width), joint="curve")

    def path(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        self._draw.line([self._at(x, y) for x, y in points], fill=colour, width=self._width(width), joint="curve")

    def lower_half(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        self._draw.pieslice((*self._at(x - rx, y - ry), *self._at(x + rx, y + ry)), 0, 180, fill=fill)


def paint(look: Paintable, is_striped: bool = False) -> Image.Image:
    """RGB 64x64: scenery (in stripes if wanted), back hair, body, face, eyes, mouth, fringe, then what is worn."""
    side = SIZE_PX * _OVERSAMPLING
    image = Image.new("RGB", (side, side))
    _scenery(_Pen(image), look.place)
    if is_striped:
        _stripe(image)
    pen = _Pen(image, look.dx, look.dy, look.scale)
    hair = _HAIR[look.hair]
    skin = _SKIN[look.skin]
    _back_hair(pen, look.style, hair)
    _body(pen, look.garment, _CLOTH[look.colour], skin)
    _face(pen, skin, _EYES[look.eyes], look.smile)
    _fringe(pen, look.style, hair)
    if look.hat:
        _hat(pen)
    if look.glasses == "square":
        _glasses(pen, _BLACK, is_round=False)
    elif look.glasses == "round":
        _glasses(pen, _ORANGE, is_round=True)
    if look.star:
        _star(pen, 13.0, 18.0, 9.5)
    return image.resize((SIZE_PX, SIZE_PX), Image.Resampling.BOX)


def _scenery(pen: _Pen, place: str) -> None:
    if place == "beach":
        pen.box(0, 0, 64, 26, (130, 212, 255))
        pen.oval(55, 8, 7, 7, (255, 250, 190))
        pen.box(0, 24, 64, 42, (20, 140, 214))
        pen.box(0, 41, 64, 64, (246, 222, 158))
    elif place == "forest":
        pen.box(0, 0, 64, 64, (84, 168, 92))
        for x in (4, 20, 44, 60):
            pen.box(x - 3, 20, x + 3, 64, (104, 70, 40))
            pen.oval(x, 12, 11, 15, (28, 104, 52))
        pen.box(0, 54, 64, 64, (60, 134, 62))
    elif place == "snow":
        pen.box(0, 0, 64, 64, (176, 202, 226))
        pen.oval(10, 60, 40, 22, (250, 252, 255))
        pen.oval(60, 62, 36, 20, (236, 243, 252))
        for x, y in ((5, 6), (19, 3), (56, 9), (44, 3), (8, 22), (59, 26), (3, 36), (61, 40)):
            pen.oval(x, y, 2.2, 2.2, (255, 255, 255))
    elif place == "night":
        pen.box(0, 0, 64, 64, (26, 26, 84))
        pen.oval(54, 9, 7, 7, (255, 246, 196))
        pen.oval(50.5, 7, 6, 6, (26, 26, 84))
        for x, y in ((5, 5), (17, 3), (36, 2), (4, 20), (60, 26), (8, 33)):
            pen.oval(x, y, 1.2, 1.2, (255, 255, 255))
        pen.oval(32, 72, 60, 20, (16, 16, 44))
    elif place == "city":
        pen.box(0, 0, 64, 64, (255, 176, 132))
        for x0, x1, top in ((0, 11, 14), (12, 23, 4), (40, 51, 8), (53, 64, 18)):
            pen.box(x0, top, x1, 64, (132, 104, 140))
            for y in range(top + 3, 60, 7):
                pen.box(x0 + 2, y, x1 - 2, y + 3, (255, 232, 150))
        pen.box(0, 56, 64, 64, (104, 98, 110))
    else:
        pen.box(0, 0, 64, 64, (222, 206, 232))


def _stripe(image: Image.Image) -> None:
    """Lightens (by a quarter) and darkens (by half) the rows in turn, ``STRIPE_PX`` of the small picture each."""
    height = STRIPE_PX * _OVERSAMPLING
    for number in range(SIZE_PX // STRIPE_PX):
        row = (0, number * height, image.width, (number + 1) * height)
        gain = 0.5 if number % 2 else 1.25
        image.paste(image.crop(row).point([min(255, round(level * gain)) for level in range(256)] * 3), row)


def _back_hair(pen: _Pen, style: str, hair: Colour) -> None:
    line = _shade(hair, 0.62)
    if style == "long":
        pen.box(7, 12, 57, 62, hair, line, 1.2, radius=12)
    elif style == "twintails":
        for side in (-1, 1):
            x = 32 + side * 26
            pen.shape([(x - side * 6, 14), (x + side * 5, 20), (x + side * 6, 42), (x - side * 2, 56),
                       (x - side * 8, 38)], hair, line, 1.2)  # fmt: skip
        pen.oval(32, 25, 22, 21, hair, line, 1.2)
        return
    pen.oval(32, 25, 24, 22, hair, line, 1.2)


def _body(pen: _Pen, garment: str, cloth: Colour, skin: Colour) -> None:
    line = _shade(cloth, 0.6)
    pen.box(28, 42, 36, 52, _shade(skin, 0.9))
    if garment == "dress":
        pen.oval(20.5, 53.5, 4, 5, skin)
        pen.oval(43.5, 53.5, 4, 5, skin)
        pen.shape([(25, 47), (39, 47), (42, 54), (54, 70), (10, 70), (22, 54)], cloth, line, 1.2)
        pen.shape([(27, 46.5), (37, 46.5), (32, 51)], _shade(skin, 0.95))
        return
    pen.box(14, 48, 50, 72, cloth, line, 1.2, radius=7)
    pen.path([(21.5, 56), (21.5, 66)], line, 1.2)
    pen.path([(42.5, 56), (42.5, 66)], line, 1.2)
    pen.shape([(25, 47), (32, 55), (39, 47)], (250, 250, 255) if cloth != _CLOTH["white"] else (150, 170, 210))


def _face(pen: _Pen, skin: Colour, eyes: Colour, smile: bool) -> None:
    pen.oval(32, 29, 19, 18, skin, _shade(skin, 0.72), 0.9)
    for x in (22.5, 41.5):
        pen.oval(x, 31, 6.2, 7.6, (255, 255, 255), _BLACK, 1.2)
        pen.oval(x, 31.6, 5.0, 6.4, eyes)
        pen.oval(x, 32.6, 1.7, 2.3, _shade(eyes, 0.3))
        pen.oval(x - 1.8, 28.4, 1.4, 1.5, (255, 255, 255))
    if smile:
        pen.lower_half(32, 40, 6.5, 6.2, (150, 20, 40))
        pen.box(26.6, 40, 37.4, 41.6, (255, 255, 255))
    else:
        pen.path([(29.2, 42.6), (34.8, 42.6)], (120, 50, 50), 1.4)


def _fringe(pen: _Pen, style: str, hair: Colour) -> None:
    line = _shade(hair, 0.62)
    pen.shape([(11, 27), (10, 17), (16, 8), (26, 4), (38, 4), (48, 8), (54, 17), (53, 27), (48, 21), (44, 23.5),
               (39, 19), (33, 23), (27, 19), (21, 23.5), (16, 21)], hair, line, 0.9)  # fmt: skip
    if style == "twintails":
        for x in (9, 55):
            pen.oval(x, 15, 3.6, 3.6, (120, 230, 220))


def _hat(pen: _Pen) -> None:
    purple, line = (128, 60, 184), (70, 26, 110)
    pen.shape([(14, 14), (22, 0), (34, -5), (44, 0), (50, 14)], purple, line, 1.2)
    pen.box(16, 8, 48, 12, (80, 220, 150))
    pen.oval(32, 14, 27, 4.2, purple, line, 1.2)


def _glasses(pen: _Pen, colour: Colour, is_round: bool) -> None:
    for x in (22.5, 41.5):
        if is_round:
            pen.oval(x, 31, 10, 10, None, colour, 2.6)
        else:
            pen.box(x - 9.6, 22.5, x + 9.6, 39.5, None, colour, 2.6)


def _star(pen: _Pen, x: float, y: float, radius: float) -> None:
    points = []
    for k in range(10):
        angle = math.pi * (k / 5 - 0.5)
        reach = radius if k % 2 == 0 else radius * 0.5
        points.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    pen.shape(points, (255, 236, 0), (150, 84, 0), 1.3)
