"""The adapters on a borrowed checkpoint: put on, trained or loaded, read out, taken off without a trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import nn

from lora_forge.config import TrainConfig
from lora_forge.errors import LoraFileError, TrainingError
from lora_forge.lora_file.weights import LoraModule, LoraWeights, some_of
from lora_forge.ports import BorrowedModel
from lora_forge.train.adapters import Adapter, Dropout, initialise, inject
from lora_forge.train.flat import Flat
from lora_forge.train.sites import Site, file_sites, our_name, training_sites


@dataclass(frozen=True)
class NamedParameter:
    """A trained tensor, its key in a file, and whether it is an ``up`` (LoRA+ gives those a higher rate)."""

    name: str
    parameter: nn.Parameter
    is_up: bool


@dataclass(frozen=True)
class MaxNorm:
    """What :meth:`Network.apply_max_norm` did: how many adapters it scaled, and their norms afterwards."""

    scaled: int
    mean: float
    largest: float


class Network:
    """LoRA adapters on the UNet and text towers of a borrowed model.

    Make one with :meth:`attach` (to train) or :meth:`from_weights` (to draw); leave it with :meth:`detach` or use it
    as a context manager. One network at a time on a model; several LoRAs at once go through
    :func:`lora_forge.lora_file.weights.combine`.
    """

    def __init__(
        self,
        model: BorrowedModel,
        adapters: list[Adapter],
        dropout: Dropout,
        undo: contextlib.ExitStack,
        is_trained: bool,
    ) -> None:
        self._model = model
        self._adapters = {adapter.site.name: adapter for adapter in adapters}
        self._dropout = dropout
        self._undo = undo
        self._flat = Flat(adapters) if is_trained else None

    @property
    def flat(self) -> Flat:
        """The trained matrices and their gradients in one buffer each; of a network that is trained only."""
        assert self._flat is not None, "a network that only draws"
        return self._flat

    @classmethod
    def attach(cls, model: BorrowedModel, config: TrainConfig, seed: int | None = None) -> Network:
        """Put fresh, trainable adapters on what ``config`` targets; with ``up`` at zero they change nothing yet.

        The start is a function of ``seed`` (``config.seed`` when None) and of each layer's name alone. An alpha of 0
        means alpha = rank, as kohya reads it; a conv_alpha of 0 half the conv rank.

        Raises:
            TrainingError: nothing to adapt, text encoders asked for that the host does not lend, or adapters of
                somebody else on the model.
        """
        _refuse_adapted(model)
        seed = config.seed if seed is None else seed
        network = cls._put_on(model, training_sites(model, config), Dropout(seed, config.rank_dropout), is_trained=True)
        for adapter in network._adapters.values():
            initialise(adapter, seed)
        return network

    @classmethod
    def from_weights(
        cls, model: BorrowedModel, weights: Mapping[str, LoraModule], strength: float = 1.0, is_trained: bool = False
    ) -> Network:
        """Adapters as a file has them: its layers, ranks and alphas.

        Raises:
            LoraFileError: the file adapts layers this checkpoint does not have, or of other sizes (it is for another
                family, most likely).
            TrainingError: adapters of somebody else are on the model.
        """
        _refuse_adapted(model)
        network = cls._put_on(model, file_sites(model, weights), Dropout(0, 0.0), is_trained)
        try:
            network.load_weights(weights, strength)
        except BaseException:
            network.detach()
            raise
        return network

    @classmethod
    def _put_on(
        cls, model: BorrowedModel, sites: dict[nn.Module, list[Site]], dropout: Dropout, is_trained: bool
    ) -> Network:
        adapters: list[Adapter] = []
        with contextlib.ExitStack() as undo:
            for root, found in sites.items():
                if found:
                    undo.enter_context(_restored(root))
                    adapters += inject(root, found, dropout, model.device, is_trained)
            return cls(model, adapters, dropout, undo.pop_all(), is_trained)

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def detach(self) -> None:
        """Take everything off: the same base layer objects, attributes and flags as before. Twice is harmless."""
        self._undo.close()

    @property
    def names(self) -> tuple[str, ...]:
        """Kohya names of the adapted layers, UNet first, in the order of the modules."""
        return tuple(self._adapters)

    @property
    def trains_text(self) -> bool:
        return any(adapter.site.part != "unet" for adapter in self._adapters.values())

    def unet_parameters(self) -> list[NamedParameter]:
        """The UNet's trained tensors, float32, in a stable order."""
        return _parameters(a for a in self._adapters.values() if a.site.part == "unet")

    def te_parameters(self) -> list[NamedParameter]:
        """The text towers' trained tensors, float32, in a stable order; empty when they are not trained."""
        return _parameters(a for a in self._adapters.values() if a.site.part != "unet")

    def weights(self) -> LoraWeights:
        """Float32 copies on the CPU, for saving; later steps don't reach into them."""
        return {name: adapter.export() for name, adapter in self._adapters.items()}

    def load_weights(self, weights: Mapping[str, LoraModule], strength: float = 1.0) -> None:
        """Copy ``weights`` into the adapters (their alphas too), all or nothing, and set the strength.

        A Linear's matrices may come as (rank, in, 1, 1) and a 1x1 convolution's as (rank, in), as some tools write.

        Raises:
            LoraFileError: other layers, ranks or sizes than this network has.
        """
        ours = {our_name(self._model, name): module for name, module in weights.items()}
        missing, strange = self._adapters.keys() - ours.keys(), ours.keys() - self._adapters.keys()
        if missing or strange:
            raise LoraFileError(
                "The weights are for other layers: {missing} are missing and {strange} strange, such as {some}.",
                missing=len(missing),
                strange=len(strange),
                some=some_of(missing | strange),
            )
        for name, module in ours.items():
            _check_sizes(self._adapters[name], module)
        with torch.no_grad():
            for name, module in ours.items():
                adapter = self._adapters[name]
                adapter.down.copy_(module.down.reshape(adapter.down.shape))
                adapter.up.copy_(module.up.reshape(adapter.up.shape))
                adapter.alpha = module.alpha
        self.set_strength(strength)

    def set_strength(self, strength: float) -> None:
        """Multiply what the adapters add, as the number in ``<lora:NAME:0.8>``; at 0 the base runs bit for bit."""
        for adapter in self._adapters.values():
            adapter.strength = strength

    def use_dropout(self, step: int | None, micro: int = 0, rows: Sequence[int] = ()) -> None:
        """Turn rank dropout on for (step, micro batch), or off (None): call it before each training forward, and with
        None before validation and drawing. Without it nothing is dropped. ``rows``: see `adapters.Dropout`."""
        self._dropout.step, self._dropout.micro, self._dropout.rows = step, micro, tuple(rows)

    def apply_max_norm(self, limit: float) -> MaxNorm:
        """Scale down, in equal shares of ``up`` and ``down``, every adapter whose norm exceeds ``limit``.

        The norm is that of ``alpha / rank * up @ down`` (kohya's ``scale_weight_norms``).
        """
        adapters = list(self._adapters.values())
        norms = torch.stack([adapter.norm() for adapter in adapters])
        ratios = limit / norms.clamp(min=limit)
        with torch.no_grad():
            for adapter, root in zip(adapters, ratios.sqrt(), strict=True):
                adapter.down.mul_(root)
                adapter.up.mul_(root)
        after = norms * ratios
        return MaxNorm(int((ratios < 1).sum()), float(after.mean()), float(after.max()))


def _check_sizes(adapter: Adapter, module: LoraModule) -> None:
    is_alike = (
        module.rank == adapter.rank
        and module.down.numel() == adapter.down.numel()
        and module.up.numel() == adapter.up.numel()
    )
    if not is_alike:
        raise LoraFileError(
            "{name} has the sizes {theirs} in the file, the checkpoint wants {ours}.",
            "Use the LoRA with the kind of base it was trained on.",
            name=adapter.site.name,
            theirs=f"{tuple(module.down.shape)} and {tuple(module.up.shape)}",
            ours=f"{tuple(adapter.down.shape)} and {tuple(adapter.up.shape)}",
        )


def _parameters(adapters: Iterable[Adapter]) -> list[NamedParameter]:
    found = []
    for adapter in adapters:
        found.append(NamedParameter(f"{adapter.site.name}.lora_down.weight", adapter.down, False))
        found.append(NamedParameter(f"{adapter.site.name}.lora_up.weight", adapter.up, True))
    return found


def _refuse_adapted(model: BorrowedModel) -> None:
    for root in (model.unet, *(tower.module for tower in model.text_towers)):
        if hasattr(root, "peft_config"):
            raise TrainingError(
                "{kind} already carries adapters.", "Take the other network off first.", kind=type(root).__name__
            )


@contextlib.contextmanager
def _restored(root: nn.Module) -> Iterator[None]:
    """On leaving, ``root`` has the very children, attributes and gradient flags it had on entering."""
    children = [(parent, name, child) for parent in root.modules() for name, child in parent.named_children()]
    attributes: dict[str, Any] = dict(vars(root))
    flags = [(parameter, parameter.requires_grad) for parameter in root.parameters()]
    try:
        yield
    finally:
        for parent, name, child in children:
            if parent._modules[name] is not child:
                parent._modules[name] = child
        for name in vars(root).keys() - attributes.keys():
            delattr(root, name)
        for parameter, requires_grad in flags:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)
