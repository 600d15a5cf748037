"""Scores and truth of toy grids, as small records: python benchmarks/toyworld_scores.py --out DIR --record FOLDER

Scores the whole grids that toyworld_grids.py drew into DIR with the judges that the product uses and writes one JSON a
run: each picture's scores (obedience beside the baseline already), and the truth of every cell that could be the best,
which is the toy world's own judge on other pictures. Then a table: what is recommended, by all cells and by a smart
grid's, and how far that is from the best in truth. Nothing is drawn. The coarse grids of all kinds of runs are scored
and recorded by toyworld_diagnosis.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.toyworld_grids import (
    SWAPS,
    Cell,
    Grid,
    Pixels,
    config_of,
    grid_of,
    images_of,
    is_drawn,
    load_pictures,
    mean,
    say,
    seeds_of,
)
from lora_forge.atomic import write_text
from lora_forge.evaluate.judges.copying import CopyingJudge
from lora_forge.evaluate.judges.health import HealthJudge
from lora_forge.evaluate.judges.joined import Joined
from lora_forge.evaluate.judges.readers import ScoringReader
from lora_forge.evaluate.judges.tags import TagJudge, TraitLikeness
from lora_forge.evaluate.plan import GridPlan
from lora_forge.evaluate.recommend import recommend
from lora_forge.evaluate.scores import (
    BASELINE,
    SCORES,
    CellScore,
    Judge,
    Measure,
    PictureScore,
    Surface,
    judge_cell,
    surface_of,
)
from lora_forge.evaluate.smart import next_cells
from lora_forge.toyworld.judge import Judge as ToyEye
from lora_forge.toyworld.judge import load_judge
from lora_forge.toyworld.subject import TRAIT_TAGS
from lora_forge.toyworld.tagger import THRESHOLDS, ToyTagger
from lora_forge.work.judging import PhotoSetFacts


@dataclass(frozen=True)
class ToyJudging:
    """What ``work.judging`` makes of a project on the toy world, without a WebUI's desk."""

    judge: Judge
    photos: PhotoSetFacts


def judging_of(project: Path) -> ToyJudging:
    """The product's own judges: the bundled tagger for her baked traits and the swaps, copying and health."""
    images = [Image.open(path).convert("RGB") for path in sorted((project / "images").rglob("photo-*.png"))]
    reader = ScoringReader(ToyTagger(), THRESHOLDS)
    likeness = TraitLikeness([reader.chances(scored) for scored in reader.read(images)], TRAIT_TAGS)
    judge = Joined([TagJudge(reader, likeness), CopyingJudge(images), HealthJudge(images)])
    return ToyJudging(judge, PhotoSetFacts(len(images), likeness.usual))


Scores = dict[Cell, list[PictureScore]]

EXPECTS = {"good": "good", "under": "underfit", "hot": "ruined", "copy": "copying"}


@dataclass(frozen=True)
class Truth:
    """Of one cell, 0..1: means over ``count`` pictures that no score has seen."""

    identity: float
    obedience: float
    count: int

    @classmethod
    def of(cls, eye: ToyEye, images: Sequence[Image.Image]) -> Truth:
        """``images``: half plain, then half with the swaps."""
        seen = eye.look_at(images)
        obeyed = [float(one.shows(tag)) for one in seen[len(seen) // 2 :] for tag in SWAPS]
        return cls(mean([one.identity for one in seen]), mean(obeyed), len(seen))

    @property
    def quality(self) -> float:
        """The harmonic mean of both, as ``evaluate.quality`` has it."""
        total = self.identity + self.obedience
        return 2 * self.identity * self.obedience / total if total else 0.0


def score_pictures(plan: GridPlan, pictures: Mapping[Cell, Pixels], judge: Judge) -> Scores:
    """Every picture of a test, swaps not yet beside the baseline."""
    return {cell: judge_cell(judge, images_of(pixels), plan.asked()) for cell, pixels in pictures.items()}


def own_pictures(grid: Grid) -> dict[Cell, Pixels]:
    """The test's alone."""
    count = grid.plan.pictures_a_cell
    return {cell: pixels[:count] for cell, pixels in load_pictures(grid).items() if cell in grid.cells}


def truths(grid: Grid, eye: ToyEye) -> dict[Cell, Truth]:
    """Of every cell that has pictures for it."""
    count = grid.plan.pictures_a_cell
    pictures = {cell: images_of(pixels[count:]) for cell, pixels in load_pictures(grid).items()}
    return {cell: Truth.of(eye, images) for cell, images in pictures.items() if images}


def record_of(
    plan: GridPlan, kind: str, seed: int, scores: Scores, truth: Mapping[Cell, Truth], photos: PhotoSetFacts
) -> str:
    """JSON, one cell a line."""
    leave_one_out = None if photos.leave_one_out is None else round(photos.leave_one_out, 3)
    head: dict[str, Any] = {
        "name": f"{kind}{seed}",
        "kind": kind,
        "seed": seed,
        "expects": EXPECTS[kind],
        "epochs": list(plan.epochs),
        "strengths": [strength for strength in plan.strengths if strength],
        "photos": {"count": photos.count, "leave_one_out": leave_one_out, "outliers": list(photos.outliers)},
    }
    lines = [f'"{key}": {json.dumps(value)},' for key, value in head.items()]
    cells = [f'"{_key(cell)}": {json.dumps(_columns(plan, rows, scores))}' for cell, rows in sorted(scores.items())]
    told = [f'"{_key(cell)}": {json.dumps(_plain(one))}' for cell, one in sorted(truth.items())]
    return "\n".join(["{", *lines, '"cells": {', ",\n".join(cells), "},", '"truth": {', ",\n".join(told), "}", "}", ""])


def _columns(plan: GridPlan, rows: Sequence[PictureScore], scores: Scores) -> dict[str, list[float | None]]:
    """A list a score, an entry a picture."""
    alone = [surface_of(plan, {BASELINE: scores[BASELINE], (1, 1.0): [row]})[1, 1.0] for row in rows]
    columns = {name: [_rounded(one.measure(name)) for one in alone] for name in SCORES}
    return {name: column for name, column in columns.items() if any(value is not None for value in column)}


def _plain(truth: Truth) -> dict[str, Any]:
    return {"identity": round(truth.identity, 3), "obedience": round(truth.obedience, 3), "count": truth.count}


def _key(cell: Cell) -> str:
    return f"{cell[0]}@{cell[1]:g}"


def _rounded(measure: Measure | None) -> float | None:
    return None if measure is None else round(measure.mean, 3)


@dataclass(frozen=True)
class Reading:
    """What is said of one grid, whole or smart, and what is true of it."""

    name: str
    cells: int
    kept: Cell
    quality: float
    best: Cell
    truth: Mapping[Cell, Truth]

    @classmethod
    def of(cls, name: str, surface: Surface, truth: Mapping[Cell, Truth]) -> Reading:
        """By the cells in ``surface``."""
        found = recommend(surface)
        best = max((cell for cell in truth if cell != BASELINE), key=lambda cell: truth[cell].quality)
        return cls(name, len(surface), (found.epoch, found.strength), found.quality, best, truth)

    def row(self) -> list[str]:
        """Recommended cell, its quality as scored, its true one, and how far that is from the best."""
        true = self.truth.get(self.kept)
        told = ["none", "none"] if true is None else [points(true.quality), points(self.top - true.quality)]
        return [f"{self.kept[0]} at {self.kept[1]:g}", points(self.quality), *told]

    @property
    def top(self) -> float:
        """The best cell's true quality."""
        return self.truth[self.best].quality


def points(share: float) -> str:
    """``0.9823`` as ``98.2``."""
    return f"{100 * share:.1f}"


def smart(plan: GridPlan, surface: Surface) -> Surface:
    """What a smart grid draws of it, as it asks for it."""
    known: dict[Cell, CellScore] = {}
    while wanted := next_cells(plan, known):
        known |= {cell: surface[cell] for cell in wanted}
    return known


def table(readings: Sequence[tuple[Reading, Reading]]) -> str:
    """Markdown; of each run the whole grid and the smart one."""
    titles = ["run", "best in truth", "its quality", "recommended", "scored", "in truth", "gap", "smart: cells"]
    titles += ["recommended", "gap"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for whole, part in readings:
        kept, _, _, gap = part.row()
        cells = [whole.name, f"{whole.best[0]} at {whole.best[1]:g}", points(whole.top), *whole.row(), str(part.cells)]
        lines.append(f"| {' | '.join([*cells, kept, gap])} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where toyworld_grids.py kept its pictures")
    parser.add_argument("--seeds", default="0-9")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    eye, readings = load_judge(), []
    args.record.mkdir(parents=True, exist_ok=True)
    for seed in seeds_of(args.seeds):
        config = config_of("good", seed)
        grid = grid_of(config, args.out / config.name)
        if not is_drawn(grid):
            sys.exit(f"{grid.place} is not drawn whole: toyworld_grids.py --kinds good --seeds {seed} first")
        judging = judging_of(grid.place / "project")
        scores, truth = score_pictures(grid.plan, own_pictures(grid), judging.judge), truths(grid, eye)
        record = record_of(grid.plan, "good", seed, scores, truth, judging.photos)
        write_text(args.record / f"{config.name}.json", record)
        surface = surface_of(grid.plan, scores)
        parts = (surface, smart(grid.plan, surface))
        readings.append((Reading.of(config.name, parts[0], truth), Reading.of(config.name, parts[1], truth)))
        say(f"{config.name}: {len(scores)} cells, truth of {len(truth)}")
    print(table(readings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
