"""Rates in closed form, and beside diffusers' own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_forge.train.schedules import rate_factor

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
