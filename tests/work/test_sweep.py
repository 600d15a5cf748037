"""One request as several: their names, their settings, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from lora_forge.errors import ConfigError, LoraForgeError
from lora_forge.work import plan
from lora_forge.work.sweep import sweep
from tests.work.conftest import SMALL, request_for
from tests.work.desk import TinyDesk


@pytest.mark.parametrize(
    ("key", "values", "names"),
    [
        ("learning_rate", [1e-4, 0.00025, 1, 0.05], ["lr1e-4", "lr2_5e-4", "lr1", "lr0_05"]),
        ("te_learning_rate", [0, 5e-5], ["te0", "te5e-5"]),
        ("rank", [4, 8, 4], ["r4", "r8"]),
        ("seed", [123456, 1234567], ["seed123456", "seed1234567"]),
        ("flip", [True, False], ["flipon", "flipoff"]),
        ("schedule", ["cosine", "constant"], ["schedulecosine", "scheduleconstant"]),
    ],
)
def test_each_value_is_a_run_named_after_it(desk: TinyDesk, key: str, values: list[Any], names: list[str]) -> None:
    made = sweep(desk, request_for(desk), key, values)
    assert [one.name for one in made] == [f"girl-{name}" for name in names]
    tried = list(dict.fromkeys(values))
    assert [getattr(plan(desk, one), key) for one in made] == tried


def test_alpha_keeps_its_ratio_to_the_rank_said_or_proposed(desk: TinyDesk) -> None:
    proposed = plan(desk, request_for(desk))
    ratio = proposed.alpha / proposed.rank
    assert [plan(desk, one).alpha for one in sweep(desk, request_for(desk), "rank", [4, 16])] == [4 * ratio, 16 * ratio]
    said = request_for(desk, settings={**SMALL, "rank": 8, "alpha": 2.0})
    assert [plan(desk, one).alpha for one in sweep(desk, said, "rank", [4, 16])] == [1.0, 4.0]
    assert [plan(desk, one).alpha for one in sweep(desk, said, "learning_rate", [1e-5])] == [2.0]


def test_values_are_tried_around_a_run_that_is_there_already(desk: TinyDesk) -> None:
    (desk.lora_dir() / "girl-000001.safetensors").write_bytes(b"trained before")
    assert [one.name for one in sweep(desk, request_for(desk), "rank", [4])] == ["girl-r4"]


@pytest.mark.parametrize(
    ("key", "values"),
    [("rank", []), ("rank", list(range(1, 22))), ("name", ["a"]), ("schema_version", [1]), ("ranks", [1])],
)
def test_what_is_no_sweep_is_refused(desk: TinyDesk, key: str, values: list[Any]) -> None:
    with pytest.raises(ConfigError):
        sweep(desk, request_for(desk), key, values)


@pytest.mark.parametrize("value", ["a/b", "../..", "", "{}", None, [1, 2]])
def test_whatever_is_given_the_name_stays_one_that_can_be_used_or_the_plan_refuses(desk: TinyDesk, value: Any) -> None:
    (made,) = sweep(desk, request_for(desk), "device", [value])
    assert not set(made.name) & set("/\\.{}[] ")
    with pytest.raises(LoraForgeError):
        plan(desk, request_for(desk, settings={**SMALL, "rank": value}))
