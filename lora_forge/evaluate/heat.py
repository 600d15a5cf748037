"""Scores as a heat map: small, labelled, read by any colour vision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from lora_forge.evaluate.lettering import Colour, can_write, paste, text_mask, write
from lora_forge.evaluate.plan import GridPlan
from lora_forge.evaluate.recommend import Recommendation
from lora_forge.evaluate.scores import SCORES, Measure, ScoreName, Surface
from lora_forge.i18n import say, word

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
_EPOCH, _STRENGTH = word("epoch"), word("strength")
_LOW_IS_GOOD = word("(low is good)")
_LEFT, _TOP, _FOOT, _GAP = 74, 78, 16, 26


def heat_colour(value: float) -> Colour:
    """Dark blue for 0, grey for the middle, yellow for 1; values outside are held at the ends."""
    place = min(1.0, max(0.0, value)) * (len(_CIVIDIS) - 1)
    low = min(int(place), len(_CIVIDIS) - 2)
    share = place - low
    mixed = [round(a + (b - a) * share) for a, b in zip(_CIVIDIS[low], _CIVIDIS[low + 1], strict=True)]
    return mixed[0], mixed[1], mixed[2]


def render_heat_map(
    surface: Surface,
    recommendation: Recommendation | None = None,
    scale: int = 1,
    *,
    plan: GridPlan | None = None,
    language: str = "en",
) -> Image.Image:
    """A map of every score that could be told, two in a row, in percent (RGB).

    Epochs go across and strengths down, as in the grid; the baseline (strength 0) is a row of its own with one value.
    Yellow is good, also where a low score is (copying). ``scale`` multiplies every length. Cells that were not scored
    stay grey; ``plan`` names those of them that are at the edges. ``language``: English is taken where no font of this
    machine has the letters.
    """
    titles = {name: say(facts.title, language) for name, facts in SCORES.items()}
    language = language if all(map(can_write, titles.values())) else "en"
    told = [name for name in SCORES if any(score.measure(name) for score in surface.values())]
    epochs = sorted({epoch for epoch, strength in surface if strength} | set(plan.epochs if plan else ()))
    strengths = sorted({strength for _, strength in surface} | set(plan.strengths if plan else ()))
    width = _LEFT + _CELL[0] * max(3, len(epochs)) + _GAP
    height = _TOP + _CELL[1] * len(strengths) + _FOOT
    columns, rows = min(2, max(1, len(told))), max(1, math.ceil(len(told) / 2))
    canvas = Image.new("RGB", (width * columns * scale, height * rows * scale), _PAPER)
    for number, name in enumerate(told):
        corner = (number % 2 * width * scale, number // 2 * height * scale)
        sheet = _Sheet(canvas, corner, scale, name, epochs, strengths, language)
        _draw_map(sheet, surface, recommendation)
    return canvas


@dataclass(frozen=True)
class _Sheet:
    """Where one map goes and what its axes are."""

    canvas: Image.Image
    corner: tuple[int, int]
    scale: int
    name: ScoreName
    epochs: Sequence[int]
    strengths: Sequence[float]
    language: str

    @property
    def title(self) -> str:
        facts = SCORES[self.name]
        title = f"{say(facts.title, self.language)}, {facts.unit}"
        return title if facts.is_better_high else f"{title} {say(_LOW_IS_GOOD, self.language)}"


def _draw_map(sheet: _Sheet, surface: Surface, recommendation: Recommendation | None) -> None:
    canvas, scale, epochs, strengths = sheet.canvas, sheet.scale, sheet.epochs, sheet.strengths
    left, top = sheet.corner[0] + _LEFT * scale, sheet.corner[1] + _TOP * scale
    wide, high = _CELL[0] * scale, _CELL[1] * scale
    write(canvas, (left, top - 66 * scale), sheet.title, 18 * scale, _INK)
    words = say(_EPOCH, sheet.language), say(_STRENGTH, sheet.language)
    write(canvas, (left + wide * len(epochs) // 2, top - 42 * scale), words[0], 13 * scale, _MUTED, "mt")
    axis = text_mask(words[1], 13 * scale).transpose(Image.Transpose.ROTATE_90)
    paste(canvas, (sheet.corner[0] + 10 * scale, top + high * len(strengths) // 2), axis, _MUTED, "lm")
    for column, epoch in enumerate(epochs):
        write(canvas, (left + column * wide + wide // 2, top - 6 * scale), str(epoch), 15 * scale, _INK, "mb")
    for row, strength in enumerate(strengths):
        y = top + row * high
        write(canvas, (left - 8 * scale, y + high // 2), f"{strength:g}", 15 * scale, _INK, "rm")
        cells = [(0, 0.0)] if not strength else [(epoch, strength) for epoch in epochs]
        for column, cell in enumerate(cells):
            score = surface.get(cell)
            measure = score.measure(sheet.name) if score else None
            _draw_value(canvas, (left + column * wide, y), scale, measure, SCORES[sheet.name].is_better_high)
    if recommendation and (recommendation.epoch, recommendation.strength) in surface:
        x = left + epochs.index(recommendation.epoch) * wide
        y = top + strengths.index(recommendation.strength) * high
        ImageDraw.Draw(canvas).rectangle((x - scale, y - scale, x + wide, y + high), outline=_KEEP, width=3 * scale)


def _draw_value(
    canvas: Image.Image, corner: tuple[int, int], scale: int, measure: Measure | None, is_better_high: bool
) -> None:
    colour = _EMPTY if measure is None else heat_colour(measure.mean if is_better_high else 1 - measure.mean)
    x, y = corner
    wide, high = _CELL[0] * scale, _CELL[1] * scale
    ImageDraw.Draw(canvas).rectangle((x, y, x + wide - 2 * scale, y + high - 2 * scale), fill=colour)
    if measure:
        lightness = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
        ink = _INK if lightness > 125 else _PAPER
        middle = (x + wide // 2 - scale, y + high // 2 - scale)
        write(canvas, middle, f"{100 * measure.mean:.0f}", 14 * scale, ink, "mm")
