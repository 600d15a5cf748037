"""The figures of ``toyworld.py`` beside their reach, as issue 2 states them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MARKS = ("pink hair", "green eyes", "star", "round glasses")
STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Row:
    """One line of the table. ``values``: one a seed; ``is_reached`` of their mean."""

    what: str
    reach: str
    values: list[float]
    is_reached: bool


def table_rows(deleted: Sequence[Mapping[str, Any]], kept: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The issue's line, figure by figure; ``deleted`` and ``kept`` are the A and B runs of the same seeds."""
    rows: list[Row] = []

    def row(what: str, values: list[float], least: float | None = None, most: float | None = None) -> None:
        mean = sum(values) / len(values)
        is_reached = (least is None or mean >= least - 1e-9) and (most is None or mean <= most + 1e-9)
        reach = f"≥ {100 * least:.0f} %" if least is not None else f"≤ {100 * most:.0f} %" if most is not None else ""
        rows.append(Row(what, reach, values, is_reached))

    pink_a, pink_b = ([run["alone"]["pink hair"] for run in runs] for runs in (deleted, kept))
    row("tags deleted, trigger alone: pink hair", pink_a, least=0.95)
    for mark in MARKS[1:]:
        row(f"tags deleted, trigger alone: {mark}", [run["alone"][mark] for run in deleted], least=0.85)
    row("tags kept, trigger alone: pink hair", pink_b, most=0.50)
    row("difference deleted - kept", [a - b for a, b in zip(pink_a, pink_b, strict=True)], least=0.45)
    row('tags kept, by its own word "pink hair"', [run["own_word"] for run in kept], least=0.95)
    row("red dress in snow (no photo holds it), deleted", [run["new_scene"] for run in deleted], least=0.95)
    row("red dress in snow, kept", [run["new_scene"] for run in kept], least=0.95)
    row("no trigger word: own traits, deleted", [run["strangers"] for run in deleted], least=0.97)
    row("no trigger word: own traits, kept", [run["strangers"] for run in kept], least=0.97)
    row("the same without any LoRA", [run["strangers_without_lora"] for run in deleted])
    row("no trigger word: star or round glasses appear", [run["leaked_marks"] for run in deleted])
    conflict = [a["conflict_pink"] - b["conflict_pink"] for a, b in zip(deleted, kept, strict=True)]
    row('"white hair" at guidance 2, strength 1.5: pink stays, deleted - kept', conflict, least=0.30)
    return [*rows, *strength_rows(deleted)]


def strength_rows(deleted: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Identity at each strength; reached where its mean is above that of the strength before."""
    rows: list[Row] = []
    before = -1.0
    for strength in STRENGTHS:
        values = [run["strengths"][f"{strength:g}"] for run in deleted]
        mean = sum(values) / len(values)
        rows.append(Row(f"identity at strength {strength:g}", "rises" if strength else "", values, mean > before))
        before = mean
    return rows


def markdown(rows: Sequence[Row], seeds: Sequence[int]) -> str:
    """The table."""
    lines = [
        f"| figure | reach | mean | {' | '.join(f'seed {seed}' for seed in seeds)} | |",
        "|---" * (len(seeds) + 4) + "|",
    ]
    for row in rows:
        mean = sum(row.values) / len(row.values)
        values = " | ".join(f"{100 * value:.1f}" for value in row.values)
        mark = ("ok" if row.is_reached else "**MISSED**") if row.reach else ""
        lines.append(f"| {row.what} | {row.reach} | {100 * mean:.1f} | {values} | {mark} |")
    return "\n".join(lines)
