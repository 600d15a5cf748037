"""A real preset brought to the bundled toy world, to check there that it learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TOYWORLD_RATE_FACTOR = 20.0
"""Times this are both learning rates of a preset for SD1.x on the toy world, the same for every kind.

A net of 4 million parameters wants larger steps than one of 860 million. Measured (benchmarks/README.md): in two epochs
the style preset shows its style in 96 % of the pictures with this factor and in 4 % at its own rates; person, style and
object all hold through their ten epochs.
"""
_SIDE_PX = 64


def on_toyworld(values: Mapping[str, Any], factor: float = TOYWORLD_RATE_FACTOR) -> dict[str, Any]:
    """``values`` of a preset at the toy world's size, both learning rates times ``factor``; nothing else is changed."""
    sides = dict.fromkeys(("resolution_px", "bucket_min_px", "bucket_max_px"), _SIDE_PX)
    rates = {key: values[key] * factor for key in ("learning_rate", "te_learning_rate")}
    return {**values, **sides, **rates}
