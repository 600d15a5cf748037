"""Which images a step sees: visits of an epoch, cut into batches of one bucket each, in a seeded order."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lora_forge.errors import TrainingError
from lora_forge.seeds import stable_seed
from lora_forge.train.counting import batches_per_epoch, repeats_of
from lora_forge.train.draws import Visit

__all__ = ["Batch", "BatchPlan", "Item", "Step", "repeats_of", "visit_keys"]


class Item(Protocol):
    """What is asked of a prepared image here (``dataset.prepare.PreparedImage``)."""

    @property
    def key(self) -> str: ...
    @property
    def bucket(self) -> object: ...
    @property
    def repeats(self) -> int | None: ...
    @property
    def is_prior(self) -> bool: ...


@dataclass(frozen=True)
class Batch:
    """Images of one bucket."""

    visits: tuple[Visit, ...]


Step = tuple[Batch, ...]


def visit_keys(items: Sequence[Item]) -> list[str]:
    """The items' keys, with ``#2`` and so on behind those of equal pixels, so that each draws its own noise."""
    seen: Counter[str] = Counter()
    names = []
    for item in items:
        seen[item.key] += 1
        names.append(item.key if seen[item.key] == 1 else f"{item.key}#{seen[item.key]}")
    return names


class BatchPlan:
    """The order of every epoch. Each bucket's last batch may be smaller, so an epoch's steps never vary.

    With ``is_split`` each batch comes as batches of one: the same pictures in the same steps, in less memory.
    ``planned``: the buckets by which to plan where they are others by now; a batch is then parted by those of now.
    """

    def __init__(
        self,
        items: Sequence[Item],
        repeats: int,
        batch_size: int,
        accumulation: int,
        seed: int,
        is_split: bool = False,
        planned: Sequence[str] | None = None,
    ) -> None:
        if not items:
            raise TrainingError("There is no image to train on.", "Import photos and prepare the project.")
        self._batch_size, self._accumulation, self._seed = batch_size, accumulation, seed
        self._is_split = is_split
        self._now = [str(item.bucket) for item in items]
        self._keys = visit_keys(items)
        self.repeats = repeats_of(items, repeats)
        self._buckets: dict[str, list[int]] = defaultdict(list)
        labels = list(planned or self._now)
        for index, label in enumerate(labels):
            self._buckets[label].append(index)
        self.batches_per_epoch = batches_per_epoch(labels, self.repeats, batch_size)
        self.steps_per_epoch = -(-self.batches_per_epoch // accumulation)

    def epoch(self, epoch: int) -> list[Step]:
        """The steps of an epoch (from 1); each is the batches whose gradients are summed."""
        batches: list[Batch] = []
        for name, members in sorted(self._buckets.items()):
            visits = [
                Visit(index, self._keys[index], epoch, repeat)
                for index in members
                for repeat in range(self.repeats[index])
            ]
            random.Random(stable_seed(self._seed, "order", epoch, name)).shuffle(visits)
            batches += [
                Batch(tuple(visits[start : start + self._batch_size]))
                for start in range(0, len(visits), self._batch_size)
            ]
        random.Random(stable_seed(self._seed, "batches", epoch)).shuffle(batches)
        size = self._accumulation
        return [self._step(batches[start : start + size]) for start in range(0, len(batches), size)]

    def _step(self, batches: Sequence[Batch]) -> Step:
        return tuple(part for batch in batches for part in self._parts(batch))

    def _parts(self, batch: Batch) -> list[Batch]:
        """The batch as it is computed: in one where its pictures have one shape, unless it is split."""
        if self._is_split:
            return [Batch((visit,)) for visit in batch.visits]
        shapes = dict.fromkeys(self._now[visit.image] for visit in batch.visits)
        if len(shapes) == 1:
            return [batch]
        return [Batch(tuple(v for v in batch.visits if self._now[v.image] == shape)) for shape in shapes]
