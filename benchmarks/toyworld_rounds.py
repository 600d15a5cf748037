"""Does the advice lead to the target? python benchmarks/toyworld_rounds.py --out DIR --seeds 0-2 [--only NAME]

From repeats that are far too few or far too many, round by round on the bundled toy world: a real training, a grid
drawn and scored by the judges that the product uses, the recommendation, the diagnosis and the advice that a person
would see; the next round is what the advised choice says, without a thought of ours. A round that only goes on is the
same run, longer. The table has every round; "truth" is the recommended cell on 24 pictures that no score has seen.
What is in DIR is not made twice.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.toyworld_grids import Grid, config_of, draw, fresh, grid_of, say, seeds_of, train_run
from benchmarks.toyworld_scores import Truth, judging_of, own_pictures, score_pictures
from lora_forge.config import TrainConfig
from lora_forge.evaluate.advice import TARGET, Choice, RunSettings, advise, is_reached
from lora_forge.evaluate.choices import ADD_EPOCHS, BETTER_PHOTOS
from lora_forge.evaluate.diagnose import diagnose
from lora_forge.evaluate.recommend import Recommendation, recommend
from lora_forge.evaluate.scores import surface_of
from lora_forge.host.standalone import StandaloneHost
from lora_forge.toyworld import checkpoint_path
from lora_forge.toyworld.judge import Judge, load_judge

PHOTOS, EPOCHS, ROUNDS = 12, 5, 3
STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SEEDS = 4  # eight pictures a cell: the target is a number, and two pictures tell it to within 20 points
TRUTH = 24

_CALM: Mapping[str, Any] = {"learning_rate": 2e-3, "te_learning_rate": 7e-4}
_HOT: Mapping[str, Any] = {"learning_rate": 8e-3, "te_learning_rate": 4e-3, "rank": 8, "alpha": 8.0}
STARTS: Mapping[str, Mapping[str, Any]] = {
    "calm1x": {**_CALM, "repeats": 1},
    "calm2x": {**_CALM, "repeats": 2},
    "hot60x": {**_HOT, "repeats": 60},
}
"""Where a person begins. 12 photos in batches of 4: 3 steps a repeat and epoch, five epochs. ``hot``: at that rate of
the preset ``toyworld_hot`` some hundred steps ruin a run, so 60 repeats (180 steps an epoch) do in its first epoch."""


@dataclass(frozen=True)
class Round:
    """One row of the table."""

    config: TrainConfig
    kept: Recommendation
    truth: float
    diagnosis: str
    choice: Choice
    is_reached: bool

    def row(self, name: str, number: int) -> str:
        """Markdown."""
        cells = [
            name, str(number), str(self.config.repeats), str(self.config.epochs), f"{self.config.learning_rate:g}",
            str(3 * self.config.repeats * self.config.epochs), f"{self.kept.epoch} at {self.kept.strength:g}",
            f"{100 * self.kept.quality:.0f}", f"{100 * self.truth:.0f}", self.diagnosis,
            "reached" if self.is_reached else self.choice.label.text(),
        ]  # fmt: skip
        return f"| {' | '.join(cells)} |"


class Simulation:
    """Rounds of one start and seed."""

    def __init__(self, start: str, seed: int, out: Path, host: StandaloneHost, eye: Judge) -> None:
        self._start, self._seed, self._out, self._host, self._eye = start, seed, out, host, eye

    def run(self) -> list[Round]:
        """Until the target is reached, no advice can be followed, or after three rounds."""
        name = f"{self._start}{self._seed}r1"
        config = config_of("good", self._seed, name=name, epochs=EPOCHS, **STARTS[self._start])
        rounds = [self._round(config)]
        while len(rounds) < ROUNDS and not rounds[-1].is_reached and rounds[-1].choice.id != BETTER_PHOTOS:
            config = self._next(rounds[-1], len(rounds) + 1)
            rounds.append(self._round(config))
        return rounds

    def _next(self, before: Round, number: int) -> TrainConfig:
        """What one click on the advised choice would start."""
        changes = dict(before.choice.changes)
        if before.choice.id == ADD_EPOCHS:
            return dataclasses.replace(before.config, **changes)
        return dataclasses.replace(before.config, name=f"{self._start}{self._seed}r{number}", **changes)

    def _round(self, config: TrainConfig) -> Round:
        place = self._out / config.name
        seconds = train_run(config, place, self._host, PHOTOS)
        grid = grid_of(config, place, 0, seeds=SEEDS, strengths=STRENGTHS)
        draw(grid, self._host, self._eye)
        judging = judging_of(place / "project")
        surface = surface_of(grid.plan, score_pictures(grid.plan, own_pictures(grid), judging.judge))
        kept = recommend(surface)
        told = diagnose(surface, kept, judging.photos)
        steps = PHOTOS // config.batch_size * config.repeats * config.epochs
        settings = RunSettings(config.repeats, config.epochs, PHOTOS, steps, config.learning_rate)
        choice = advise(surface, kept, told, settings).advised
        found = Round(config, kept, self._truth(grid, kept), told.kind, choice, is_reached(kept))
        say(f"{seconds:.0f} CPU-s: {found.row(config.name, 0)}")
        return found

    def _truth(self, grid: Grid, kept: Recommendation) -> float:
        plans = fresh(dataclasses.replace(grid, truth_count=TRUTH))
        requests = [request for plan in plans for request in plan.requests(kept.epoch, kept.strength)]
        return Truth.of(self._eye, list(self._host.draw(requests, [grid.loras]))).quality


COLUMNS = (
    "start", "round", "repeats", "epochs", "rate", "steps", "best cell", "quality", "truth", "diagnosis", "advice",
)  # fmt: skip


def table(found: Mapping[tuple[str, int], Sequence[Round]]) -> str:
    """Markdown: every round, and how many starts came to the target."""
    lines = [
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    for (start, seed), rounds in found.items():
        lines += [one.row(f"{start} {seed}", number) for number, one in enumerate(rounds, start=1)]
    reached = sum(rounds[-1].is_reached for rounds in found.values())
    true = sum(rounds[-1].truth >= TARGET for rounds in found.values())
    lines += ["", f"{reached} of {len(found)} reach {100 * TARGET:.0f} % within {ROUNDS} rounds; in truth {true} do."]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--only", choices=STARTS, action="append")
    args = parser.parse_args()
    torch.set_num_threads(1)
    host, eye = StandaloneHost(checkpoint_path(), most_pictures=64), load_judge()
    found = {
        (start, seed): Simulation(start, seed, args.out, host, eye).run()
        for start in args.only or STARTS
        for seed in seeds_of(args.seeds)
    }
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
