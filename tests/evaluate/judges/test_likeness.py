from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_forge.evaluate.judges.likeness import Reference, apart


def at(*degrees: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.array([[math.cos(math.radians(one)), math.sin(math.radians(one))] for one in degrees], np.float32)


def test_by_hand() -> None:
    """Photos at 0, 30 and 60 degrees: each is 45, 0 and 45 degrees from the mean of the others."""
    reference = Reference(at(0, 30, 60))
    c45 = math.cos(math.radians(45))
    assert reference.own.tolist() == pytest.approx([c45, 1.0, c45], abs=1e-6)
    usual = (1 + 2 * c45) / 3
    assert reference.usual == pytest.approx(usual, abs=1e-6)
    # the means are at 45, 30 and 15 degrees
    far = sum(math.cos(math.radians(120 - mean)) for mean in (45, 30, 15)) / 3
    assert far < 0
    assert reference.likeness(at(120)[0]) == 0.0
    near = sum(math.cos(math.radians(90 - mean)) for mean in (45, 30, 15)) / 3
    assert reference.likeness(at(90)[0]) == pytest.approx(near / usual, abs=1e-6)
    assert reference.likeness(at(30)[0]) == 1.0  # nearer than photos are, and still 1


def test_lengths_do_not_matter_and_strangers_do_not_count() -> None:
    rows = at(0, 30, 60, 200)
    scaled = rows * np.array([[1], [7], [0.1], [3]], np.float32)
    told = Reference(scaled, strangers=[3])
    assert told.usual == pytest.approx(Reference(rows[:3]).usual or 0.0, abs=1e-6)
    assert told.own[3] == pytest.approx(math.cos(math.radians(170)), abs=1e-6)
    assert told.likeness(at(75)[0]) == pytest.approx(Reference(rows[:3]).likeness(at(75)[0]) or 0.0, abs=1e-6)


@pytest.mark.parametrize("degrees", [(), (0,), (0, 1), (0, 120, 240)])
def test_what_can_not_be_told_is_not(degrees: tuple[float, ...]) -> None:
    """Too few photos, or photos with nothing in common."""
    reference = Reference(at(*degrees) if degrees else np.zeros((0, 2), np.float32))
    assert reference.usual is None
    assert reference.likeness(at(0)[0]) is None


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 1.0))
def test_one_more_photo_gets_about_one(seed: int, spread: float) -> None:
    """1.0 means "as alike as the photos are to each other": true of a fresh draw of the same kind."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=64)
    rows = (middle / np.linalg.norm(middle) + spread * rng.normal(size=(260, 64)) / 8).astype(np.float32)
    reference = Reference(rows[:60])
    found = [reference.likeness(row) for row in rows[60:]]
    assert np.mean([one or 0.0 for one in found]) == pytest.approx(1.0, abs=0.15)
    assert all(one is not None and 0 <= one <= 1 for one in found)


def test_apart() -> None:
    assert apart([0.9, 0.8, 0.85, 0.3, 0.82]) == [3]
    assert apart([0.9, 0.8, 0.85, 0.6]) == []
    assert apart([0.9, 0.1, 0.9]) == []  # of three nobody can say who the stranger is
