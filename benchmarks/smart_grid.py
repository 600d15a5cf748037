"""Does a smart grid find what the full one finds? PYTHONPATH=. python benchmarks/smart_grid.py [--plants 20]

Every full grid there is, the toy world's that tests/evaluate/recorded holds and planted ones of four families (see
tests/evaluate/planted.py) with 1, 2 and 4 pictures a cell, is searched cell by cell as the Test step does it, then both
are asked for their recommendation. One table: cells drawn of all; how often the smart grid's cell is the full one's or
beside it (at most one epoch and one strength off), or one that the full grid can't tell from it; and what either is
truly worth less than the best cell, in points, on average.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lora_forge.evaluate.plan import GridPlan
from lora_forge.evaluate.scores import BASELINE, Cell, CellScore
from tests.evaluate.agreement import Agreement, agreement, plants, with_baseline, worth
from tests.evaluate.planted import FAMILIES
from tests.evaluate.recorded import recorded

LEAST_CELLS = 50
"""Smaller recorded grids are no full ones."""


@dataclass(frozen=True)
class Full:
    """A full grid and what each cell is truly worth; one that is not there is worth nothing."""

    group: str
    plan: GridPlan
    surface: Mapping[Cell, CellScore]
    worths: Mapping[Cell, float]


def grids(count: int) -> Iterator[Full]:
    """All full grids, group by group."""
    for one in recorded():
        if len(one.scores) >= LEAST_CELLS and one.truth:
            worths = {cell: one.worth(cell) for cell in one.truth if cell != BASELINE}
            yield Full(f"toy world, {one.kind}", one.plan, one.surface, worths)
    for family in FAMILIES:
        for pictures in (1, 2, 4):
            for seed, planted in enumerate(plants(family, count)):
                surface = with_baseline(planted, pictures, seed)
                worths = {cell: worth(truth) for cell, truth in planted.truth.items()}
                yield Full(f"planted, {family}, {pictures} a cell", planted.plan, surface, worths)


def row(name: str, found: Sequence[tuple[Full, Agreement]]) -> str:
    """One line of the table."""
    near, ties = (sum(getattr(told, what) for _, told in found) for what in ("is_near", "is_tie"))
    behind = [
        sum(100 * (max(full.worths.values()) - full.worths.get(cell(told), 0.0)) for full, told in found) / len(found)
        for cell in (lambda told: told.full, lambda told: told.smart)
    ]
    cells = f"{max(told.cells for _, told in found)} of {max(len(full.surface) for full, _ in found)}"
    shares = f"{100 * near / len(found):.0f} % | {100 * ties / len(found):.0f} %"
    return f"| {name} | {len(found)} | {cells} | {shares} | {behind[0]:.1f} | {behind[1]:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plants", type=int, default=20, help="of each family and number of pictures")
    groups: dict[str, list[tuple[Full, Agreement]]] = {}
    for full in grids(parser.parse_args().plants):
        groups.setdefault(full.group, []).append((full, agreement(full.plan, full.surface)))
    print("| full grids | number | cells, baseline too | same or beside | or no worse | full: points off | smart |")
    print("|---|---|---|---|---|---|---|")
    for name, found in groups.items():
        print(row(name, found))
    print(row("all", [one for found in groups.values() for one in found]))


if __name__ == "__main__":
    main()
