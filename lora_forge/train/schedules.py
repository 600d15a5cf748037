"""Learning rate schedules as pure functions of the step: a resumed run needs no schedule state.

The curves are those of ``diffusers.optimization.get_scheduler``, but for two choices: warm-up does not waste its
first step on a rate of 0, and ``polynomial`` falls with the square (with the power 1 it would be ``linear``).
"""

from __future__ import annotations

import math

from lora_forge.config import Schedule

POLYNOMIAL_POWER = 2


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
