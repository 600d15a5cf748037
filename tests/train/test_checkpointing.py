"""Blocks that are computed again: the same numbers, less kept, no random generator looked at; and when that is on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from lora_forge.config import Family, TrainConfig
from lora_forge.dataset.prepared import PreparedSet
from lora_forge.events import RunStarted, StageDone, StepDone
from lora_forge.lora_file.writer import load_lora
from lora_forge.model.memory import checkpointing
from lora_forge.ports import BaseInfo, BorrowedModel
from lora_forge.train.lease import recomputed_blocks, training_lease
from lora_forge.train.network import Network
from tests.train import tiny


def step(model: BorrowedModel, network: Network) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The answer to fixed inputs and the adapters' gradients."""
    generator = torch.Generator().manual_seed(4)
    latents, hidden = (torch.randn(shape, generator=generator) for shape in ((2, 4, 8, 8), (2, 77, tiny.WIDTH)))
    answer = model.unet(latents, torch.tensor([7, 600]), encoder_hidden_states=hidden, return_dict=False)[0]
    parameters = [named.parameter for named in network.unet_parameters()]
    return answer.detach(), list(torch.autograd.grad(answer.square().mean(), parameters))


def with_adapters(model: BorrowedModel) -> Network:
    network = Network.attach(model, tiny.config())
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for named in network.unet_parameters():
            named.parameter.copy_(torch.randn(named.parameter.shape, generator=generator) * 0.1)
    return network


def kept_bytes(work: Callable[[], Any]) -> int:
    """Bytes of the activations that autograd keeps for backward while ``work`` runs, each storage once."""
    kept: dict[int, int] = {}
    tensors = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        tensors.append(tensor)  # or its place could be given away again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        answer = work()
    assert answer.grad_fn is not None
    return sum(kept.values())


def test_the_same_bits_forward_and_backward(model: BorrowedModel) -> None:
    found = []
    for is_on in (False, True):
        with training_lease(model, is_on), with_adapters(model) as network:
            found.append(step(model, network))
    (plain, gradients), (again, gradients_again) = found
    assert torch.equal(plain, again)
    assert all(torch.equal(one, two) for one, two in zip(gradients, gradients_again, strict=True))


def test_a_fraction_is_kept(model: BorrowedModel) -> None:
    def forward() -> torch.Tensor:
        generator = torch.Generator().manual_seed(4)
        latents, hidden = (torch.randn(shape, generator=generator) for shape in ((2, 4, 16, 16), (2, 9, tiny.WIDTH)))
        answer: torch.Tensor = model.unet(latents, torch.tensor([7, 600]), hidden, return_dict=False)[0]
        return answer

    found = []
    for is_on in (False, True):
        with training_lease(model, is_on), with_adapters(model):
            found.append(kept_bytes(forward))
    assert found[1] < 0.5 * found[0]


def test_no_random_generator_is_looked_at(model: BorrowedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a captured step can't do this")

    with training_lease(model, True), with_adapters(model) as network:
        for name in ("get_rng_state", "set_rng_state"):
            monkeypatch.setattr(torch, name, refuse)
        step(model, network)


def test_the_blocks_forwards_are_as_they_were(model: BorrowedModel) -> None:
    before = [dict(vars(module)) for module in model.unet.modules()]
    block = model.unet.mid_block.resnets[0]
    own = block.forward
    block.forward = own
    with recomputed_blocks(model.unet):
        assert block.forward is not own
    assert block.forward is own
    del block.forward
    assert [dict(vars(module)) for module in model.unet.modules()] == before


def full_size(family: Family) -> BorrowedModel:
    """A UNet of SD1.x's size that takes no memory, said to compute on the CPU."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768)
    info, device = BaseInfo("full", family, "epsilon", "made so"), torch.device("cpu")
    return BorrowedModel(info, unet, None, (), torch.zeros(1), 0.18215, device, torch.float32)


def test_automatic_is_on_where_the_memory_would_not_do() -> None:
    model = full_size(Family.SD1)
    small, huge = TrainConfig(resolution_px=64), TrainConfig(resolution_px=2048, batch_size=1024)
    assert not checkpointing(model, small).is_on
    found = checkpointing(model, huge)
    assert found.is_on
    assert found.free_bytes is not None
    assert found.needed_bytes > found.free_bytes
    assert not checkpointing(model, huge.replace(gradient_checkpointing="off")).is_on
    assert checkpointing(model, small.replace(gradient_checkpointing="on")).is_on


def test_a_run_says_what_automatic_came_to_and_its_file_too(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    losses = {}
    for choice in ("auto", "on"):
        recorder = tiny.Recorder()
        settings = tiny.config(epochs=1, gradient_checkpointing=choice)
        (path,) = tiny.run(tmp_path / choice, settings, prepared, model, recorder).files
        told = [event.summary for event in recorder.of(StageDone) if "checkpointing" in event.summary]
        assert recorder.of(RunStarted)[0].is_checkpointed is (choice == "on")
        losses[choice] = [event.loss for event in recorder.of(StepDone)]
        assert [one[:29] for one in told] == (["Gradient checkpointing is off"] if choice == "auto" else [])
        assert load_lora(path).metadata["ss_gradient_checkpointing"] == str(choice == "on")
    assert losses["auto"] == losses["on"]
