"""The normal numbers that an NVIDIA card makes of a seed, on any machine: the WebUIs' noise source ``NV``.

Philox 4x32 with 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), one counter for
each number as cuRAND lays them out, and the first half of Box and Muller's pair.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_UNIT = np.float32(2.3283064e-10)  # 2**-32, with the digits cuRAND has

Words = npt.NDArray[np.uint64]


def normal(seed: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The first numbers of ``seed`` (its lower 64 bits), as ``torch.randn(shape, device="cuda")`` gives them."""
    count = math.prod(shape)
    zero = np.zeros(count, dtype=np.uint64)
    first, second, _, _ = _philox(seed, (zero, zero, np.arange(count, dtype=np.uint64), zero))
    return _box_muller(first, second).reshape(shape)


def _philox(seed: int, counter: tuple[Words, Words, Words, Words]) -> tuple[Words, Words, Words, Words]:
    """Ten rounds over 32-bit words held in 64."""
    a, b, c, d = counter
    key = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    for _ in range(_ROUNDS):
        left, right = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (
            (right >> _HALF) ^ b ^ np.uint64(key[0]),
            right & _LOW,
            (left >> _HALF) ^ d ^ np.uint64(key[1]),
            left & _LOW,
        )
        key = [(word + weyl) & 0xFFFFFFFF for word, weyl in zip(key, _WEYL, strict=True)]
    return a, b, c, d


def _box_muller(first: Words, second: Words) -> npt.NDArray[np.float32]:
    turn = _UNIT * np.float32(2 * math.pi)
    # The words go to float64 first, as float32 would round them before they are halved.
    radius = first.astype(np.float64) * _UNIT + _UNIT / 2
    angle = second.astype(np.float64) * turn + turn / 2
    drawn: npt.NDArray[np.float32] = (np.sqrt(-2 * np.log(radius)) * np.sin(angle)).astype(np.float32)
    return drawn
