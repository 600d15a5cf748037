"""How many pictures, batches and steps an epoch has. Plain arithmetic, no torch: a page counts as a run does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Protocol


class Counted(Protocol):
    """What counting asks of a photo."""

    @property
    def repeats(self) -> int | None: ...
    @property
    def is_prior(self) -> bool: ...


def repeats_of(items: Sequence[Counted], default: int) -> list[int]:
    """How often each image is seen in an epoch: its group's own number, else ``default``.

    Prior images whose group has no number are seen so often that they match the photos' visits as nearly as whole
    numbers allow, at least once each.
    """
    photo_visits = sum(item.repeats or default for item in items if not item.is_prior)
    unset_priors = sum(1 for item in items if item.is_prior and not item.repeats)
    prior = max(1, round(photo_visits / unset_priors)) if unset_priors else 0
    return [item.repeats or (prior if item.is_prior else default) for item in items]


def batches_per_epoch(buckets: Sequence[Hashable], repeats: Sequence[int], batch_size: int) -> int:
    """Batches of one bucket each; the last of each bucket may be smaller."""
    visits: dict[Hashable, int] = defaultdict(int)
    for bucket, count in zip(buckets, repeats, strict=True):
        visits[bucket] += count
    return sum(-(-count // batch_size) for count in visits.values())


def total_steps(steps_per_epoch: int, epochs: int, max_steps: int = 0) -> int:
    """Where a run ends."""
    planned = epochs * steps_per_epoch
    return min(planned, max_steps) if max_steps else planned
