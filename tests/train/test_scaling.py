"""Loss scale."""

from __future__ import annotations

from lora_forge.train.scaling import LossScaler


def test_scale_halves_on_overflow_and_doubles_after_a_calm_stretch() -> None:
    scaler = LossScaler(True, scale=8.0, growth_interval=3)
    history = [(False, 4), (True, 4), (True, 4), (False, 2), (True, 2), (True, 2), (True, 4)]
    for is_finite, scale in history:
        scaler.update(is_finite)
        assert scaler.factor == scale


def test_an_idle_scaler_does_nothing() -> None:
    scaler = LossScaler(False)
    scaler.update(False)
    assert scaler.factor == 1.0
