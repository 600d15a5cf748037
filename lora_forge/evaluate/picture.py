"""The grid as one labelled picture: epochs across, strengths down, scores under the cells, the one to keep framed."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, PngImagePlugin

from lora_forge.atomic import write_atomically
from lora_forge.errors import ConfigError
from lora_forge.evaluate.grid import Grid
from lora_forge.evaluate.lettering import Colour, can_write, paste, text_mask, text_size, wrap, write
from lora_forge.evaluate.plan import NO_EPOCH, GridPlan
from lora_forge.evaluate.recommend import Recommendation
from lora_forge.evaluate.scores import SCORES, CellScore, Surface
from lora_forge.evaluate.xyz import infotext
from lora_forge.events import Emit, GridSaved
from lora_forge.i18n import say, word

PAPER: Colour = (255, 255, 255)
INK: Colour = (28, 35, 43)
MUTED: Colour = (98, 110, 123)
LINE: Colour = (222, 227, 233)
EMPTY: Colour = (244, 246, 248)
# Okabe and Ito's colours (2008): told apart with any colour vision.
IDENTITY: Colour = (0, 114, 178)
OBEDIENCE: Colour = (230, 159, 0)
KEEP: Colour = (213, 94, 0)

PLAN_KEY = "lora_forge_plan"
"""PNG text chunk with the plan as JSON; ``parameters`` beside it is the hosts' own infotext."""

_WIDEST_PX = 5600
_EPOCH, _STRENGTH = word("epoch (NUM)"), word("STRENGTH")
_STEPS, _SEED, _SEED_OF = word("{steps} steps"), word("seed {seed}"), word("seed {seed} shown of {count}")
_NOT_DRAWN, _BASELINE = word("not drawn"), word("without the LoRA: the same for every epoch")
_KEEP, _BEST = word("keep"), word("best so far")


@dataclass(frozen=True)
class _Layout:
    """Every length in pixels; text sizes follow the cell, so that a grid reads the same however large it is."""

    columns: int
    rows: int
    cell: tuple[int, int]
    has_scores: bool
    title: list[str]
    foot: list[str]
    language: str = "en"
    shows: int = 0
    marks_undrawn: bool = True

    @property
    def unit(self) -> float:
        return max(self.cell) / 128

    def px(self, length: float) -> int:
        return max(1, round(length * self.unit))

    @property
    def pitch(self) -> tuple[int, int]:
        return self.cell[0] + self.px(6), self.cell[1] + self.px(6 + 22 * self.has_scores)

    @property
    def left(self) -> int:
        return self.px(92)

    @property
    def top(self) -> int:
        return self.px(24 + 34 * len(self.title) + 30 + 26 + 34)

    @property
    def width(self) -> int:
        return _width(self.columns, self.cell)

    @property
    def height(self) -> int:
        foot = 30 * len(self.foot) + 14 * bool(self.foot) + 24 * self.has_scores
        return self.top + self.rows * self.pitch[1] + self.px(18 + foot)

    def corner(self, column: int, row: int) -> tuple[int, int]:
        return self.left + column * self.pitch[0], self.top + row * self.pitch[1]


def render_grid(
    grid: Grid,
    surface: Surface | None = None,
    recommendation: Recommendation | None = None,
    note: str = "",
    cell_px: int | None = None,
    *,
    shows_swapped: bool = False,
    is_sparse: bool = False,
    language: str = "en",
) -> Image.Image:
    """Draw the labelled picture (RGB).

    The first seed's picture of every cell is shown, of the plain prompt, or with ``shows_swapped`` of the second one
    where there is one. ``surface`` adds likeness and obedience in percent under the cells; ``recommendation`` frames
    its cell and writes its sentence below. ``note`` goes into the grey line under the title (the base's name, say).
    ``cell_px`` is the longer side of a shown cell; None enlarges small pictures by whole factors to about 128 and
    shrinks large ones until the whole is at most 5600 wide. Cells that were not drawn say so, unless the grid
    ``is_sparse`` on purpose. ``language``: English is taken where no font of this machine has the letters.
    """
    cell, language = _cell_size(grid, cell_px), _writable(language)
    title_width = _width(len(grid.plan.epochs), cell) - round(1.0 * max(cell))
    unit = max(cell) / 128
    sentence = recommendation.sentence.text(language) if recommendation else ""
    shows = 1 if shows_swapped and grid.plan.swap_prompt else 0
    layout = _Layout(
        columns=len(grid.plan.epochs),
        rows=len(grid.plan.strengths),
        cell=cell,
        has_scores=bool(surface),
        title=wrap(grid.plan.prompts()[shows], round(24 * unit), title_width, most_lines=3),
        foot=wrap(sentence, round(20 * unit), title_width) if sentence else [],
        language=language,
        shows=shows,
        marks_undrawn=not is_sparse,
    )
    canvas = Image.new("RGB", (layout.width, layout.height), PAPER)
    _draw_head(canvas, layout, grid, note)
    _draw_axes(canvas, layout, grid)
    for row, strength in enumerate(grid.plan.strengths):
        for column, epoch in enumerate(grid.plan.epochs):
            if strength or not column:
                score = (surface or {}).get((epoch, strength) if strength else (NO_EPOCH, 0.0))
                _draw_cell(canvas, layout, grid, (column, row), score)
        if not strength:
            _draw_baseline_note(canvas, layout, row)
    _draw_foot(canvas, layout)
    if recommendation:
        _frame(canvas, layout, grid, recommendation)
    return canvas


def save_grid(
    path: Path,
    grid: Grid,
    emit: Emit,
    surface: Surface | None = None,
    recommendation: Recommendation | None = None,
    note: str = "",
    *,
    is_sparse: bool = False,
) -> None:
    """Write :func:`render_grid`'s picture as a PNG that carries the plan and the hosts' infotext.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    picture = render_grid(grid, surface, recommendation, note, is_sparse=is_sparse)
    info = png_text(grid.plan)
    write_atomically(path, lambda temporary: picture.save(temporary, format="PNG", pnginfo=info))
    emit(GridSaved(path, len(grid.plan.epochs), len(grid.plan.strengths)))


def png_text(plan: GridPlan) -> PngImagePlugin.PngInfo:
    """The plan, and the hosts' infotext of it, as a PNG carries them."""
    info = PngImagePlugin.PngInfo()
    info.add_text(PLAN_KEY, json.dumps(plan.to_dict()))
    with contextlib.suppress(ConfigError):  # a prompt that their plot can't do
        parameters = infotext(plan, {"Clip skip": str(plan.clip_skip)})
        add = info.add_text if parameters.isascii() else info.add_itxt  # as the hosts write it
        add("parameters", parameters)
    return info


def _writable(language: str) -> str:
    return language if can_write(say(_NOT_DRAWN, language)) else "en"


def _cell_size(grid: Grid, cell_px: int | None) -> tuple[int, int]:
    width, height = grid.plan.width, grid.plan.height
    longest = max(width, height)
    if cell_px is None:
        cell_px = longest * max(1, 128 // longest)
        cells_wide = len(grid.plan.epochs) * (1 + 6 / 128) + (92 + 18) / 128  # gaps and margins, see _width
        cell_px = max(96, min(cell_px, int(_WIDEST_PX / cells_wide)))
    return max(1, round(width * cell_px / longest)), max(1, round(height * cell_px / longest))


def _width(columns: int, cell: tuple[int, int]) -> int:
    """At least five cells' room, so that a title has space over a narrow grid."""
    unit = max(cell) / 128
    return max(round(92 * unit) + columns * (cell[0] + round(6 * unit)) + round(18 * unit), 5 * max(cell))


def _draw_head(canvas: Image.Image, layout: _Layout, grid: Grid, note: str) -> None:
    px, plan = layout.px, grid.plan
    for number, line in enumerate(layout.title):
        write(canvas, (px(20), px(20 + 34 * number)), line, px(24), INK)
    seeds = say(_SEED, layout.language, seed=plan.seeds[0])
    if len(plan.seeds) > 1:
        seeds = say(_SEED_OF, layout.language, seed=plan.seeds[0], count=len(plan.seeds))
    steps = say(_STEPS, layout.language, steps=plan.steps)
    facts = [steps, f"CFG {plan.guidance:g}", f"{plan.width}x{plan.height}", seeds]
    line = "  ·  ".join([*([note] if note else []), *facts])
    write(canvas, (px(20), px(24 + 34 * len(layout.title))), line, px(16), MUTED)


def _draw_axes(canvas: Image.Image, layout: _Layout, grid: Grid) -> None:
    px = layout.px
    middle = layout.left + layout.columns * layout.pitch[0] // 2
    write(canvas, (middle, layout.top - px(58)), say(_EPOCH, layout.language), px(16), MUTED, "mt")
    for column, epoch in enumerate(grid.plan.epochs):
        x = layout.corner(column, 0)[0] + layout.cell[0] // 2
        write(canvas, (x, layout.top - px(8)), str(epoch), px(22), INK, "mb")
    axis = text_mask(say(_STRENGTH, layout.language), px(16)).transpose(Image.Transpose.ROTATE_90)
    paste(canvas, (px(18), layout.top + layout.rows * layout.pitch[1] // 2), axis, MUTED, "lm")
    for row, strength in enumerate(grid.plan.strengths):
        y = layout.corner(0, row)[1] + layout.cell[1] // 2
        write(canvas, (layout.left - px(12), y), f"{strength:g}", px(22), INK, "rm")


def _draw_cell(
    canvas: Image.Image, layout: _Layout, grid: Grid, place: tuple[int, int], score: CellScore | None
) -> None:
    corner = layout.corner(*place)
    pictures = grid.pictures(grid.plan.epochs[place[0]], grid.plan.strengths[place[1]])
    number = layout.shows * len(grid.plan.seeds)
    if number < len(pictures):
        shown = pictures[number].convert("RGB")
        enlarged = layout.cell[0] >= shown.width
        how = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
        canvas.paste(shown.resize(layout.cell, how), corner)
    else:
        canvas.paste(EMPTY, (*corner, corner[0] + layout.cell[0], corner[1] + layout.cell[1]))
        middle = (corner[0] + layout.cell[0] // 2, corner[1] + layout.cell[1] // 2)
        if layout.marks_undrawn:
            write(canvas, middle, say(_NOT_DRAWN, layout.language), layout.px(14), MUTED, "mm")
    if score:
        _draw_score(canvas, layout, corner, score)


def _draw_score(canvas: Image.Image, layout: _Layout, corner: tuple[int, int], score: CellScore) -> None:
    """Two short bars with their percent: likeness left, obedience right."""
    px = layout.px
    y = corner[1] + layout.cell[1] + px(4)
    half = layout.cell[0] // 2
    for number, (measure, colour) in enumerate(((score.identity, IDENTITY), (score.obedience, OBEDIENCE))):
        if measure is None:
            continue
        x, room = corner[0] + number * half, half - px(34)
        ImageDraw.Draw(canvas).rectangle((x, y + px(5), x + room, y + px(9)), fill=LINE)
        if measure.mean > 0.005:
            ImageDraw.Draw(canvas).rectangle((x, y + px(5), x + round(room * measure.mean), y + px(9)), fill=colour)
        write(canvas, (x + room + px(4), y + px(7)), f"{100 * measure.mean:.0f}", px(13), INK, "lm")


def _draw_baseline_note(canvas: Image.Image, layout: _Layout, row: int) -> None:
    if layout.columns < 4:
        return
    x, y = layout.corner(1, row)
    words = say(_BASELINE, layout.language)
    write(canvas, (x + layout.px(10), y + layout.cell[1] // 2), words, layout.px(16), MUTED, "lm")


def _draw_foot(canvas: Image.Image, layout: _Layout) -> None:
    px = layout.px
    y = layout.corner(0, layout.rows)[1] + px(6)
    if layout.has_scores:
        x = layout.left
        for colour, score in ((IDENTITY, SCORES["identity"]), (OBEDIENCE, SCORES["obedience"])):
            words = f"{say(score.title, layout.language)}, {score.unit}"
            ImageDraw.Draw(canvas).rectangle((x, y + px(6), x + px(22), y + px(12)), fill=colour)
            write(canvas, (x + px(30), y), words, px(15), MUTED)
            x += px(62) + text_size(words, px(15))[0]
        y += px(30)
    for number, line in enumerate(layout.foot):
        write(canvas, (layout.left, y + px(30 * number)), line, px(20), INK)


def _frame(canvas: Image.Image, layout: _Layout, grid: Grid, chosen: Recommendation) -> None:
    if chosen.epoch not in grid.plan.epochs or chosen.strength not in grid.plan.strengths:
        return
    px = layout.px
    x, y = layout.corner(grid.plan.epochs.index(chosen.epoch), grid.plan.strengths.index(chosen.strength))
    edge = px(4)
    box = (x - edge, y - edge, x + layout.cell[0] + edge - 1, y + layout.cell[1] + edge - 1)
    ImageDraw.Draw(canvas).rectangle(box, outline=KEEP, width=edge)
    words = say(_KEEP if chosen.is_usable else _BEST, layout.language)
    width, height = text_size(words, px(15))
    ImageDraw.Draw(canvas).rectangle((x - edge, y - edge, x + width + px(10), y + height + px(2)), fill=KEEP)
    write(canvas, (x + px(3), y - px(1)), words, px(15), PAPER)
