"""A grid that the host's own X/Y/Z plot drew, read back from its file: which epoch and strength each picture is.

The file's text holds the first cell's prompt, its settings, and both axes as they were typed. What each cell was drawn
from is found by doing what "Prompt S/R" does, so that any way of writing the axes will do that gives numbered files:
``000001, 000002``, ``NUM, 000001``, ``x-000001, x-000002``, ``<lora:x-000001:0.8>``, ``0.1, 0.2``, ``:0.1>``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from lora_forge.errors import ConfigError, LoraFileError, LoraForgeError
from lora_forge.evaluate.lora_tags import LoraTag, split_prompt
from lora_forge.evaluate.plan import NO_EPOCH, GridPlan
from lora_forge.evaluate.xyz import SAMPLERS, parse_csv
from lora_forge.evaluate.xyz_layout import find_layout
from lora_forge.events import text_of
from lora_forge.i18n import Said, word

_SETTING = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_NUMBERED = re.compile(r"(.+)-(\d{6})")
_SIZE = re.compile(r"(\d+)\s*x\s*(\d+)")
_USER_COMMENT, _EXIF = 0x9286, 0x8769
_REPLACES, _NOTHING = "Prompt S/R", "Nothing"
_TAG = re.compile(r"<lora:[^>]*>", re.IGNORECASE)
_NO_PLACES = word("{columns} x {rows} pictures of {width}x{height} pixels do not fit its {grid_width}x{grid_height}")

Cell = tuple[int, float]


@dataclass(frozen=True)
class HostAxes:
    """What the text of a grid tells. ``cells``: of each (column, row) the epoch and strength, None where the picture
    was drawn without a file (a first value that is a word: NUM). ``base``: the checkpoint's name; may be empty."""

    plan: GridPlan
    base: str
    columns: int
    rows: int
    cells: Mapping[tuple[int, int], Cell | None]
    settings: Mapping[str, str]


@dataclass(frozen=True)
class HostGrid:
    """``pictures``: by (epoch, strength), the baseline as (0, 0.0); ``left_out``: how many pictures are of no cell, or
    are black as those of an interrupted grid."""

    axes: HostAxes
    pictures: Mapping[Cell, Image.Image]
    left_out: int


def read_host_grid(file: Path | bytes) -> HostGrid:
    """The pictures of a grid, RGB, as large as they are in the file. Those of a cell that is there twice: the first.

    Raises:
        ConfigError: it can't be read; the sentence says why and what can be read.
    """
    with _opened(file) as picture:
        axes = parse_axes(_text_of(picture))
        grid, is_lossy = _pixels(picture), picture.format != "PNG"
    size = axes.plan.width, axes.plan.height
    layout = find_layout(grid, axes.columns, axes.rows, _sizes(axes), is_lossy)
    if layout is None:
        told = {"columns": axes.columns, "rows": axes.rows, "width": size[0], "height": size[1]}
        raise _refused(Said(_NO_PLACES, {**told, "grid_width": grid.width, "grid_height": grid.height}))
    found: dict[Cell, Image.Image] = {}
    left_out = 0
    for place, cell in axes.cells.items():
        if cell in found:
            continue  # strength 0 is one baseline, whatever the epoch
        shown = grid.crop(layout.box(*place))
        if cell is None or shown.getextrema() == ((0, 0), (0, 0), (0, 0)):
            left_out += 1
            continue
        found[cell] = shown
    if not any(strength for _, strength in found):
        raise _refused(Said(word("it has no picture with a LoRA")))
    return HostGrid(axes, found, left_out)


def axes_of_file(file: Path | bytes) -> HostAxes:
    """What the text of a grid tells, without a look at its pixels.

    Raises:
        ConfigError: as :func:`read_host_grid`.
    """
    with _opened(file) as picture:
        return parse_axes(_text_of(picture))


def parse_axes(text: str) -> HostAxes:
    """The axes out of an infotext.

    Raises:
        ConfigError: there are none, or they are not epochs and strengths of one LoRA.
    """
    prompt, negative, settings = parse_infotext(text)
    if "X Type" not in settings and "Y Type" not in settings:
        raise _refused(Said(word("its text tells of no X/Y/Z plot")))
    if settings.get("Z Type", _NOTHING) != _NOTHING:
        raise _refused(Said(word("it has a third axis; a sub-grid, which has two, can be read")))
    x, y = _axis(settings, "X", prompt), _axis(settings, "Y", prompt)
    prompts = {
        (column, row): prompt.replace(x[0], across).replace(y[0], down)
        for row, down in enumerate(y)
        for column, across in enumerate(x)
    }
    name = _lora_of(list(prompts.values()))
    cells = {place: _cell_of(one, name) for place, one in prompts.items()}
    place = f"<lora:{name}-NUM:STRENGTH>"
    wanted = next(with_place for one in prompts.values() if (with_place := _replaced(one, name, place)) != one)
    plan = _plan(wanted, negative, settings, [cell for cell in cells.values() if cell])
    return HostAxes(plan, settings.get("Model", ""), len(x), len(y), cells, settings)


def parse_infotext(text: str) -> tuple[str, str, dict[str, str]]:
    """Prompt, negative prompt and settings, as the hosts' ``parse_generation_parameters`` reads them."""
    *lines, last = text.strip().split("\n")
    if len(_SETTING.findall(last)) < 3:
        lines, last = [*lines, last], ""
    parts: tuple[list[str], list[str]] = ([], [])
    is_negative = 0
    for line in lines:
        if line.strip().startswith("Negative prompt:"):
            is_negative, line = 1, line.strip().removeprefix("Negative prompt:")
        parts[is_negative].append(line.strip())
    settings = {key: _unquoted(value) for key, value in _SETTING.findall(last)}
    return "\n".join(parts[0]).strip(), "\n".join(parts[1]).strip(), settings


# ---------------------------------------------------------------- the text


def _opened(file: Path | bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(file) if isinstance(file, bytes) else file)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as cause:
        raise _refused(Said(word("it is no picture that can be opened ({cause})"), {"cause": str(cause)})) from cause


def _pixels(picture: Image.Image) -> Image.Image:
    try:
        return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError) as cause:  # PNG's reader says the second
        raise _refused(Said(word("it is no picture that can be opened ({cause})"), {"cause": str(cause)})) from cause


def _text_of(picture: Image.Image) -> str:
    """PNG keeps it in a chunk, JPEG and WebP in EXIF."""
    told = picture.info.get("parameters")
    if not isinstance(told, str):
        raw = picture.getexif().get_ifd(_EXIF).get(_USER_COMMENT, b"")
        raw = raw if isinstance(raw, bytes) else b""
        told = raw[8:].decode("utf-16-be" if raw.startswith(b"UNICODE") else "utf-8", errors="ignore")
    if not told.strip():
        raise _refused(Said(word("it holds no text of how it was made")))
    return told


def _unquoted(value: str) -> str:
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value.strip()


def _axis(settings: Mapping[str, str], letter: str, prompt: str) -> list[str]:
    kind = settings.get(f"{letter} Type", _NOTHING)
    if kind == _NOTHING:
        return [""]
    if kind != _REPLACES:
        template = word("its {axis} axis is {kind}, not Prompt S/R")
        raise _refused(Said(template, {"axis": letter, "kind": kind}))
    values = parse_csv(settings.get(f"{letter} Values", ""))
    if not values or not values[0] or values[0] not in prompt:
        template = word("the first value of its {axis} axis ({value}) is not in its prompt")
        raise _refused(Said(template, {"axis": letter, "value": values[0] if values else ""}))
    return values


# ---------------------------------------------------------------- which LoRA


def _lora_of(prompts: Sequence[str]) -> str:
    """The name, without a number, of the one LoRA whose epoch or strength the axes change."""
    numbered = {match[1] for prompt in prompts for tag in _tags(prompt) if (match := _NUMBERED.fullmatch(tag.name))}
    if not numbered:
        raise _refused(Said(word("no <lora:NAME-000001:0.8> is in its prompts: epochs are told by such names")))
    changing = {name for name in numbered if len({str(_tag_of(prompt, name)) for prompt in prompts}) > 1} or numbered
    if len(changing) > 1:
        names = ", ".join(sorted(changing))
        raise _refused(Said(word("its axes change several LoRAs ({names})"), {"names": names}))
    (name,) = changing
    if len({" ".join(_replaced(prompt, name, "").split()) for prompt in prompts}) > 1:
        raise _refused(Said(word("its axes change other words of the prompt too, not the LoRA alone")))
    return name


def _tags(prompt: str) -> list[LoraTag]:
    """A strength that is no number (STRENGTH) is not a number here either."""
    return [_read(tag) for tag in _TAG.findall(prompt)]


def _read(tag: str) -> LoraTag:
    try:
        return split_prompt(tag)[1][0]
    except LoraFileError:
        return LoraTag(tag[len("<lora:") : -1].partition(":")[0].strip(), float("nan"))


def _is_of(tag: LoraTag, name: str) -> bool:
    """With a number, without one, or with a word in its place (NUM)."""
    return tag.name == name or tag.name.rpartition("-")[0] == name


def _tag_of(prompt: str, name: str) -> LoraTag | None:
    return next((tag for tag in _tags(prompt) if _is_of(tag, name)), None)


def _replaced(prompt: str, name: str, by: str) -> str:
    return _TAG.sub(lambda match: by if _is_of(_read(match[0]), name) else match[0], prompt)


def _cell_of(prompt: str, name: str) -> Cell | None:
    """Without any tag of the LoRA, or at strength 0, it is the baseline; without a file of a number it is nothing."""
    tag = _tag_of(prompt, name)
    if tag is None or tag.strength == 0:
        return NO_EPOCH, 0.0
    match = _NUMBERED.fullmatch(tag.name)
    is_drawn = match is not None and int(match[2]) >= 1 and 0 < tag.strength <= 10
    return (int(match[2]), round(tag.strength, 6)) if match is not None and is_drawn else None


# ---------------------------------------------------------------- the plan


def _plan(prompt: str, negative: str, settings: Mapping[str, str], cells: Sequence[Cell]) -> GridPlan:
    size = _SIZE.fullmatch(settings.get("Size", "").strip())
    if size is None or not cells:
        raise _refused(Said(word("its text tells no size") if size is None else word("it has no picture with a LoRA")))
    sampler = settings.get("Sampler", "").removesuffix(" Karras")
    try:
        return GridPlan(
            prompt=prompt,
            negative_prompt=negative,
            epochs=tuple(sorted({epoch for epoch, strength in cells if strength})),
            strengths=tuple(sorted({strength for _, strength in cells})),
            seeds=(int(settings.get("Seed", "0")),),
            width=int(size[1]),
            height=int(size[2]),
            steps=int(settings.get("Steps", "20")),
            guidance=float(settings.get("CFG scale", "7")),
            sampler={label: ours for ours, label in SAMPLERS.items()}.get(sampler, sampler),
            clip_skip=int(settings.get("Clip skip", "1")),
        )
    except ValueError as cause:
        raise _refused(Said(word("its text can't be read ({cause})"), {"cause": str(cause)})) from cause
    except LoraForgeError as cause:
        raise _refused(Said(word("it is no grid of a LoRA ({cause})"), {"cause": text_of(cause)})) from cause


def _sizes(axes: HostAxes) -> list[tuple[int, int]]:
    """What size the pictures may have: after the hires pass, else that of the text."""
    plan, told = axes.plan, axes.settings
    sizes = [(plan.width, plan.height)]
    resized = _SIZE.fullmatch(told.get("Hires resize", "").strip())
    if resized:
        sizes.insert(0, (int(resized[1]), int(resized[2])))
    try:
        factor = float(told.get("Hires upscale", "1"))
    except ValueError:
        factor = 1.0
    if factor not in (0.0, 1.0):
        sizes.insert(0, (int(plan.width * factor), int(plan.height * factor)))
    return sizes


def _refused(why: Said) -> ConfigError:
    return ConfigError(
        "This grid can't be read: {why}.",
        "It must be the file of an X/Y/Z plot whose axes replace the LoRA's number and its strength (Prompt S/R).",
        why=why,
    )
