from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_forge.errors import ConfigError
from lora_forge.evaluate.plan import GridPlan, parse_range, parse_strengths

PROMPT = "ohwx, 1girl <lora:toy-NUM:STRENGTH>"


@pytest.mark.parametrize(
    ("text", "epochs"),
    [
        ("1-10", tuple(range(1, 11))),
        ("1,3,5-7", (1, 3, 5, 6, 7)),
        (" 7 , 2 ", (2, 7)),
        ("3-3", (3,)),
        ("2,1-3", (1, 2, 3)),
    ],
)
def test_ranges_of_epochs(text: str, epochs: tuple[int, ...]) -> None:
    assert parse_range(text) == epochs


@pytest.mark.parametrize("text", ["", "0", "1-", "-3", "3-1", "a", "1,,2", "1.5", "1-2-3", "1-1000000"])
def test_broken_ranges_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="epochs can't be"):
        parse_range(text)


@pytest.mark.parametrize(
    ("text", "strengths"),
    [
        ("0.1-1.0", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)),
        ("0,0.2,0.5", (0.0, 0.2, 0.5)),
        ("1", (1.0,)),
        ("0.8-1,1.5", (0.8, 0.9, 1.0, 1.5)),
        ("1,0.5", (0.5, 1.0)),
    ],
)
def test_strengths(text: str, strengths: tuple[float, ...]) -> None:
    assert parse_strengths(text) == strengths


@pytest.mark.parametrize("text", ["", "x", "1-0.5", "-0.5", "11", "nan", "0.1,,1", "inf"])
def test_broken_strengths_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="strengths can't be"):
        parse_strengths(text)


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(0, 100), st.integers(0, 100))
def test_spans_of_strengths_hold_both_ends_in_even_steps(first: int, last: int) -> None:
    least, most = sorted((first, last))
    values = parse_strengths(f"{least / 10}-{most / 10}")
    assert values == tuple(tenth / 10 for tenth in range(least, most + 1))


def test_a_plan_tells_all_its_problems_at_once() -> None:
    wrong: dict[str, Any] = {"epochs": (0, 1, 1), "strengths": (11.0,), "seeds": (), "width": 60, "steps": 0}
    with pytest.raises(ConfigError) as caught:
        GridPlan("ohwx", **wrong)
    for word in (
        "NAME-NUM:STRENGTH",
        "at least one",
        "count from 1",
        "0 to 10",
        "epochs holds a value twice",
        "60x512",
        "steps",
    ):
        assert word in str(caught.value)


@pytest.mark.parametrize("prompt", ["x <lora:toy-NUM:1>", "x <lora:toy-000001:STRENGTH>", "x toy-NUM STRENGTH", ""])
def test_both_places_must_be_there(prompt: str) -> None:
    with pytest.raises(ConfigError, match="NUM and STRENGTH are where the axes go"):
        GridPlan(prompt)


def test_two_loras_can_not_be_compared() -> None:
    with pytest.raises(ConfigError, match="several LoRAs"):
        GridPlan("x <lora:a-NUM:STRENGTH> <lora:b-NUM:STRENGTH>")


def test_prompts_of_cells() -> None:
    plan = GridPlan("NUM STRENGTH, ohwx <lora:toy-NUM:STRENGTH>, snow <lora:other:0.5>")
    assert plan.prompt_of(7, 0.5) == "NUM STRENGTH, ohwx <lora:toy-000007:0.5>, snow <lora:other:0.5>"
    assert plan.prompt_of(0, 0.0) == "NUM STRENGTH, ohwx, snow <lora:other:0.5>"
    assert GridPlan("<lora:toy-NUM:STRENGTH>, x").prompt_of(1, 1.0) == "<lora:toy-000001:1>, x"


def test_the_baseline_is_one_cell_and_the_first() -> None:
    plan = GridPlan(PROMPT, epochs=(2, 4), strengths=(0.0, 0.5, 1.0))
    assert plan.cells() == ((0, 0.0), (2, 0.5), (2, 1.0), (4, 0.5), (4, 1.0))
    assert GridPlan(PROMPT, epochs=(2,), strengths=(1.0,)).cells() == ((2, 1.0),)


def test_the_name_is_filled_in_or_must_agree() -> None:
    plan = GridPlan("x <lora:NAME-NUM:STRENGTH>").named("toy")
    assert plan.name == "toy"
    assert plan.prompt == "x <lora:toy-NUM:STRENGTH>"
    assert plan.named("toy") == plan
    with pytest.raises(ConfigError, match="asks for the LoRA 'toy', but the grid is of 'cat'"):
        plan.named("cat")


def test_requests_carry_every_setting() -> None:
    plan = GridPlan(PROMPT, "bad", (1,), (1.0,), (3, 9), 64, 128, 8, 4.0, "euler", 2)
    first, second = plan.requests(1, 1.0)
    assert (first.seed, second.seed) == (3, 9)
    assert first.prompt == "ohwx, 1girl <lora:toy-000001:1>"
    told = (
        first.negative_prompt,
        first.width,
        first.height,
        first.steps,
        first.guidance,
        first.sampler,
        first.clip_skip,
    )
    assert told == ("bad", 64, 128, 8, 4.0, "euler", 2)


def test_a_second_prompt_follows_the_first_in_every_cell() -> None:
    swapped = "ohwx, 1girl, snow <lora:toy-NUM:STRENGTH>"
    plan = GridPlan(PROMPT, strengths=(0.0, 1.0), seeds=(3, 9), swap_prompt=swapped, swaps=("snow",))
    told = [(request.prompt, request.seed) for request in plan.requests(1, 1.0)]
    first, second = "ohwx, 1girl <lora:toy-000001:1>", "ohwx, 1girl, snow <lora:toy-000001:1>"
    assert told == [(first, 3), (first, 9), (second, 3), (second, 9)]
    assert [request.prompt for request in plan.requests(0, 0.0)][2] == "ohwx, 1girl, snow"
    assert plan.pictures_a_cell == 4
    asked = plan.asked()
    assert [(one.prompt, one.swaps) for one in asked] == [("ohwx, 1girl", ())] * 2 + [
        ("ohwx, 1girl, snow", ("snow",))
    ] * 2
    assert GridPlan.from_dict(plan.to_dict()) == plan


def test_the_second_prompt_is_of_the_same_lora() -> None:
    for swapped in ("ohwx", "x <lora:other-NUM:STRENGTH>"):
        with pytest.raises(ConfigError, match="swapped prompt"):
            GridPlan(PROMPT, swap_prompt=swapped)
    plan = GridPlan("x <lora:NAME-NUM:STRENGTH>", swap_prompt="y <lora:NAME-NUM:STRENGTH>").named("toy")
    assert plan.swap_prompt == "y <lora:toy-NUM:STRENGTH>"


def test_the_pictures_of_other_loras_are_asked_for_without_their_tags() -> None:
    assert GridPlan("x, <lora:toy-NUM:STRENGTH>, <lora:detail:0.4>").asked()[0].prompt == "x"
