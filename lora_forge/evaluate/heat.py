"""Scores as a heat map: small, labelled, read by any colour vision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

from lora_forge.evaluate.lettering import Colour, paste, text_mask, write
from lora_forge.evaluate.recommend import Recommendation
from lora_forge.evaluate.scores import CellScore, Measure, Surface

# Cividis (Nunez, Anderton and Renslow, 2018) at nine even places: rises evenly in lightness, so it also prints in grey.
_CIVIDIS: tuple[Colour, ...] = (
    (0, 34, 78), (18, 53, 112), (59, 73, 108), (87, 93, 109), (112, 113, 115),
    (138, 134, 120), (165, 156, 116), (195, 179, 105), (254, 232, 56),
)  # fmt: skip
_PAPER: Colour = (255, 255, 255)
_INK: Colour = (28, 35, 43)
_MUTED: Colour = (98, 110, 123)
_EMPTY: Colour = (236, 239, 242)
_KEEP: Colour = (213, 94, 0)
_CELL = (46, 34)
_LEFT, _TOP, _FOOT, _GAP = 74, 78, 16, 26


def heat_colour(value: float) -> Colour:
    """Dark blue for 0, grey for the middle, yellow for 1; values outside are held at the ends."""
    place = min(1.0, max(0.0, value)) * (len(_CIVIDIS) - 1)
    low = min(int(place), len(_CIVIDIS) - 2)
    share = place - low
    mixed = [round(a + (b - a) * share) for a, b in zip(_CIVIDIS[low], _CIVIDIS[low + 1], strict=True)]
    return mixed[0], mixed[1], mixed[2]


def render_heat_map(surface: Surface, recommendation: Recommendation | None = None, scale: int = 1) -> Image.Image:
    """Identity and, where it can be told, obedience side by side, in percent (RGB).

    Epochs go across and strengths down, as in the grid; the baseline (strength 0) is a row of its own with one value.
    ``scale`` multiplies every length. Cells that were not scored stay grey.
    """
    maps: list[tuple[str, Callable[[CellScore], Measure | None]]] = [("identity, %", lambda score: score.identity)]
    if any(score.obedience for score in surface.values()):
        maps.append(("obedience, %", lambda score: score.obedience))
    epochs = sorted({epoch for epoch, strength in surface if strength})
    strengths = sorted({strength for _, strength in surface})
    width = _LEFT + _CELL[0] * max(3, len(epochs)) + _GAP
    height = _TOP + _CELL[1] * len(strengths) + _FOOT
    canvas = Image.new("RGB", (width * len(maps) * scale, height * scale), _PAPER)
    for number, (title, pick) in enumerate(maps):
        _draw_map(canvas, number * width * scale, scale, title, epochs, strengths, surface, pick, recommendation)
    return canvas


def _draw_map(
    canvas: Image.Image,
    x0: int,
    scale: int,
    title: str,
    epochs: Sequence[int],
    strengths: Sequence[float],
    surface: Surface,
    pick: Callable[[CellScore], Measure | None],
    recommendation: Recommendation | None,
) -> None:
    left, top, wide, high = x0 + _LEFT * scale, _TOP * scale, _CELL[0] * scale, _CELL[1] * scale
    write(canvas, (left, 12 * scale), title, 18 * scale, _INK)
    write(canvas, (left + wide * len(epochs) // 2, top - 42 * scale), "epoch", 13 * scale, _MUTED, "mt")
    axis = text_mask("strength", 13 * scale).transpose(Image.Transpose.ROTATE_90)
    paste(canvas, (x0 + 10 * scale, top + high * len(strengths) // 2), axis, _MUTED, "lm")
    for column, epoch in enumerate(epochs):
        write(canvas, (left + column * wide + wide // 2, top - 6 * scale), str(epoch), 15 * scale, _INK, "mb")
    for row, strength in enumerate(strengths):
        y = top + row * high
        write(canvas, (left - 8 * scale, y + high // 2), f"{strength:g}", 15 * scale, _INK, "rm")
        cells = [(0, 0.0)] if not strength else [(epoch, strength) for epoch in epochs]
        for column, cell in enumerate(cells):
            score = surface.get(cell)
            _draw_value(canvas, (left + column * wide, y), scale, pick(score) if score else None)
    if recommendation and (recommendation.epoch, recommendation.strength) in surface:
        x = left + epochs.index(recommendation.epoch) * wide
        y = top + strengths.index(recommendation.strength) * high
        ImageDraw.Draw(canvas).rectangle((x - scale, y - scale, x + wide, y + high), outline=_KEEP, width=3 * scale)


def _draw_value(canvas: Image.Image, corner: tuple[int, int], scale: int, measure: Measure | None) -> None:
    colour = heat_colour(measure.mean) if measure else _EMPTY
    x, y = corner
    wide, high = _CELL[0] * scale, _CELL[1] * scale
    ImageDraw.Draw(canvas).rectangle((x, y, x + wide - 2 * scale, y + high - 2 * scale), fill=colour)
    if measure:
        lightness = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
        ink = _INK if lightness > 125 else _PAPER
        middle = (x + wide // 2 - scale, y + high // 2 - scale)
        write(canvas, middle, f"{100 * measure.mean:.0f}", 14 * scale, ink, "mm")
