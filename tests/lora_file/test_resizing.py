"""A lower rank is the best there is (Eckart and Young), and the error that is told is the true one."""

from __future__ import annotations

import math

import pytest
import torch

from lora_forge.errors import LoraFileError
from lora_forge.lora_file.resizing import reduce, resize
from lora_forge.lora_file.weights import LoraModule
from tests.lora_file.adapters import CONV, LINEAR, both, conv, linear, planted


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_error_is_that_of_the_values_left_out(rank: int) -> None:
    values = (8.0, 4.0, 2.0, 1.0)
    made = resize({LINEAR: planted(values)}, rank, None, torch.float32)
    rest, whole = math.hypot(*values[rank:]), math.hypot(*values)
    assert made.loss.whole == pytest.approx(rest / whole, rel=1e-5)
    assert made.loss.worst == pytest.approx(rest / whole, rel=1e-5)
    assert made.loss.worst_layer == LINEAR
    assert made.ranks == (rank, rank)
    found = torch.linalg.svdvals(made.weights[LINEAR].delta())[:rank]
    assert torch.allclose(found, torch.tensor(values[:rank]), rtol=1e-5)


@pytest.mark.parametrize("module", [linear(6, 3), conv(6, 4)], ids=["linear", "conv"])
def test_it_is_the_truncated_svd_of_the_full_matrix(module: LoraModule) -> None:
    made = reduce(module, 2)
    full = module.delta().double().flatten(1)
    left, values, right = torch.linalg.svd(full, full_matrices=False)
    best = left[:, :2] * values[:2] @ right[:2]
    assert torch.allclose(made.delta().double().flatten(1), best, atol=1e-6 * float(values[0]))
    assert made.delta().shape == module.delta().shape
    assert made.up.shape[2:] == module.up.shape[2:]
    assert made.scale == 1.0


def test_the_least_rank_that_keeps_the_share() -> None:
    module = planted((8.0, 4.0, 2.0, 1.0))
    whole = math.hypot(8, 4, 2, 1)
    for count, kept in ((1, 8.0), (2, math.hypot(8, 4)), (3, math.hypot(8, 4, 2))):
        share = kept / whole
        assert reduce(module, None, share * 0.9999).rank == count
        assert reduce(module, None, min(1.0, share * 1.0001)).rank == count + 1
    assert reduce(module, None, 1.0) is module


def test_layers_of_a_lower_rank_stay_as_they_are() -> None:
    weights = {LINEAR: linear(2, 1), CONV: conv(6, 2)}
    made = resize(weights, 4, None, torch.float32)
    assert torch.equal(made.weights[LINEAR].up, weights[LINEAR].up)
    assert made.weights[LINEAR].alpha == weights[LINEAR].alpha
    assert made.ranks == (2, 4)
    assert made.loss.worst_layer == CONV


def test_the_whole_error_is_over_all_layers() -> None:
    one, other = planted((3.0, 4.0)[::-1]), planted((12.0, 5.0), seed=5)
    made = resize({LINEAR: one, CONV: other}, 1, None, torch.float32)
    assert made.loss.whole == pytest.approx(math.hypot(3, 5) / math.hypot(3, 4, 12, 5), rel=1e-5)
    assert made.loss.worst == pytest.approx(3 / 5, rel=1e-5)
    assert made.loss.worst_layer == LINEAR


def test_the_rounding_of_the_file_is_told_too() -> None:
    made = resize(both(4), 4, None, torch.float16)
    assert 1e-5 < made.loss.whole < 2**-11
    assert all(module.up.dtype == torch.float16 for module in made.weights.values())


def test_a_rank_above_the_layer_itself_is_no_error() -> None:
    wide = LoraModule(torch.randn(20, 9), torch.randn(12, 20), 20.0)  # rank 20 of a 12 x 9 layer
    made = reduce(wide, 9)
    assert torch.allclose(made.delta(), wide.delta(), atol=1e-4)
    assert made.rank == 9


def test_an_empty_layer_keeps_a_rank_of_one() -> None:
    nothing = LoraModule(torch.randn(4, 9), torch.zeros(12, 4), 4.0)
    made = resize({LINEAR: nothing}, None, 0.9, torch.float32)
    assert made.ranks == (1, 1)
    assert made.loss.whole == 0


def test_a_stop_between_two_layers_comes_through() -> None:
    class StopError(Exception):
        pass

    told = []

    def stop(done: int, total: int) -> None:
        told.append((done, total))
        raise StopError

    with pytest.raises(StopError):
        resize(both(4), 2, None, torch.float32, stop)
    assert told == [(1, 2)]


@pytest.mark.parametrize(("rank", "share"), [(None, None), (2, 0.5), (0, None), (None, 0.0), (None, 1.1)])
def test_what_can_not_be_is_refused(rank: int | None, share: float | None) -> None:
    with pytest.raises(LoraFileError):
        resize(both(4), rank, share, torch.float32)
