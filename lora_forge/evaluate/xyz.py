"""The grid as a text that AUTOMATIC1111 and Forge can be given: prompt, settings, and the X/Y/Z plot's two axes.

Both axes are "Prompt S/R": the first value of an axis is looked for in the prompt and replaced, wherever it occurs, by
each value in turn, X before Y. So the first values are chosen such that doing this really gives the intended prompt of
every cell; that is tried here, not hoped for.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import chain
from pathlib import Path

from lora_forge.config import Family
from lora_forge.errors import ConfigError, LoraFileError
from lora_forge.evaluate.lora_tags import find_lora
from lora_forge.evaluate.plan import GridPlan, file_stem
from lora_forge.lora_file.names import parse_epoch

SAMPLERS = {"dpmpp_2m": "DPM++ 2M", "euler": "Euler", "euler_a": "Euler a", "ddim": "DDIM"}


@dataclass(frozen=True)
class Style:
    """Words around the subject, and the size, that suit a family; ``size_px`` is both sides."""

    quality: str
    negative: str
    size_px: int
    guidance: float = 7.0


_PHOTO = Style(
    "RAW photo, best quality, highly detailed", "lowres, blurry, bad anatomy, bad hands, watermark, text", 512
)
_DRAWN = Style("masterpiece, best quality", "lowres, worst quality, bad anatomy, bad hands, watermark, text", 512)
_SUBJECT = {"person": "portrait", "anime": "1girl, solo, upper body", "style": "landscape", "toyworld": "1girl"}


def style_of(kind: str, family: Family) -> Style:
    """Quality words, negative prompt and size for a type of LoRA on a family."""
    if kind.startswith("toyworld"):
        return Style("", "", 64, 3.0)
    style = _DRAWN if kind == "anime" else _PHOTO if kind in ("person", "object") else Style(*_plain(_DRAWN))
    size_px = {Family.SD1: 512, Family.SD2: 768, Family.SDXL: 1024}[family]
    guidance = 5.0 if family is Family.SDXL else 7.0
    return Style(style.quality, style.negative, size_px, guidance)


def _plain(style: Style) -> tuple[str, str, int]:
    return "best quality", style.negative, style.size_px


def default_prompt(name: str, trigger_word: str, kind: str, family: Family) -> str:
    """A prompt with the places of a :class:`GridPlan`: quality words, trigger word, what is in the picture."""
    words = (style_of(kind, family).quality, trigger_word, _SUBJECT.get(kind, ""))
    return ", ".join([*(word for word in words if word), f"<lora:{name}-NUM:STRENGTH>"])


def default_plan(
    name: str,
    trigger_word: str,
    kind: str,
    family: Family,
    epochs: Sequence[int],
    strengths: Sequence[float],
    *,
    has_baseline: bool = False,
    seed: int = 0,
) -> GridPlan:
    """The grid of a LoRA's epochs and strengths with what suits its type and family.

    Raises:
        ConfigError: no epoch or strength, or one out of range.
    """
    style = style_of(kind, family)
    rows = sorted({*strengths, 0.0}) if has_baseline else sorted({*strengths})
    return GridPlan(
        prompt=default_prompt(name, trigger_word, kind, family),
        negative_prompt=style.negative,
        epochs=tuple(epochs),
        strengths=tuple(rows),
        seeds=(seed,),
        width=style.size_px,
        height=style.size_px,
        steps=20,
        guidance=style.guidance,
    )


@dataclass(frozen=True)
class Axes:
    """A prompt and the values of both axes; the first of each occurs in the prompt."""

    prompt: str
    x: tuple[str, ...]
    y: tuple[str, ...]


def axes_of(plan: GridPlan) -> Axes:
    """The axes that, replaced in the prompt, give every cell its LoRA: the shortest values that hit nothing else.

    Raises:
        ConfigError: whatever is tried would also hit other text, so the prompt must change.
    """
    least = max(1, max(len(f"{strength:g}".partition(".")[2]) for strength in plan.strengths))
    for x in _x_values(plan.name, plan.epochs):
        for decimals in (least, least + 1, least + 2):  # another LoRA in the prompt may have the same strength
            for form in ("{:.{}f}", ":{:.{}f}>"):
                y = tuple(form.format(strength, decimals) for strength in plan.strengths)
                axes = Axes(_filled(plan, plan.epochs[0], plan.strengths[0], decimals), x, y)
                if _gives_every_cell(axes, plan, decimals):
                    return axes
    raise ConfigError(
        "The prompt {prompt!r} holds the LoRA's number or strength a second time, where the grid would change it too.",
        "Take it out of the prompt.",
        prompt=plan.prompt,
    )


def infotext(plan: GridPlan, more: Mapping[str, str] | None = None) -> str:
    """The grid as both hosts write and read one. ``more``: further settings by the host's own names for them.

    Raises:
        ConfigError: see :func:`axes_of`.
    """
    axes = axes_of(plan)
    settings = {
        "Steps": str(plan.steps),
        "Sampler": SAMPLERS.get(plan.sampler, plan.sampler),
        "CFG scale": f"{plan.guidance:g}",
        "Seed": str(plan.seeds[0]),
        "Size": f"{plan.width}x{plan.height}",
        **(more or {}),
        "Script": "X/Y/Z plot",
        "X Type": "Prompt S/R",
        "X Values": csv_line(axes.x),
        "Y Type": "Prompt S/R",
        "Y Values": csv_line(axes.y),
        "Z Type": "Nothing",
    }
    lines = [axes.prompt]
    lines += [f"Negative prompt: {plan.negative_prompt}"] if plan.negative_prompt else []
    return "\n".join([*lines, ", ".join(f"{key}: {quote(value)}" for key, value in settings.items())])


def missing_files(plan: GridPlan, lora_dir: Path) -> tuple[str, ...]:
    """Names in the grid that have no file in ``lora_dir`` or below it: the hosts would draw those without any LoRA."""
    there = {path.stem for path in lora_dir.rglob("*.safetensors")}
    return tuple(stem for epoch in plan.epochs if (stem := file_stem(plan.name, epoch)) not in there)


def check_files(plan: GridPlan, lora_dir: Path) -> None:
    """Refuse a grid with files that are not there.

    Raises:
        LoraFileError: which are missing.
    """
    missing = missing_files(plan, lora_dir)
    if missing:
        raise LoraFileError(
            "There is no file for {missing}.",
            "Choose epochs that were trained, or train them first.",
            missing=", ".join(f"{stem}.safetensors" for stem in missing),
        )


def trained(lora_dir: Path) -> dict[str, tuple[int, ...]]:
    """Numbered LoRAs beneath ``lora_dir``: their epochs by name, the name written last first."""
    found: dict[str, set[int]] = {}
    newest: dict[str, float] = {}
    for path in lora_dir.rglob("*.safetensors"):
        parsed = parse_epoch(path)
        if parsed:
            name, epoch = parsed
            found.setdefault(name, set()).add(epoch)
            newest[name] = max(newest.get(name, 0.0), path.stat().st_mtime)
    return {name: tuple(sorted(found[name])) for name in sorted(found, key=lambda name: -newest[name])}


def trigger_word_of(folder: Path, name: str, epoch: int) -> str:
    """The trigger word that a file says it was trained with; empty when it says none or can't be read."""
    from lora_forge.lora_file.writer import load_metadata  # brings torch, which a page needs for nothing else

    try:
        metadata = load_metadata(find_lora(file_stem(name, epoch), [folder]))
    except (LoraFileError, OSError):
        return ""
    return metadata.get("modelspec.trigger_phrase", "")


def range_text(epochs: Sequence[int]) -> str:
    """``(1, 2, 3, 5)`` as ``"1-3,5"``, which ``plan.parse_range`` reads."""
    spans: list[list[int]] = []
    for epoch in sorted(epochs):
        if spans and epoch == spans[-1][-1] + 1:
            spans[-1][1:] = [epoch]
        else:
            spans.append([epoch])
    return ",".join("-".join(map(str, span)) for span in spans)


def csv_line(values: Iterable[str]) -> str:
    """Values as the X/Y/Z plot's field has them."""
    return ", ".join(json.dumps(value) if "," in value else value for value in values)


def parse_csv(text: str) -> list[str]:
    """The field's values as the X/Y/Z plot reads them (its ``csv_string_to_list_strip``)."""
    return [part.strip() for part in chain.from_iterable(csv.reader(StringIO(text), skipinitialspace=True))]


def quote(value: str) -> str:
    """A setting's value as both hosts quote one (their ``infotext_utils.quote``)."""
    return json.dumps(value, ensure_ascii=False) if any(char in value for char in ',:\n"') else value


def _filled(plan: GridPlan, epoch: int, strength: float, decimals: int) -> str:
    """The prompt of one cell, a strength of 0 included."""
    tag = f"<lora:{file_stem(plan.name, epoch)}:{strength:.{decimals}f}>"
    return plan.prompt.replace(f"<lora:{plan.name}-NUM:STRENGTH>", tag)


def _x_values(name: str, epochs: Sequence[int]) -> list[tuple[str, ...]]:
    """What may stand for the epoch, the shortest first: ``000001`` makes the clearest labels."""
    forms = ("{epoch:06d}", f"{name}-{{epoch:06d}}", f"<lora:{name}-{{epoch:06d}}:")
    return [tuple(form.format(epoch=epoch) for epoch in epochs) for form in forms]


def _gives_every_cell(axes: Axes, plan: GridPlan, decimals: int) -> bool:
    """Do what the script does, cell by cell."""
    if parse_csv(csv_line(axes.x)) != list(axes.x) or parse_csv(csv_line(axes.y)) != list(axes.y):
        return False
    if axes.x[0] not in axes.prompt or axes.y[0] not in axes.prompt:
        return False
    for epoch, x in zip(plan.epochs, axes.x, strict=True):
        for strength, y in zip(plan.strengths, axes.y, strict=True):
            drawn = [text.replace(axes.x[0], x).replace(axes.y[0], y) for text in (axes.prompt, plan.negative_prompt)]
            if drawn != [_filled(plan, epoch, strength, decimals), plan.negative_prompt]:
                return False
    return True
