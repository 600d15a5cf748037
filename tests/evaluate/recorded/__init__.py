"""Grids of the toy world whose truth is known, as ``benchmarks/toyworld_grids.py --record`` wrote them.

"cells" holds one entry a picture of each score, obedience beside the baseline already; "truth" the toy judge's means on
fresh pictures of the same cells. Cells are called "epoch@strength".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge.evaluate.plan import GridPlan
from lora_forge.evaluate.scores import BASELINE, Cell, CellScore, PictureScore

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Photos:
    """What the judges found out about the photos."""

    count: int
    leave_one_out: float | None
    outliers: tuple[str, ...]


@dataclass(frozen=True)
class Recorded:
    """``scores``: one a picture; ``truth``: identity and obedience by cell, 0 to 1. ``expects``: the diagnosis."""

    name: str
    kind: str
    seed: int
    expects: str
    plan: GridPlan
    photos: Photos
    scores: Mapping[Cell, tuple[PictureScore, ...]]
    truth: Mapping[Cell, Mapping[str, float]]

    @property
    def surface(self) -> dict[Cell, CellScore]:
        """The means of each cell."""
        return {cell: CellScore.of(scores) for cell, scores in self.scores.items()}

    def worth(self, cell: Cell) -> float:
        """The true score: the harmonic mean of identity and obedience on fresh pictures."""
        identity, obedience = self.truth[cell]["identity"], self.truth[cell]["obedience"]
        return 2 * identity * obedience / (identity + obedience) if identity + obedience else 0.0

    @property
    def best(self) -> float:
        """The true score of the best cell."""
        return max(self.worth(cell) for cell in self.truth if cell != BASELINE)


def recorded(folder: Path = FOLDER) -> list[Recorded]:
    """All of them, by name."""
    return [read(path) for path in sorted(folder.glob("*.json"))]


def read(path: Path) -> Recorded:
    """One of them."""
    plain = json.loads(path.read_text(encoding="utf-8"))
    photos = plain["photos"]
    return Recorded(
        plain["name"],
        plain["kind"],
        int(plain["seed"]),
        plain.get("expects", ""),
        GridPlan(
            "ohwx <lora:x-NUM:STRENGTH>",
            epochs=tuple(plain["epochs"]),
            strengths=(0.0, *map(float, plain["strengths"])),
        ),
        Photos(int(photos["count"]), photos.get("leave_one_out"), tuple(photos.get("outliers", ()))),
        {_cell(name): _pictures(told) for name, told in plain["cells"].items()},
        {_cell(name): told for name, told in plain["truth"].items()},
    )


def _cell(name: str) -> Cell:
    epoch, _, strength = name.partition("@")
    return int(epoch), float(strength)


def _pictures(told: Mapping[str, Any]) -> tuple[PictureScore, ...]:
    names, columns = list(told), list(told.values())
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return tuple(PictureScore(**{"identity": None, **row}) for row in rows)
