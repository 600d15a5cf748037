"""Learning rate schedules as pure functions of the step: a resumed run needs no schedule state.

A run that was done and is made longer does not stretch its curve, whose end has been lived through: what is added is a
cycle of its own, the curve begun again without the warm-up (a warm restart, arXiv 1608.03983). So an added epoch
teaches what one of the first run did in the mean, and the last one ends as calm; with a constant rate nothing differs
from a run that was as long from the start.

The curves are those of ``diffusers.optimization.get_scheduler``, but for two choices: warm-up does not waste its
first step on a rate of 0, and ``polynomial`` falls with the square (with the power 1 it would be ``linear``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lora_forge.config import Schedule

POLYNOMIAL_POWER = 2


def mean_rates(
    schedule: Schedule,
    epochs: Sequence[int],
    steps_per_epoch: int,
    total_steps: int,
    ends: Sequence[int] = (),
    warmup_steps: int = 0,
    cycles: int = 1,
) -> tuple[float, ...]:
    """The mean of :func:`rate_at` in each of ``epochs`` (from 1)."""

    def mean(epoch: int) -> float:
        last = min(epoch * steps_per_epoch, total_steps)
        steps = range((epoch - 1) * steps_per_epoch + 1, last + 1)
        return sum(rate_at(schedule, s, total_steps, ends, warmup_steps, cycles) for s in steps) / max(1, len(steps))

    return tuple(mean(epoch) for epoch in epochs)


def rate_at(
    schedule: Schedule, step: int, total_steps: int, ends: Sequence[int] = (), warmup_steps: int = 0, cycles: int = 1
) -> float:
    """:func:`rate_factor` of a run that was done at each of ``ends`` (ascending steps) and made longer."""
    first = max((end for end in ends if end < step), default=0)
    last = min((end for end in ends if end >= step), default=total_steps)
    if not first:
        return rate_factor(schedule, step, last, warmup_steps, cycles)
    return rate_factor(schedule, step - first, last - first)


def rate_factor(schedule: Schedule, step: int, total_steps: int, warmup_steps: int = 0, cycles: int = 1) -> float:
    """What the learning rate is multiplied with in ``step`` (from 1): 0..1.

    The first ``warmup_steps`` climb linearly towards 1; the fall spans the rest of ``total_steps``.
    """
    done = step - 1
    if done < warmup_steps:
        return step / (warmup_steps + 1)
    progress = min((done - warmup_steps) / max(1, total_steps - warmup_steps), 1.0)
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return 1.0 - progress
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    if schedule == "cosine_with_restarts":
        return 0.0 if progress >= 1.0 else 0.5 * (1.0 + math.cos(math.pi * ((cycles * progress) % 1.0)))
    return float((1.0 - progress) ** POLYNOMIAL_POWER)
