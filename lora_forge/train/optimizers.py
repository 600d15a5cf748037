"""Optimizers by name, their parameter groups, and what each library wants to be told."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lora_forge.config import Optimizer, TrainConfig
from lora_forge.errors import MissingPartError, TrainingError
from lora_forge.train.flat import Flat
from lora_forge.train.network import Network
from lora_forge.train.schedules import rate_at

Sections = Mapping[tuple[bool, bool], Tensor]
# The others look at rows and columns, or at blocks of a matrix.
_NUMBER_BY_NUMBER: frozenset[Optimizer] = frozenset(("adamw", "lion", "prodigy", "schedule_free"))


@dataclass(frozen=True)
class Trained:
    """One adapter matrix: ``is_up`` for LoRA+, ``is_text`` for the text encoder's learning rate."""

    name: str
    parameter: Tensor
    is_up: bool
    is_text: bool


def trained_of(network: Network) -> list[Trained]:
    """Every trained matrix of ``network``, the UNet's first, in a stable order."""
    parts = ((False, network.unet_parameters()), (True, network.te_parameters()))
    return [Trained(p.name, p.parameter, p.is_up, is_text) for is_text, found in parts for p in found]


def parameter_groups(
    trained: Sequence[Trained], config: TrainConfig, sections: Sections | None = None
) -> list[dict[str, Any]]:
    """Groups by learning rate, each with its ``name`` and unscheduled rate ``base_lr``; empty ones left out.

    ``sections``: see :class:`~lora_forge.train.flat.Flat`; with them each group is one parameter.

    LoRA+ (arXiv 2402.12354): the up matrices learn ``lora_plus_ratio`` times faster.
    """
    groups = []
    for is_text, base_rate in ((False, config.learning_rate), (True, config.te_learning_rate)):
        for is_up in (False, True):
            rate = base_rate * (config.lora_plus_ratio if is_up else 1.0)
            members = [t.parameter for t in trained if (t.is_text, t.is_up) == (is_text, is_up)]
            if members and sections is not None:
                members = [sections[is_text, is_up]]
            if members:
                name = ("te" if is_text else "unet") + ("_up" if is_up else "_down")
                groups.append({"params": members, "lr": rate, "base_lr": rate, "name": name})
    return groups


def build_optimizer(
    trained: Sequence[Trained], config: TrainConfig, sections: Sections | None = None
) -> torch.optim.Optimizer:
    """The optimizer that the settings name; it takes ``sections`` where it treats every number alike.

    Raises:
        MissingPartError: its library is not installed; the remedy says how to get it.
        TrainingError: it can't do what the other settings ask for.
    """
    groups = parameter_groups(trained, config, sections if config.optimizer in _NUMBER_BY_NUMBER else None)
    common: dict[str, Any] = {"weight_decay": config.weight_decay}
    if config.optimizer != "adafactor":
        common["betas"] = (config.beta1, config.beta2)
    optimizer: torch.optim.Optimizer = _BUILDERS[config.optimizer](groups, common, config)
    set_mode(optimizer, is_training=True)
    return optimizer


def load_state(optimizer: torch.optim.Optimizer, saved: dict[str, Any], flat: Flat) -> None:
    """Take up ``saved``, what ``state_dict`` gave; one that was kept matrix by matrix is put together."""
    groups = zip(saved["param_groups"], optimizer.param_groups, strict=True)
    is_by_matrix = any(len(kept["params"]) > len(group["params"]) for kept, group in groups)
    optimizer.load_state_dict(_joined(saved, flat) if is_by_matrix else saved)


def _joined(saved: dict[str, Any], flat: Flat) -> dict[str, Any]:
    state, groups = {}, []
    for number, group in enumerate(saved["param_groups"]):
        kind = (group["name"].startswith("te"), group["name"].endswith("up"))
        members = [saved["state"].get(index, {}) for index in group["params"]]  # none where no gradient ever came
        keys: dict[str, Any] = next(filter(None, members), {})
        state[number] = {key: _joined_value(flat, kind, [one.get(key) for one in members]) for key in keys}
        groups.append({**group, "params": [number]})
    return {"state": state, "param_groups": groups}


def _joined_value(flat: Flat, kind: tuple[bool, bool], values: list[Any]) -> Any:
    """Tensors of the matrices' sizes are put together; what is one number for each, such as its steps, is the same."""
    some = next(value for value in values if value is not None)
    return flat.joined(kind, values) if isinstance(some, Tensor) and some.dim() else some


Groups = list[dict[str, Any]]


def _adamw(groups: Groups, common: dict[str, Any], _: TrainConfig) -> Any:
    devices = {parameter.device for group in groups for parameter in group["params"]}
    return torch.optim.AdamW(groups, fused=all(map(_has_fused_adamw, devices)), **common)


def _has_fused_adamw(device: torch.device) -> bool:
    """Tried on one number: torch before 2.4 on a CPU, before 2.5 on MPS, says no at construction or only at a step."""
    probe = torch.nn.Parameter(torch.zeros(1, device=device))
    probe.grad = torch.zeros_like(probe)
    try:
        torch.optim.AdamW([probe], fused=True).step()
    except RuntimeError:  # of which NotImplementedError is one
        return False
    return True


def _adamw8bit(groups: Groups, common: dict[str, Any], _: TrainConfig) -> Any:
    return _library("bitsandbytes.optim", "bitsandbytes").AdamW8bit(groups, **common)


def _adafactor(groups: Groups, common: dict[str, Any], _: TrainConfig) -> Any:
    """With the settings' own rate: its relative step and parameter scaling are for training from scratch."""
    fixed = {"scale_parameter": False, "relative_step": False, "warmup_init": False}
    return _library("transformers.optimization", "transformers").Adafactor(groups, **common, **fixed)


def _lion(groups: Groups, common: dict[str, Any], _: TrainConfig) -> Any:
    return _library("lion_pytorch", "lion-pytorch").Lion(groups, **common)


def _prodigy(groups: Groups, common: dict[str, Any], _: TrainConfig) -> Any:
    rates = sorted({group["lr"] for group in groups})
    if len(rates) > 1:
        raise TrainingError(
            "Prodigy finds one rate for everything, but the settings give several: {rates}.",
            "Set te_learning_rate to 0 or to learning_rate, and lora_plus_ratio to 1.",
            rates=", ".join(f"{rate:g}" for rate in rates),
        )
    options = {"safeguard_warmup": True, "use_bias_correction": True}
    return _library("prodigyopt", "prodigyopt").Prodigy(groups, **common, **options)


def _schedule_free(groups: Groups, common: dict[str, Any], config: TrainConfig) -> Any:
    kind = _library("schedulefree", "schedulefree").AdamWScheduleFree
    return kind(groups, warmup_steps=config.warmup_steps, **common)


_BUILDERS: dict[Optimizer, Callable[[Groups, dict[str, Any], TrainConfig], Any]] = {
    "adamw": _adamw,
    "adamw8bit": _adamw8bit,
    "adafactor": _adafactor,
    "lion": _lion,
    "prodigy": _prodigy,
    "schedule_free": _schedule_free,
}


def _library(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as cause:
        raise MissingPartError(
            "This optimizer needs the library {package}, which can't be imported: {cause}.",
            "Run: pip install --no-deps {package}; or choose the optimizer adamw.",
            package=package,
            cause=cause,
        ) from cause


def is_self_scheduled(config: TrainConfig) -> bool:
    """Whether the optimizer wants a constant rate and does its own warm-up."""
    return config.optimizer == "schedule_free"


def set_rates(
    optimizer: torch.optim.Optimizer, config: TrainConfig, step: int, total_steps: int, ends: Sequence[int] = ()
) -> float:
    """Set every group's rate for ``step`` (from 1); returns that of the UNet (or of what is trained instead).

    ``ends``: steps at which the run was done before it was made longer, see ``schedules.rate_at``.
    """
    factor = 1.0
    if not is_self_scheduled(config):
        factor = rate_at(config.schedule, step, total_steps, ends, config.warmup_steps, config.schedule_cycles)
    for group in optimizer.param_groups:
        # As float32 has it: a recorded step reads the rate from a tensor, and is to be the plain one bit for bit.
        group["lr"] = ctypes.c_float(group["base_lr"] * factor).value
    return float(optimizer.param_groups[0]["base_lr"] * factor)


def set_mode(optimizer: torch.optim.Optimizer, is_training: bool) -> None:
    """Schedule-free keeps two points: the one it trains at and the average to be saved. Others have one."""
    if has_modes(optimizer):
        getattr(optimizer, "train" if is_training else "eval")()


def has_modes(optimizer: torch.optim.Optimizer) -> bool:
    """Whether :func:`set_mode` changes anything."""
    return hasattr(optimizer, "train") and hasattr(optimizer, "eval")
