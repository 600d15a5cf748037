"""A baked strength is exactly linear, and rounds less than the file's dtype must."""

from __future__ import annotations

import pytest
import torch

from lora_forge.errors import LoraFileError
from lora_forge.lora_file.algebra import distance, loss_between, norm
from lora_forge.lora_file.baking import bake
from lora_forge.lora_file.weights import LoraModule, LoraWeights
from tests.lora_file.adapters import CONV, LINEAR, both, linear


def scaled(weights: LoraWeights, strength: float) -> LoraWeights:
    """The same at that strength, exactly: alpha is a Python number."""
    return {name: LoraModule(one.down, one.up, one.alpha * strength) for name, one in weights.items()}


@pytest.mark.parametrize("strength", [0.1, 0.3, 0.7, 0.85, 1.3])
def test_in_float32_only_the_last_bit_is_rounded(strength: float) -> None:
    weights = both(4)
    assert loss_between(scaled(weights, strength), bake(weights, strength)).worst < 2**-22


@pytest.mark.parametrize("strength", [0.5, 0.75, 0.625])
def test_what_alpha_can_say_is_exact_in_float16(strength: float) -> None:
    weights = both(4, dtype=torch.float16)
    made = bake(weights, strength)
    for name, module in made.items():
        assert module.alpha == 16 * strength
        assert torch.equal(module.up, weights[name].up)
        assert torch.equal(module.down, weights[name].down)


@pytest.mark.parametrize("strength", [0.1, 0.3, 0.7, 0.85])
def test_float16_loses_less_than_half_of_its_last_bit(strength: float) -> None:
    weights = both(8, dtype=torch.float16)
    made = bake(weights, strength)
    assert {module.up.dtype for module in made.values()} == {torch.float16}
    assert loss_between(scaled(weights, strength), made).worst < 2**-11


def test_where_alpha_would_round_more_a_matrix_takes_it() -> None:
    weights = both(8, dtype=torch.float16)
    off = abs(float(torch.tensor(0.7 * 16, dtype=torch.float16)) - 11.2) / 11.2
    made = bake(weights, 0.7)
    assert loss_between(scaled(weights, 0.7), made).worst < 0.8 * off
    assert {module.alpha for module in made.values()} == {16.0}


def test_of_three_ways_the_nearest_is_taken() -> None:
    # 2^-24 is the smallest number of float16: 0.7 of it rounds to itself. Only in ``down`` can the factor go.
    module = LoraModule(
        torch.tensor([[1024.0, 2048.0]], dtype=torch.float16), torch.full((2, 1), 2**-24, dtype=torch.float16), 1.0
    )
    made = bake({LINEAR: module}, 0.703125)[LINEAR]  # 0.703125 * 1024 = 720 and 0.703125 = 45/64 are whole
    assert distance(made, LoraModule(module.down, module.up, 0.703125)) == 0
    odd = bake({LINEAR: LoraModule(module.down, module.up, 3.0)}, 0.7)[LINEAR]
    assert torch.equal(odd.up, module.up)


def test_strength_one_changes_nothing_and_zero_is_refused() -> None:
    weights = both(2)
    assert bake(weights, 1.0) == weights
    for strength in (0.0, 4.5, float("nan")):
        with pytest.raises(LoraFileError, match="can't be baked in"):
            bake(weights, strength)


def test_a_negative_strength_turns_the_delta_round() -> None:
    weights = both(2)
    made = bake(weights, -0.5)
    for name in (LINEAR, CONV):
        assert torch.allclose(made[name].delta(), -0.5 * weights[name].delta(), rtol=1e-6, atol=0)


def test_norm_and_distance_are_those_of_the_full_matrices() -> None:
    one, other = linear(3, 1), linear(5, 2)
    assert norm(one) == pytest.approx(float(one.delta().norm()), rel=1e-6)
    assert distance(one, other) == pytest.approx(float((one.delta() - other.delta()).norm()), rel=1e-6)
    assert distance(one, None) == pytest.approx(norm(one))
    assert distance(one, one) == pytest.approx(0, abs=1e-7 * norm(one))
