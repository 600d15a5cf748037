"""Random draws as functions of what they are for: no global generator is read or moved."""

from __future__ import annotations

import hashlib


def stable_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on ``parts`` alone: the same on every machine, run and Python.

    Example: ``stable_seed(config.seed, "noise", step, image_key)``.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
