"""Each optimizer: groups, rates, a first step in closed form where it has one, and an exact way through a file."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import pytest
import torch

from lora_forge.config import TrainConfig
from lora_forge.errors import MissingPartError, TrainingError
from lora_forge.train import optimizers
from lora_forge.train.network import Network
from lora_forge.train.optimizers import (
    Trained,
    build_optimizer,
    load_state,
    parameter_groups,
    set_mode,
    set_rates,
    trained_of,
)
from lora_forge.train.tensor_file import load_tree, save_tree
from tests.train import tiny

LIBRARIES = {
    "adamw": "torch",
    "adafactor": "transformers",
    "lion": "lion_pytorch",
    "prodigy": "prodigyopt",
    "schedule_free": "schedulefree",
}


def trained(with_text: bool = False) -> list[Trained]:
    made = []
    for is_text in (False, True) if with_text else (False,):
        for is_up in (False, True):
            parameter = torch.full((4, 3), 0.5, requires_grad=True)
            made.append(Trained(f"{is_text}{is_up}", parameter, is_up, is_text))
    return made


def config(name: str, **changes: object) -> TrainConfig:
    if importlib.util.find_spec(LIBRARIES.get(name, name)) is None:
        pytest.skip(f"{name} is not installed")
    return TrainConfig(optimizer=name, **changes)  # type: ignore[arg-type]


def take_steps(members: list[Trained], optimizer: torch.optim.Optimizer, settings: TrainConfig, steps: range) -> None:
    for step in steps:
        set_rates(optimizer, settings, step, 10)
        for index, member in enumerate(members):
            generator = torch.Generator().manual_seed(100 * step + index)
            member.parameter.grad = torch.randn(4, 3, generator=generator)
        optimizer.step()


def test_groups_have_their_own_rates() -> None:
    settings = TrainConfig(learning_rate=1e-3, te_learning_rate=1e-4, lora_plus_ratio=16.0)
    groups = parameter_groups(trained(with_text=True), settings)
    assert {g["name"]: g["lr"] for g in groups} == pytest.approx(
        {"unet_down": 1e-3, "unet_up": 1.6e-2, "te_down": 1e-4, "te_up": 1.6e-3}
    )
    assert all(len(g["params"]) == 1 for g in groups)


def test_rates_follow_the_schedule_for_every_group() -> None:
    settings = TrainConfig(learning_rate=1e-3, lora_plus_ratio=2.0, schedule="linear")
    optimizer = build_optimizer(trained(), settings)
    assert set_rates(optimizer, settings, 6, 10) == pytest.approx(5e-4)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([5e-4, 1e-3])


def test_first_adamw_step_in_closed_form() -> None:
    """Bias correction makes the first step lr * sign(gradient), after the decoupled decay."""
    settings = TrainConfig(learning_rate=0.01, weight_decay=0.1, schedule="constant")
    members = trained()
    optimizer = build_optimizer(members, settings)
    set_rates(optimizer, settings, 1, 10)
    members[0].parameter.grad = torch.full((4, 3), -2.0)
    optimizer.step()
    expected = torch.full((4, 3), 0.5 * (1 - 0.01 * 0.1) + 0.01)
    torch.testing.assert_close(members[0].parameter.detach(), expected)


def test_first_lion_step_in_closed_form() -> None:
    settings = config("lion", learning_rate=0.01, weight_decay=0.1, schedule="constant")
    members = trained()
    optimizer = build_optimizer(members, settings)
    members[0].parameter.grad = torch.full((4, 3), -2.0)
    optimizer.step()
    torch.testing.assert_close(members[0].parameter.detach(), torch.full((4, 3), 0.5 * (1 - 0.01 * 0.1) + 0.01))


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_state_through_a_file_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    settings = config(name, learning_rate=1.0 if name == "prodigy" else 1e-2, schedule="constant", warmup_steps=3)
    straight, through = trained(), trained()
    one = build_optimizer(straight, settings)
    take_steps(straight, one, settings, range(1, 9))

    before = build_optimizer(through, settings)
    take_steps(through, before, settings, range(1, 5))
    save_tree(tmp_path / "o.safetensors", before.state_dict())
    again = [Trained(t.name, t.parameter.detach().clone().requires_grad_(), t.is_up, t.is_text) for t in through]
    after = build_optimizer(again, settings)
    after.load_state_dict(load_tree(tmp_path / "o.safetensors"))
    take_steps(again, after, settings, range(5, 9))
    for a, b, start in zip(straight, again, trained(), strict=True):
        assert torch.equal(a.parameter, b.parameter)
        assert not torch.equal(a.parameter, start.parameter)


def test_schedule_free_has_a_point_to_train_at_and_one_to_save() -> None:
    settings = config("schedule_free", learning_rate=1e-2)
    members = trained()
    optimizer = build_optimizer(members, settings)
    take_steps(members, optimizer, settings, range(1, 6))
    training = copy.deepcopy(members[0].parameter.detach())
    set_mode(optimizer, is_training=False)
    assert not torch.equal(training, members[0].parameter)
    set_mode(optimizer, is_training=True)
    torch.testing.assert_close(training, members[0].parameter.detach())


def test_prodigy_refuses_two_rates() -> None:
    with pytest.raises(TrainingError, match="Prodigy"):
        build_optimizer(trained(), config("prodigy", learning_rate=1.0, lora_plus_ratio=4.0))


def test_an_absent_library_comes_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(optimizers.importlib, "import_module", absent)
    with pytest.raises(MissingPartError, match="pip install --no-deps bitsandbytes"):
        build_optimizer(trained(), TrainConfig(optimizer="adamw8bit"))


def test_a_state_kept_matrix_by_matrix_is_taken_up() -> None:
    """As runs were saved before all matrices lay in one buffer: the next step is the same."""
    settings = tiny.config(rank=3, te_learning_rate=1e-3)
    after = []
    for is_old in (True, False):
        with Network.attach(tiny.build_model(), settings) as network:
            flat, members = network.flat, trained_of(network)
            optimizer = build_optimizer(members, settings, None if is_old else flat.sections)
            for turn in (1, 2, 3):
                if turn == 3 and is_old:
                    kept = optimizer.state_dict()
                    optimizer = build_optimizer(members, settings, flat.sections)
                    load_state(optimizer, kept, flat)
                generator = torch.Generator().manual_seed(turn)
                for t in members:
                    assert t.parameter.grad is not None
                    t.parameter.grad.copy_(torch.randn(t.parameter.shape, generator=generator))
                optimizer.step()
            after.append(flat.parameters.clone())
    assert torch.equal(after[0], after[1])
