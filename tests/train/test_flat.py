"""One buffer for all trained matrices: the same numbers as matrix by matrix."""

from __future__ import annotations

import pytest
import torch

from lora_forge.train.network import Network
from lora_forge.train.optimizers import trained_of
from tests.train import tiny

SETTINGS = tiny.config(rank=3, alpha=1.5, conv_rank=2, conv_alpha=1.0, te_learning_rate=1e-3)


def filled(dtype: torch.dtype = torch.float32) -> Network:
    """Adapters that already do something, on a fresh model."""
    network = Network.attach(tiny.build_model(dtype=dtype), SETTINGS)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for t in trained_of(network):
            t.parameter.copy_(torch.randn(t.parameter.shape, generator=generator) * 0.1)
    return network


def backward(network: Network) -> torch.Tensor:
    model = network._model
    latents = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(1)).to(model.dtype)
    text = torch.randn((2, 7, tiny.WIDTH), generator=torch.Generator().manual_seed(2)).to(model.dtype)
    out: torch.Tensor = model.unet(latents, torch.tensor([3, 700]), text).sample
    out.float().square().mean().backward()
    return out.detach()


def test_matrices_and_gradients_are_views_into_it() -> None:
    with filled() as network:
        flat, members = network.flat, trained_of(network)
        backward(network)
        for t in members:
            assert t.parameter.grad is not None
        numbers = sum(t.parameter.numel() for t in members)
        assert flat.parameters.numel() >= numbers
        assert torch.count_nonzero(flat.parameters) == sum(torch.count_nonzero(t.parameter) for t in members)
        gradients = [t.parameter.grad for t in members if t.parameter.grad is not None]
        assert flat.gradient.norm().item() == pytest.approx(torch.cat([g.flatten() for g in gradients]).norm().item())
        flat.gradient.zero_()
        assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_copies_made_at_once_give_the_same_picture_and_gradients(dtype: torch.dtype) -> None:
    with filled(dtype) as network:
        flat = network.flat
        one_by_one = backward(network)
        expected = flat.gradient.clone()
        flat.gradient.zero_()
        with flat.working(dtype):
            at_once = backward(network)
        assert torch.equal(one_by_one, at_once)
        assert torch.equal(expected, flat.gradient)
        assert expected.count_nonzero() > 1000
        with flat.working(dtype):
            backward(network)
        torch.testing.assert_close(flat.gradient, 2 * expected)  # batches add up


def test_a_batch_that_fails_leaves_nothing() -> None:
    with filled() as network:
        with pytest.raises(RuntimeError, match="channels"), network.flat.working(torch.float32):
            network._model.unet(torch.zeros((1, 3, 8, 8)), torch.tensor([3]), torch.zeros((1, 7, 5)))
        assert not network.flat.gradient.any()
        expected = backward(network)
        assert torch.equal(expected, backward(network))


def test_sections_are_the_groups_of_the_optimizer() -> None:
    with filled() as network:
        for (is_text, is_up), section in network.flat.sections.items():
            members = [t for t in trained_of(network) if (t.is_text, t.is_up) == (is_text, is_up)]
            with torch.no_grad():
                section.fill_(7.0)
            assert all((t.parameter == 7.0).all() for t in members)
            others = [t for t in trained_of(network) if (t.is_text, t.is_up) != (is_text, is_up)]
            assert not any((t.parameter == 7.0).any() for t in others)
            with torch.no_grad():
                section.fill_(0.0)
        assert set(network.flat.sections) == {(False, False), (False, True), (True, False), (True, True)}
