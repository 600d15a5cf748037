"""Loss scale, finite check and clipping."""

from __future__ import annotations

import math

import pytest
import torch

from lora_forge.train.scaling import LossScaler, gradient_norm, rescale_gradients


def parameters(*gradients: list[float]) -> list[torch.Tensor]:
    made = []
    for values in gradients:
        parameter = torch.zeros(len(values), requires_grad=True)
        parameter.grad = torch.tensor(values)
        made.append(parameter)
    return made


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


def test_norm_is_that_of_all_gradients_together() -> None:
    weights = [*parameters([3.0], [0.0, 4.0]), torch.zeros(1, requires_grad=True)]
    assert gradient_norm(weights).item() == pytest.approx(5.0)
    assert gradient_norm([torch.zeros(1, requires_grad=True)]).item() == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_bad_value_shows(bad: float) -> None:
    assert not math.isfinite(gradient_norm(parameters([1.0], [bad, 1.0])).item())


def test_unscale_and_clip_in_one_pass() -> None:
    weights = parameters([30.0], [40.0])
    assert rescale_gradients(weights, 50.0, 10.0, 1.0) == pytest.approx(5.0)
    assert [w.grad.item() for w in weights] == pytest.approx([0.6, 0.8], rel=1e-5)


def test_clipping_agrees_with_torch() -> None:
    ours, theirs = parameters([1.0, 2.0], [-3.0]), parameters([1.0, 2.0], [-3.0])
    rescale_gradients(ours, gradient_norm(ours).item(), 1.0, 0.5)
    torch.nn.utils.clip_grad_norm_(theirs, 0.5)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_small_gradients_are_left_alone() -> None:
    weights = parameters([0.3])
    rescale_gradients(weights, 0.3, 1.0, 1.0)
    assert weights[0].grad.item() == torch.tensor(0.3).item()
