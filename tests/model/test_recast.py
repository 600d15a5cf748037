"""Weights in eight bits: the very numbers of their wide forms, nothing wide kept, a LoRA on top."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lora_forge.config import TrainConfig
from lora_forge.model import recast
from lora_forge.ports import BorrowedModel
from lora_forge.train.network import Network

CPU = torch.device("cpu")
WIDTH = 64  # of the toy's text
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Blocks(nn.Module):
    """What the storing looks at: layers inside of blocks, and one outside."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(4, 8, 3, padding=1)
        self.down_blocks = nn.ModuleList(
            [
                nn.Linear(64, 48),
                nn.Linear(64, 48, bias=False),
                nn.Conv2d(8, 6, 3, padding=1, stride=2),
                nn.GroupNorm(2, 8),
            ]
        )


def blocks(dtype: torch.dtype = torch.float32) -> tuple[Blocks, Blocks]:
    """A network in eight bits, and one with the wide forms of its weights."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        small, plain = Blocks(), Blocks()
    for network in (small, plain):
        network.requires_grad_(False).to(dtype)
    recast.store_in_fp8(small, CPU)
    state = {}
    for name, tensor in small.state_dict().items():
        scale = small.state_dict().get(name.replace("weight", "weight_scale"))
        is_wide = tensor.dtype is not torch.float8_e4m3fn
        if "scale" not in name:
            state[name] = tensor if is_wide else (tensor.to(torch.float32) * scale).to(dtype)
    plain.load_state_dict(state)
    return small, plain


def inputs(dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = ((2, 7, 64), (3, 64), (2, 8, 9, 11))
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_(True) for shape in shapes]


def both(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The answer, and the gradient of ``x``."""
    answer = layer(x)
    generator = torch.Generator().manual_seed(2)
    (gradient,) = torch.autograd.grad(answer, x, torch.randn(answer.shape, generator=generator).to(answer.dtype))
    return answer.detach(), gradient


@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_and_backward_are_those_of_the_wide_weights(dtype: torch.dtype) -> None:
    small, plain = blocks(dtype)
    for one, other, x in zip(small.down_blocks, plain.down_blocks, inputs(dtype), strict=False):
        if dtype is torch.float16 and x.dim() == 4:
            continue  # old releases have no fp16 convolution on a CPU
        for mine, theirs in zip(both(one, x), both(other, x), strict=True):
            assert mine.dtype is dtype
            assert torch.equal(mine, theirs)


def test_only_the_layers_of_blocks_get_smaller_and_their_kind_stays() -> None:
    small, _ = blocks()
    kinds = {name: tensor.dtype for name, tensor in small.named_parameters()}
    eight = {name for name, dtype in kinds.items() if dtype is torch.float8_e4m3fn}
    assert eight == {f"down_blocks.{number}.weight" for number in range(3)}
    assert isinstance(small.down_blocks[0], nn.Linear)
    assert isinstance(small.down_blocks[2], nn.Conv2d)
    assert not any(parameter.requires_grad for parameter in small.parameters())
    assert recast.is_in_fp8(small)
    assert not recast.is_in_fp8(Blocks())


def test_numbers_lose_three_percent_however_small_they_are() -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn((6, 4096), generator=generator) * torch.tensor([[1e-7], [1e-4], [0.03], [1.0], [900.0], [0.0]])
    small, scale = recast.to_fp8(rows)
    assert torch.equal(torch.exp2(torch.log2(scale).round()), scale), "powers of two"
    back = recast.wide(small, scale, torch.float32)
    assert torch.equal(back[5], rows[5])
    lost = (back - rows)[:5].square().mean(dim=1).sqrt() / rows[:5].square().mean(dim=1).sqrt()
    assert lost.max() < 0.03
    assert lost.min() > 0.02, "or it is not the rounding that is measured"


class Live(TorchDispatchMode):
    """Bytes of everything made meanwhile that is still there."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak, self._storages = 0, 0, set[int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(one, Tensor):
                self._look(one.untyped_storage())
        return made

    def _look(self, storage: Any) -> None:
        import weakref

        key = storage._cdata
        if key not in self._storages:
            self._storages.add(key)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, key, storage.nbytes())

    def _gone(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self.now -= size


def saved_by(work: Callable[[], Tensor]) -> list[Tensor]:
    """What autograd keeps for backward."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        work()
    return found


@pytest.mark.parametrize("number", [0, 1, 2])
def test_nothing_wide_is_kept_for_backward(number: int) -> None:
    small, _ = blocks(torch.bfloat16)
    layer, x = small.down_blocks[number], inputs(torch.bfloat16)[min(number, 2)]
    kept = saved_by(lambda: layer(x))
    own = {layer.weight.data_ptr(), layer.weight_scale.data_ptr()}
    assert {tensor.data_ptr() for tensor in kept} == own, "the stored ones, which are there anyway"


def test_a_chain_of_layers_takes_one_wide_weight_at_a_time() -> None:
    """By the bytes that live: eight layers of 512 x 512, whose wide weights are 1 MiB each, on a row of 2 KiB."""
    chain = nn.Module()
    chain.down_blocks = nn.ModuleList([nn.Linear(512, 512) for _ in range(8)]).requires_grad_(False)
    recast.store_in_fp8(chain, CPU)
    x = torch.randn(1, 512).requires_grad_(True)
    with Live() as live:
        answer = x
        for layer in chain.down_blocks:
            answer = layer(answer)
        after_forward = live.now
        answer.sum().backward()
    assert after_forward < 2**18, "no wide weight is there between forward and backward"
    assert 2**20 < live.peak < 2.5 * 2**20


def gradients(model: BorrowedModel) -> tuple[Tensor, list[Tensor | None]]:
    """The answer with fresh adapters, and what their ups learn from it; in float64, where cancelling costs nothing."""
    generator = torch.Generator().manual_seed(6)
    shapes = ((1, 4, 8, 8), (1, 77, WIDTH))
    latents, hidden = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    with Network.attach(model, TrainConfig(name="x", rank=2, conv_rank=1)) as network:
        answer = model.unet(latents, torch.tensor([9]), hidden, return_dict=False)[0]
        answer.square().mean().backward()
        return answer.detach(), [named.parameter.grad for named in network.unet_parameters() if named.is_up]


def test_a_lora_on_top_learns_what_it_would_on_the_wide_weights_and_comes_off(build_toy: Any) -> None:
    model, plain = build_toy("sd1"), build_toy("sd1")
    for lent in (model, plain):
        lent.unet.double()
    recast.store_in_fp8(model.unet, CPU)
    before = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    widened = {
        name: recast.wide(tensor, before.get(name + "_scale"), torch.float64)
        for name, tensor in before.items()
        if not name.endswith("_scale")
    }
    plain.unet.load_state_dict(widened)
    (answer, learned), (wanted, as_wanted) = gradients(model), gradients(plain)
    torch.testing.assert_close(answer, wanted)
    assert len(learned) > 100
    for one, other in zip(learned, as_wanted, strict=True):
        assert one is not None
        assert other is not None
        torch.testing.assert_close(one, other)
    after = model.unet.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor.float(), after[name].float()) for name, tensor in before.items())
