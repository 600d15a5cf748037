"""Rates in closed form, and beside diffusers' own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_forge.train.schedules import mean_rates, rate_at, rate_factor

NAMES = ("constant", "linear", "cosine", "cosine_with_restarts", "polynomial")


@pytest.mark.parametrize(
    ("name", "middle"), [("constant", 1.0), ("linear", 0.5), ("cosine", 0.5), ("polynomial", 0.25)]
)
def test_start_middle_end(name, middle) -> None:  # type: ignore[no-untyped-def]
    assert rate_factor(name, 1, 100) == 1.0
    assert rate_factor(name, 51, 100) == pytest.approx(middle)
    end = rate_factor(name, 101, 100)
    assert end == (1.0 if name == "constant" else pytest.approx(0.0, abs=1e-12))


def test_restarts_begin_again_at_the_top() -> None:
    assert [rate_factor("cosine_with_restarts", step, 100, cycles=2) for step in (1, 26, 51)] == pytest.approx(
        [1.0, 0.5, 1.0]
    )


def test_warmup_climbs_evenly_and_never_wastes_a_step() -> None:
    assert [rate_factor("constant", step, 100, warmup_steps=3) for step in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("name", ["constant", "linear", "cosine", "cosine_with_restarts"])
def test_after_warmup_the_curve_is_that_of_diffusers(name) -> None:  # type: ignore[no-untyped-def]
    from diffusers.optimization import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    kind = "constant_with_warmup" if name == "constant" else name
    scheduler = get_scheduler(kind, optimizer, num_warmup_steps=5, num_training_steps=40, num_cycles=2)
    if name == "cosine":
        scheduler = get_scheduler(kind, optimizer, num_warmup_steps=5, num_training_steps=40)
    for step in range(1, 41):
        if step > 5:
            ours = rate_factor(name, step, 40, warmup_steps=5, cycles=2)
            assert optimizer.param_groups[0]["lr"] == pytest.approx(ours)
        optimizer.step()
        scheduler.step()


@settings(deadline=None)
@given(st.sampled_from(NAMES), st.integers(1, 500), st.integers(1, 500), st.integers(0, 100), st.integers(1, 5))
def test_always_a_fraction(name, step, total, warmup, cycles) -> None:  # type: ignore[no-untyped-def]
    assert 0.0 <= rate_factor(name, step, total, warmup, cycles) <= 1.0


def test_added_steps_are_a_cycle_of_their_own() -> None:
    curve = [rate_at("cosine", step, 16, (10,), warmup_steps=2) for step in range(1, 17)]
    assert curve[:10] == [rate_factor("cosine", step, 10, 2) for step in range(1, 11)]
    assert curve[10:] == [rate_factor("cosine", step, 6) for step in range(1, 7)]
    assert [rate_at("constant", step, 16, (), 2) for step in (1, 2, 11)] == [1 / 3, 2 / 3, 1.0]
    assert rate_at("linear", 13, 16, (10, 12)) == 1.0


def test_the_mean_of_an_epoch() -> None:
    first, second = mean_rates("linear", (1, 2), 4, 8)
    assert (first, second) == (pytest.approx((8 + 7 + 6 + 5) / 32), pytest.approx((4 + 3 + 2 + 1) / 32))
    assert mean_rates("linear", (3,), 4, 12, (8,)) == (pytest.approx((4 + 3 + 2 + 1) / 16),)
    assert mean_rates("linear", (2,), 4, 6)[0] == pytest.approx((2 / 6 + 1 / 6) / 2)
