"""The moving average in closed form."""

from __future__ import annotations

import pytest
import torch

from lora_forge.train.ema import Ema, effective_decay


def test_decay_is_held_back_at_first() -> None:
    assert effective_decay(0.99, 1) == pytest.approx(2 / 11)
    assert effective_decay(0.99, 10_000) == 0.99


def test_average_of_a_jump() -> None:
    parameter = torch.zeros(3, requires_grad=True)
    ema = Ema([parameter], 0.5)
    with torch.no_grad():
        parameter.fill_(1.0)
    expected = 0.0
    for step in (100, 101, 102):
        ema.update([parameter], step)
        expected = expected * 0.5 + 0.5
    assert ema.averages[0].tolist() == [expected] * 3
