"""What a scored grid shows of its run: where it is alike, where it is spoiled, how likeness goes over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lora_forge.evaluate.recommend import LEAST_HEALTH, Recommendation
from lora_forge.evaluate.scores import BASELINE, Cell, ScoreName, Surface
from lora_forge.evaluate.smoothing import smooth

LEAST_LIKENESS = 0.6
"""From here on a cell is alike."""

LEAST_OBEDIENCE = 0.5
"""Below, a cell is deaf: less than half of what the prompt asks for happens."""

MOST_COPYING = 0.45
"""Above, a cell's pictures are as much a photo as a picture of their own. On the toy world cells of rebuilt photos have
0.4 to 0.7, those of real runs below 0.1 (benchmarks/README.md)."""

KEPT_LIKENESS = 0.6
"""A cell is lost when it has less than this share of the likeness that an earlier epoch had at the same strength."""

_TOLD = 0.3  # a likeness from which there is something to lose
_WORKING = 0.55  # of full strength: below that a LoRA is not meant to be used
_FULL = 1.0


@dataclass(frozen=True)
class Symptoms:
    """Scores are 0 to 1, each read with the cells around it; cells are those with a strength.

    ``working``: cells at strengths from 0.55 of full on. Of these are ``lost_cells`` unhealthy or no longer as alike as
    an earlier epoch was, ``deaf_cells`` disobedient and ``copied_cells`` photos again.
    """

    kept: Cell
    scores: Mapping[ScoreName, Mapping[Cell, float]]
    base: float | None
    working: tuple[Cell, ...]
    lost_cells: tuple[Cell, ...]
    deaf_cells: tuple[Cell, ...]
    copied_cells: tuple[Cell, ...]

    @property
    def identity(self) -> float | None:
        """Of the recommended cell."""
        return self.at("identity")

    def at(self, name: ScoreName) -> float | None:
        """A score of the recommended cell, None where it could not be told."""
        return self.scores[name][self.kept] if name in self.scores else None

    @property
    def peak(self) -> Cell:
        """The cell that is most alike, if the likeness could be told; else the recommended one."""
        identity = self.scores.get("identity", {})
        return max(identity, key=lambda cell: (identity[cell], -cell[0]), default=self.kept)

    @property
    def alike(self) -> tuple[Cell, ...]:
        """All cells that are alike."""
        return tuple(cell for cell, value in self.scores.get("identity", {}).items() if value >= LEAST_LIKENESS)

    @property
    def alike_copied(self) -> tuple[Cell, ...]:
        """Those of them that are photos again."""
        copying = self.scores.get("copying", {})
        return tuple(cell for cell in self.alike if copying.get(cell, 0.0) > MOST_COPYING)

    @property
    def alike_deaf(self) -> tuple[Cell, ...]:
        """Those of them that are disobedient."""
        obedience = self.scores.get("obedience", {})
        return tuple(cell for cell in self.alike if obedience.get(cell, 1.0) < LEAST_OBEDIENCE)

    @property
    def lost(self) -> float:
        """Share of the working cells."""
        return self._share(self.lost_cells)

    @property
    def deaf(self) -> float:
        """Share of the working cells."""
        return self._share(self.deaf_cells)

    @property
    def copied(self) -> float:
        """Share of the working cells."""
        return self._share(self.copied_cells)

    @property
    def spoiled_cells(self) -> tuple[Cell, ...]:
        """Lost, deaf or copied."""
        return tuple(sorted({*self.lost_cells, *self.deaf_cells, *self.copied_cells}))

    @property
    def spoiled(self) -> float:
        """Share of the working cells."""
        return self._share(self.spoiled_cells)

    @property
    def spoiled_from(self) -> int:
        """The epoch from which on most working cells of every epoch are spoiled, 0 when the last epoch is not."""
        spoiled, found = set(self.spoiled_cells), 0
        for epoch in sorted({epoch for epoch, _ in self.working}, reverse=True):
            cells = [cell for cell in self.working if cell[0] == epoch]
            if 2 * sum(cell in spoiled for cell in cells) <= len(cells):
                break
            found = epoch
        return found

    def course(self) -> list[tuple[int, float]]:
        """(epoch, mean identity of its working cells), in order."""
        identity, found = self.scores.get("identity", {}), []
        for epoch in sorted({epoch for epoch, _ in self.working}):
            values = [identity[cell] for cell in self.working if cell[0] == epoch and cell in identity]
            if values:
                found.append((epoch, sum(values) / len(values)))
        return found

    @property
    def slope(self) -> float:
        """Change of identity an epoch, over the last third of the epochs."""
        course = self.course()
        late = course[-max(2, (len(course) + 2) // 3) :]
        return (late[-1][1] - late[0][1]) / (late[-1][0] - late[0][0]) if len(late) > 1 else 0.0

    def figures(self) -> dict[str, float]:
        """By name, see :class:`lora_forge.evaluate.diagnose.Diagnosis`."""
        found: dict[str, float] = {"epoch": self.kept[0], "strength": self.kept[1]}
        found |= {name: values[self.kept] for name, values in self.scores.items()}
        if course := self.course():
            found |= {"identity_first": course[0][1], "identity_last": course[-1][1], "slope": self.slope}
            found["peak"] = self.scores["identity"][self.peak]
        if self.base is not None:
            found["base"] = self.base
        shares = {"spoiled": self.spoiled, "lost": self.lost, "deaf": self.deaf, "copied": self.copied}
        return {**found, **shares, "spoiled_from": self.spoiled_from}

    def _share(self, cells: Sequence[Cell]) -> float:
        return len(cells) / len(self.working)


def symptoms_of(surface: Surface, recommendation: Recommendation) -> Symptoms:
    """Read ``surface``, whose ``recommendation`` it is."""
    cells = sorted(cell for cell in surface if cell[1] > 0)
    scores: dict[ScoreName, Mapping[Cell, float]] = {}
    names: tuple[ScoreName, ...] = ("identity", "obedience", "copying", "health")
    for name in names:
        told = {cell: measure for cell in cells if (measure := surface[cell].measure(name)) is not None}
        if told:
            scores[name] = dict(zip(cells, map(float, smooth(told, cells).mean), strict=True))
    full = min(_FULL, max(strength for _, strength in cells))
    working = tuple(cell for cell in cells if cell[1] >= _WORKING * full)
    base = surface[BASELINE].identity if BASELINE in surface else None
    return Symptoms(
        kept=(recommendation.epoch, recommendation.strength),
        scores=scores,
        base=None if base is None else base.mean,
        working=working,
        lost_cells=tuple(cell for cell in working if _is_lost(cell, scores)),
        deaf_cells=tuple(c for c in working if scores.get("obedience", {}).get(c, 1.0) < LEAST_OBEDIENCE),
        copied_cells=tuple(c for c in working if scores.get("copying", {}).get(c, 0.0) > MOST_COPYING),
    )


def _is_lost(cell: Cell, scores: Mapping[ScoreName, Mapping[Cell, float]]) -> bool:
    if scores["health"][cell] < LEAST_HEALTH:
        return True
    identity = scores.get("identity", {})
    if cell not in identity:
        return False
    before = max(value for (epoch, strength), value in identity.items() if strength == cell[1] and epoch <= cell[0])
    return before >= _TOLD and identity[cell] < KEPT_LIKENESS * before
