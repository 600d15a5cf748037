"""Order, repeats and rounding of an epoch."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_forge.errors import TrainingError
from lora_forge.train.batches import BatchPlan, repeats_of, visit_keys


@dataclass(frozen=True)
class Image:
    key: str
    bucket: tuple[int, int] = (64, 64)
    repeats: int | None = None
    is_prior: bool = False


images = st.lists(
    st.builds(
        Image,
        key=st.sampled_from("abcdef"),
        bucket=st.sampled_from([(64, 64), (64, 128), (128, 64)]),
        repeats=st.none() | st.integers(1, 4),
        is_prior=st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(images, st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.integers(0, 99), st.integers(1, 3))
def test_every_epoch_visits_every_image_its_repeats(items, repeats, batch, accumulation, seed, epoch) -> None:  # type: ignore[no-untyped-def]
    plan = BatchPlan(items, repeats, batch, accumulation, seed)
    steps = plan.epoch(epoch)
    batches = [b for step in steps for b in step]
    visits = [v for b in batches for v in b.visits]
    assert Counter(v.image for v in visits) == dict(enumerate(plan.repeats))
    assert len(set(visits)) == len(visits)
    assert all(len({items[v.image].bucket for v in b.visits}) == 1 for b in batches)
    assert all(1 <= len(b.visits) <= batch for b in batches)
    per_bucket = Counter()
    for item, n in zip(items, plan.repeats, strict=True):
        per_bucket[item.bucket] += n
    assert len(batches) == plan.batches_per_epoch == sum(math.ceil(n / batch) for n in per_bucket.values())
    assert len(steps) == plan.steps_per_epoch == math.ceil(len(batches) / accumulation)
    assert BatchPlan(items, repeats, batch, accumulation, seed).epoch(epoch) == steps


def test_epochs_and_seeds_change_the_order() -> None:
    items = [Image(str(n)) for n in range(20)]

    def order(seed: int, epoch: int) -> list[int]:
        return [v.image for step in BatchPlan(items, 1, 1, 1, seed).epoch(epoch) for b in step for v in b.visits]

    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_group_repeats_come_first_and_priors_balance_the_photos() -> None:
    items = [Image("a", repeats=3), Image("b"), Image("p", is_prior=True), Image("q", is_prior=True, repeats=2)]
    assert repeats_of(items, 10) == [3, 10, 13, 2]
    assert repeats_of([Image("a"), *[Image("p", is_prior=True)] * 40], 10) == [10] + [1] * 40


def test_equal_pixels_get_their_own_draws() -> None:
    assert visit_keys([Image("a"), Image("b"), Image("a")]) == ["a", "b", "a#2"]


def test_nothing_to_train_on() -> None:
    with pytest.raises(TrainingError, match="no image"):
        BatchPlan([], 1, 1, 1, 0)


@settings(deadline=None)
@given(images, images, st.integers(1, 4), st.integers(1, 3))
def test_a_plan_that_lost_its_memory_halfway_keeps_its_steps(items, others, batch, accumulation) -> None:  # type: ignore[no-untyped-def]
    """Split into single pictures, or with shapes other than those it was planned by: the same pictures in each step."""
    now = [dataclasses.replace(item, bucket=other.bucket) for item, other in zip(items, others * 12, strict=False)]
    labels = [str(item.bucket) for item in items]
    before = BatchPlan(items, 2, batch, accumulation, 0)
    split = BatchPlan(now, 2, batch, accumulation, 0, is_split=True, planned=labels)
    parted = BatchPlan(now, 2, batch, accumulation, 0, planned=labels)
    for plan in (split, parted):
        assert plan.steps_per_epoch == before.steps_per_epoch
        assert [sorted(v.image for b in step for v in b.visits) for step in plan.epoch(2)] == [
            sorted(v.image for b in step for v in b.visits) for step in before.epoch(2)
        ]
        assert all(len({now[v.image].bucket for v in b.visits}) == 1 for step in plan.epoch(2) for b in step)
    assert all(len(b.visits) == 1 for step in split.epoch(2) for b in step)
