"""A planted world trained, tested and advised round by round: from bad repeats the target is reached within three.

How often a photo was seen by an epoch is all that counts there: the likeness rises around ``seen_half`` times,
obedience falls around ``obeys_half``, pictures break behind ``whole_until``. A test looks at eight pictures a cell.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest

from lora_forge.evaluate.advice import RunSettings, advise, is_reached
from lora_forge.evaluate.choices import ADD_EPOCHS, EARLIER_EPOCH, MORE_EPOCHS
from lora_forge.evaluate.recommend import recommend
from lora_forge.evaluate.scores import CellScore, Measure, Surface

PICTURES = 8
STRENGTHS = (0.4, 0.6, 0.8, 1.0)
MOST_ROUNDS = 3
BAD = (1, 2, 3, 5, 60, 100, 200, 400, 1000)


@dataclass(frozen=True)
class World:
    """Halves are in times a photo was seen."""

    seen_half: float = 60.0
    obeys_half: float = 360.0
    whole_until: float = 2500.0
    base: float = 0.1

    def cell(self, seen: float, strength: float, rng: random.Random) -> CellScore:
        felt = seen * strength**1.5
        identity = self.base + (0.97 - self.base) * _rise(felt / self.seen_half)
        obedience = 1 - 0.9 * _rise(felt / self.obeys_half)
        health = 1.0 if felt < self.whole_until else 0.1
        return CellScore(_looked(identity, rng), _looked(health, rng), _looked(obedience, rng))

    def tested(self, settings: RunSettings, rng: random.Random) -> Surface:
        cells = {(0, 0.0): self.cell(0, 0.0, rng)}
        for epoch in range(1, settings.epochs + 1):
            for strength in STRENGTHS:
                cells[epoch, strength] = self.cell(settings.repeats * epoch, strength, rng)
        return cells


def _rise(share: float) -> float:
    return share**2.5 / (1 + share**2.5)


def _looked(truth: float, rng: random.Random) -> Measure:
    shown = [min(1.0, max(0.0, truth + rng.gauss(0, 0.12))) for _ in range(PICTURES)]
    return Measure.of(shown)


def rounds_needed(world: World, repeats: int, seed: int) -> int:
    """Rounds after the first, bad one until the target is reached; one more than the most where it is not."""
    rng = random.Random(f"{repeats} {seed}")
    settings = RunSettings(repeats, 10, 20, 20 * repeats * 10)
    for done in range(MOST_ROUNDS + 1):
        surface = world.tested(settings, rng)
        kept = recommend(surface)
        if is_reached(kept):
            return done
        advised = advise(surface, kept, None, settings).advised
        assert advised is not None
        if advised.id == ADD_EPOCHS:
            settings = replace(settings, epochs=settings.epochs + MORE_EPOCHS)
        elif "repeats" in advised.changes:
            settings = RunSettings(advised.changes["repeats"], 10, 20, 20 * advised.changes["repeats"] * 10)
        elif advised.id == EARLIER_EPOCH:
            return MOST_ROUNDS + 1
    return MOST_ROUNDS + 1


@pytest.mark.parametrize("seen_half", [30.0, 60.0, 120.0])
@pytest.mark.parametrize("repeats", BAD)
def test_from_bad_repeats_three_rounds_reach_the_target(repeats: int, seen_half: float) -> None:
    world = World(seen_half=seen_half, obeys_half=6 * seen_half, whole_until=40 * seen_half)
    needed = [rounds_needed(world, repeats, seed) for seed in range(6)]
    assert max(needed) <= MOST_ROUNDS, needed


def test_bad_repeats_are_bad() -> None:
    """Else there would be nothing to show."""
    first = {repeats: rounds_needed(World(), repeats, 0) for repeats in BAD}
    assert {repeats for repeats, rounds in first.items() if rounds > 0} >= {1, 2, 3, 5}, first
