"""Convolutions as matrix products: the same numbers, in the same places, and no trace afterwards."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lora_forge.train import small_convs
from lora_forge.train.small_convs import small_convs_as_products

CPU = torch.device("cpu")


def frozen(dtype: torch.dtype = torch.bfloat16, **changes: object) -> nn.Conv2d:
    settings = {"kernel_size": 3, "padding": 1, **changes}
    torch.manual_seed(0)
    return nn.Conv2d(6, 10, **settings).to(dtype).requires_grad_(False)  # type: ignore[arg-type]


def answer(conv: nn.Conv2d, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    images = images.clone().requires_grad_()
    made = conv(images)
    made.backward(torch.linspace(-1, 1, made.numel()).view_as(made).to(made.dtype))
    assert images.grad is not None
    return made.detach(), images.grad


@pytest.mark.parametrize("shape", [(1, 6, 8, 8), (4, 6, 8, 8), (3, 6, 5, 7)])
@pytest.mark.parametrize("changes", [{}, {"stride": 2}, {"bias": False}])
def test_the_product_is_the_convolution(shape: tuple[int, ...], changes: dict[str, object]) -> None:
    """Against the same convolution in float32: bfloat16 keeps 8 bits."""
    conv = frozen(**changes)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    exact = frozen(torch.float32, **changes)
    exact.load_state_dict({name: value.float() for name, value in conv.state_dict().items()})
    wanted, wanted_gradient = answer(exact, images.float())
    with small_convs_as_products(conv, CPU):
        made, gradient = answer(conv, images)
    assert_close(made.float(), wanted, atol=2e-2, rtol=1e-2)
    assert_close(gradient.float(), wanted_gradient, atol=2e-2, rtol=1e-2)
    assert made.is_contiguous()


def test_only_small_frozen_plain_ones_in_bfloat16_on_a_cpu_go_this_way(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, ...]] = []
    apply = small_convs._Product.apply

    def noted(images: torch.Tensor, *rest: object) -> torch.Tensor:
        taken.append(tuple(images.shape))
        return apply(images, *rest)  # type: ignore[no-any-return, no-untyped-call]

    monkeypatch.setattr(small_convs._Product, "apply", noted)
    small, large, many = (torch.zeros(s).bfloat16() for s in ((1, 6, 8, 8), (1, 6, 8, 9), (5, 6, 8, 8)))
    with small_convs_as_products(conv := frozen(), CPU):
        for images in (small, large, many):
            conv(images)
    assert taken == [(1, 6, 8, 8)]
    others = [
        frozen(torch.float32),
        frozen(dilation=2, padding=2),
        frozen(kernel_size=1, padding=0),
        frozen().requires_grad_(True),
    ]
    for other in others:
        with small_convs_as_products(other, CPU):
            other(small.to(other.weight.dtype))
    with small_convs_as_products(conv, torch.device("meta")):
        conv(small)
    assert len(taken) == 1


def test_afterwards_nothing_is_left_on_the_modules() -> None:
    conv = frozen()
    before = set(vars(conv))
    with small_convs_as_products(conv, CPU):
        assert set(vars(conv)) - before == {"forward"}
    with contextlib.suppress(ZeroDivisionError), small_convs_as_products(conv, CPU):
        raise ZeroDivisionError
    assert set(vars(conv)) == before
