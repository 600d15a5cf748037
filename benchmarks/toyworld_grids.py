"""Grids whose truth is known: python benchmarks/toyworld_grids.py --kinds good,under,hot --seeds 0-9 --out DIR

Trains short runs on the bundled toy world (each seed has other photos, another start and other noise), draws each run's
grid as a person's test would have it (a plain prompt and one with swaps, and the baseline): of good runs the whole one
with one seed a prompt, of all a coarse one with two, for the diagnosis. Cells of the whole ones are drawn again on
fresh seeds for the truth: the toy world's own judge on pictures that no score has seen. Everything is kept in DIR/NAME,
so that scores can be computed anew without drawing (toyworld_scores.py). What is there is not made twice.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from lora_forge import config as settings
from lora_forge.atomic import write_atomically, write_text
from lora_forge.config import Family, TrainConfig
from lora_forge.dataset.manifest import PrepareSettings
from lora_forge.dataset.prepare import prepare
from lora_forge.dataset.project import Project
from lora_forge.evaluate.plan import GridPlan, parse_range
from lora_forge.events import CommandBox, Event
from lora_forge.host.standalone import StandaloneHost
from lora_forge.lora_file.names import epoch_path
from lora_forge.presets import preset
from lora_forge.toyworld import checkpoint_path
from lora_forge.toyworld.judge import Judge, load_judge
from lora_forge.toyworld.lessons import LESSONS, TRIGGER
from lora_forge.train.run import CONFIG_FILE, train

Cell = tuple[int, float]
Pixels = npt.NDArray[np.uint8]

PHOTOS = 24
SWAPS = ("red dress", "snow")
"""What no photo of the subject shows."""
PLAIN = f"{TRIGGER}, 1girl <lora:NAME-NUM:STRENGTH>"
SWAPPED = f"{TRIGGER}, 1girl, {', '.join(SWAPS)} <lora:NAME-NUM:STRENGTH>"
TRUTH_FROM = 5000
"""The truth's first seed; the test's own seeds begin at 100 times the run's."""

LITTLE = 0.5
"""Where a cell's own pictures show less of her than this, it is not among the best, and no truth is drawn for it."""

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "good": {},
    "under": {"repeats": 1, "learning_rate": 6e-4, "te_learning_rate": 2e-4},
    "hot": {"repeats": 3, "rank": 8, "alpha": 8.0, "learning_rate": 1e-2, "te_learning_rate": 5e-3},
}
"""Changes to the toy preset; 24 photos in batches of 4 make 6 steps a repeat."""
GOOD = ((4, 2e-3, 7e-4), (4, 2.5e-3, 9e-4), (4, 3e-3, 1e-3), (2, 3.5e-3, 1.2e-3), (2, 4e-3, 1.3e-3))
"""Repeats, and rates of the UNet and the text encoder, of the good runs: one each of the first three, then the last two
by turns, which are as good and cheaper."""


@dataclass(frozen=True)
class Grid:
    """One run's pictures on disk. ``truth_count``: pictures a cell on seeds of no test, half plain and half swapped."""

    place: Path
    plan: GridPlan
    truth_count: int = 8
    file: str = "pictures.npz"

    @property
    def loras(self) -> Path:
        return self.place / "loras"

    @property
    def cells(self) -> tuple[Cell, ...]:
        return self.plan.cells()


def config_of(kind: str, seed: int, **changes: Any) -> TrainConfig:
    """A run of ``RECIPES``."""
    way = dict(zip(("repeats", "learning_rate", "te_learning_rate"), GOOD[min(seed, 3 + seed % 2)], strict=True))
    values = {**preset("toyworld", Family.SD1), **way, **RECIPES[kind], "name": f"{kind}{seed}"}
    return settings.from_dict({**values, "trigger_word": TRIGGER, "seed": seed, "validation_photos": 0, **changes})


def write_photos(root: Path, seed: int, count: int = PHOTOS) -> Project:
    """Photos of the subject that ``seed`` draws, her traits' tags deleted."""
    project = Project.open(root, TRIGGER)
    folder = project.images_dir / "photos"
    folder.mkdir(parents=True, exist_ok=True)
    for number, (picture, tags) in enumerate(LESSONS["person"].photos(seed, count), start=1):
        picture.save(folder / f"photo-{number:02}.png")
        write_text(folder / f"photo-{number:02}.txt", ", ".join([TRIGGER, *tags]) + "\n")
    return project


def train_run(config: TrainConfig, place: Path, host: StandaloneHost, photos: int = PHOTOS) -> float:
    """Train into ``place``/loras what is not there, from the run's last state where there is one; CPU seconds."""
    run_dir, loras = place / "run", place / "loras"
    if epoch_path(loras, config.name, config.epochs).is_file():
        return 0.0
    started = time.process_time()
    project = write_photos(place / "project", config.seed, photos)
    prepared = prepare(project, PrepareSettings.from_config(config), _quiet)
    with host.borrow() as model:
        result = train(
            model, prepared, config, run_dir, loras, _quiet, CommandBox(), resume=(run_dir / CONFIG_FILE).exists()
        )
    if result.outcome != "done":
        sys.exit(f"{config.name} ended early: {result.outcome}")
    return time.process_time() - started


COARSE: Mapping[str, tuple[Any, ...]] = {"epochs": (2, 4, 6, 8, 10), "strengths": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)}
"""Axes of the grids that the diagnosis is asked by."""


def grid_of(config: TrainConfig, place: Path, truth_count: int = 8, seeds: int = 1, **axes: Any) -> Grid:
    """What a person's test of this run asks for: 6 sampler steps, guidance 4, and the baseline."""
    first = 100 * config.seed
    plan = GridPlan(
        PLAIN,
        epochs=tuple(range(1, config.epochs + 1)),
        seeds=tuple(range(first, first + seeds)),
        width=64,
        height=64,
        steps=6,
        guidance=4.0,
        strengths=(0.0, *(round(count / 10, 1) for count in range(1, 11))),
        swap_prompt=SWAPPED,
        swaps=SWAPS,
    )
    return Grid(place, replace(plan.named(config.name), **axes), truth_count)


def coarse_grid(config: TrainConfig, place: Path) -> Grid:
    """What the diagnosis is asked by: a quarter of the cells, two seeds each, no truth."""
    return replace(grid_of(config, place, 0, seeds=2, **COARSE), file="coarse.npz")


def draw(grid: Grid, host: StandaloneHost, judge: Judge) -> None:
    """Draw the cells that are not there: (pictures, 64, 64, 3) each, the test's own first, then the truth's.

    All in one call to the host, which then puts the LoRA on once.
    """
    path = grid.place / grid.file
    kept = load_pictures(grid) if path.exists() else {}
    missing = [cell for cell in grid.cells if cell not in kept]
    if not missing:
        return
    drawn = dict(draw_cells(host, grid, missing, [grid.plan]))
    hopeful = [cell for cell in missing if grid.truth_count and _shows_her(judge, drawn[cell])]
    truth = dict(draw_cells(host, grid, hopeful, fresh(grid) if hopeful else ()))
    kept |= {cell: np.concatenate([drawn[cell], *([truth[cell]] if cell in truth else [])]) for cell in missing}
    told = {f"{cell[0]}_{cell[1]:g}": pixels for cell, pixels in kept.items()}
    write_atomically(path, lambda temporary: _save(temporary, told))


def draw_cells(
    host: StandaloneHost, grid: Grid, cells: Sequence[Cell], asked: Sequence[GridPlan]
) -> Iterator[tuple[Cell, Pixels]]:
    """Each cell with the pictures of all of ``asked``."""
    requests = {cell: [one for plan in asked for one in plan.requests(*cell)] for cell in cells}
    images = host.draw([one for several in requests.values() for one in several], [grid.loras])
    for cell, several in requests.items():
        yield cell, np.stack([np.asarray(next(images)) for _ in several])


def _shows_her(judge: Judge, pixels: Pixels) -> bool:
    return mean([seen.identity for seen in judge.look_at(images_of(pixels))]) >= LITTLE


def fresh(grid: Grid) -> tuple[GridPlan, GridPlan]:
    """Plans of the truth, plain and swapped."""
    seeds = tuple(range(TRUTH_FROM, TRUTH_FROM + grid.truth_count // 2))
    plain = replace(grid.plan, seeds=seeds, swap_prompt="", swaps=())
    return plain, replace(plain, prompt=grid.plan.swap_prompt)


def mean(values: Sequence[float]) -> float:
    """Of at least one."""
    return sum(values) / len(values)


def load_pictures(grid: Grid) -> dict[Cell, Pixels]:
    """What was drawn so far, by cell."""
    with np.load(grid.place / grid.file) as kept:
        return {_cell(key): kept[key] for key in kept.files}


def is_drawn(grid: Grid) -> bool:
    """Whether every cell is there."""
    path = grid.place / grid.file
    return path.exists() and set(grid.cells) <= set(load_pictures(grid))


def images_of(pixels: Pixels) -> list[Image.Image]:
    """RGB pictures."""
    return [Image.fromarray(one) for one in pixels]


def _cell(key: str) -> Cell:
    epoch, _, strength = key.partition("_")
    return int(epoch), float(strength)


def _save(path: Path, told: Mapping[str, Pixels]) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **told)  # type: ignore[arg-type]  # keys are file names


def _quiet(event: Event) -> None:
    """Nobody watches."""


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default="good,under,hot")
    parser.add_argument("--seeds", default="0-9")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    host, judge = StandaloneHost(checkpoint_path(), most_pictures=64), load_judge()
    for seed in seeds_of(args.seeds):
        for kind in args.kinds.split(","):
            config = config_of(kind, seed)
            place = args.out / config.name
            seconds, started = train_run(config, place, host), time.process_time()
            for grid in (*([grid_of(config, place)] if kind == "good" else []), coarse_grid(config, place)):
                draw(grid, host, judge)
            say(f"{config.name}: trained {seconds:.0f}, drawn {time.process_time() - started:.0f} CPU-s")
    return 0


def seeds_of(text: str) -> list[int]:
    """``0-2,5`` as numbers; ranges of a plan count from 1, seeds from 0."""
    moved = ",".join("-".join(str(int(end) + 1) for end in part.split("-")) for part in text.split(","))
    return [number - 1 for number in parse_range(moved)]


if __name__ == "__main__":
    sys.exit(main())
