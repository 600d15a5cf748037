"""From gradients to weights: clipping, and steps that are left out, on the device and by hand."""

from __future__ import annotations

import math

import pytest
import torch

from lora_forge.train.network import Network
from lora_forge.train.optimizers import build_optimizer, trained_of
from lora_forge.train.scaling import LossScaler
from lora_forge.train.update import Update
from tests.train import tiny


def updated(gradient: list[float], loss: float = 1.0, scale: float = 1.0, limit: float = 0.0) -> tuple[Update, Network]:
    """One update by plain SGD-like AdamW from a gradient whose first numbers are given, the others zero."""
    settings = tiny.config(weight_decay=0.0)
    network = Network.attach(tiny.build_model(), settings)
    optimizer = build_optimizer(trained_of(network), settings, network.flat.sections)
    scaler = LossScaler(is_on=scale != 1.0, scale=scale)
    update = Update(network.flat, optimizer, scaler, limit)
    network.flat.gradient[: len(gradient)] = torch.tensor(gradient)
    update.sums.copy_(torch.tensor([loss, 0.5]))
    update.scale_loss()
    return update, network


@pytest.mark.parametrize("way", ["take", "take_by_hand"])
def test_an_update_is_torchs_adamw_on_the_clipped_gradient(way: str) -> None:
    update, network = updated([30.0, 40.0], scale=10.0, limit=1.0)
    before = network.flat.parameters.clone()
    seen: list[torch.Tensor] = []
    update._optimizer.register_step_pre_hook(lambda *_: seen.append(network.flat.gradient[:2].clone()))
    getattr(update, way)()
    assert seen[0].tolist() == pytest.approx([0.6, 0.8], rel=1e-5)  # 5 long without the scale, cut to 1
    assert update.read() == pytest.approx((1.0, 0.5, 5.0))
    moved = (network.flat.parameters - before)[:3]
    assert moved.tolist() == pytest.approx([-1e-2, -1e-2, 0.0], abs=1e-5)  # AdamW's first step is its rate
    assert not network.flat.gradient.any()
    assert not update.sums.any()


@pytest.mark.parametrize("way", ["take", "take_by_hand"])
@pytest.mark.parametrize(("gradient", "loss"), [([math.inf], 1.0), ([math.nan], 1.0), ([1.0], math.nan)])
def test_what_is_not_finite_moves_nothing(way: str, gradient: list[float], loss: float) -> None:
    update, network = updated(gradient, loss)
    before = network.flat.parameters.clone()
    getattr(update, way)()
    assert torch.equal(network.flat.parameters, before)
    found = update.read()
    assert not (math.isfinite(found[0]) and math.isfinite(found[2]))
    assert not network.flat.gradient.any()
    # the next step is the first that counts
    network.flat.gradient[0] = 3.0
    update.sums.fill_(1.0)
    getattr(update, way)()
    assert (network.flat.parameters - before)[0].item() == pytest.approx(-1e-2, abs=1e-5)


def test_small_gradients_are_left_alone() -> None:
    update, network = updated([0.3], limit=1.0)
    seen: list[float] = []
    update._optimizer.register_step_pre_hook(lambda *_: seen.append(network.flat.gradient[0].item()))
    update.take()
    assert seen == [torch.tensor(0.3).item()]
