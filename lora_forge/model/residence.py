"""Networks that leave the card's memory while they have nothing to do there, and are back when they are called.

Those of a model that nobody else uses (``BorrowedModel.may_leave``): from a card they go to the CPU's memory; on a CPU
they go back to the file that they were read from, mapped and in its own type. And those that a host keeps off its card
and lends from there (A1111's --medvram, Forge's own manager): they visit the card as copies, and go back to the host's
memory, which nobody writes to. Only where the tensors lie changes: the parameters stay the same objects, and what is on
top of them (adapters) stays where it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lora_forge.config import Family
from lora_forge.model.devices import empty_cache, free_memory_bytes
from lora_forge.ports import BorrowedModel

UNET, VAE, TEXT = "unet", "vae", "text"
_DECODER = "decoder"
# Counted by benchmarks/memory.py: what the VAE makes for a pixel, in numbers of its type.
_ENCODING_A_PIXEL, _DECODING_A_PIXEL = 640, 770
_KINDS_OF_CARD = ("cuda", "xpu")
_AWAY = torch.device("cpu")
_IN_FILE = "lora_forge_in_file"


class Residence:
    """Where the parts of a model are. Without ``may_leave`` only those move that were lent from elsewhere.
    ``is_in_file``: away is in the file."""

    is_in_file = False

    def __init__(self, model: BorrowedModel, may_leave: bool) -> None:
        self._model = model
        self._modules = {UNET: [model.unet], VAE: [model.vae], TEXT: [tower.module for tower in model.text_towers]}
        # Listed before anything is put on top: what is trained is to stay.
        tensors = {part: _tensors(modules) for part, modules in self._modules.items()}
        self._lent_away = {part: [t for t in found if not _is_on(t, model.device)] for part, found in tensors.items()}
        self._away_at = {id(tensor): tensor.data for found in self._lent_away.values() for tensor in found}
        self._tensors = tensors if may_leave else self._lent_away
        self._away_now = {part for part, found in self._lent_away.items() if found}
        self._resting: tuple[str, ...] = ()

    def can_leave(self, part: str) -> bool:
        """Whether ``part`` is ever elsewhere."""
        return bool(self._tensors[part])

    @property
    def away(self) -> frozenset[str]:
        """The parts that are not on the card now."""
        return frozenset(self._away_now)

    def leave(self, *parts: str) -> None:
        """Out of the memory with these."""
        leaving = [part for part in parts if self.can_leave(part) and part not in self._away_now]
        for part in leaving:
            self._move(part, is_leaving=True)
            self._away_now.add(part)
        if leaving:
            empty_cache(self._model.device)

    def come(self, *parts: str) -> None:
        """Back again."""
        coming = [part for part in parts if part in self._away_now]
        if coming:
            empty_cache(self._model.device)
        for part in coming:
            with contextlib.ExitStack() as otherwise:  # there is no room for all of it
                otherwise.callback(self._move, part, is_leaving=True)
                self._move(part, is_leaving=False)
                otherwise.pop_all()
            self._away_now.discard(part)

    def for_encoding(self, pixels: int) -> None:
        """Photographs of ``pixels`` are encoded next. SDXL's VAE works in float32 and takes more than its UNet leaves
        on small cards, so the others wait aside; those of smaller families where there is no room."""
        if self._model.info.family is Family.SDXL or self._is_short(_ENCODING_A_PIXEL * pixels):
            self.leave(UNET, TEXT)

    def for_training(self, needs_text: bool) -> None:
        """Steps are next: the UNet, and the text encoders where captions are still to be encoded."""
        self._resting = (VAE,) if needs_text else (VAE, TEXT)
        self.rest()

    def for_decoding(self, pixels: int) -> None:
        """A preview is decoded next; where there is no room for that others make some until :meth:`rest`."""
        for part in (TEXT, UNET):
            if self._is_short(_DECODING_A_PIXEL * pixels):
                self.leave(part)

    def rest(self) -> None:
        """As it is to be between two steps."""
        self.leave(*self._resting)
        self.come(*(part for part in self._modules if part not in self._resting))

    @contextlib.contextmanager
    def calls_home(self) -> Iterator[Residence]:
        """While this is open, a part that is called comes back first; afterwards all of them are where they were."""
        handles = []
        for part, modules in self._modules.items():
            # A VAE's encode and decode are no calls of the whole, only of its children.
            called = [child for module in modules for child in module.children()] if part == VAE else modules
            if self.can_leave(part):
                handles += [module.register_forward_pre_hook(self._hook(part)) for module in called]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()
            lent_away = {part for part, found in self._lent_away.items() if found}
            self.come(*(part for part in self._modules if part not in lent_away))
            self.leave(*lent_away)

    def _hook(self, part: str) -> Callable[[nn.Module, Any], None]:
        return lambda module, inputs: self.come(part)

    def _is_short(self, numbers: int) -> bool:
        free = free_memory_bytes(self._model.device) if any(map(self.can_leave, self._modules)) else None
        return free is not None and free < numbers * self._model.vae.dtype.itemsize

    def _move(self, part: str, is_leaving: bool) -> None:
        with torch.no_grad():
            for tensor in self._tensors[part]:
                tensor.data = self._elsewhere(tensor) if is_leaving else _brought(tensor, self._model.device)

    def _elsewhere(self, tensor: Tensor) -> Tensor:
        lent = self._away_at.get(id(tensor))
        return tensor.data.to(_AWAY) if lent is None else lent


class FileResidence(Residence):
    """On a CPU. The UNet stays: it is in every step, and to convert it takes half of one."""

    is_in_file = True

    def __init__(self, model: BorrowedModel) -> None:
        super().__init__(model, may_leave=True)
        # Photos want the encoder alone, previews the larger decoder too, which comes when it is called.
        halves = {
            VAE: [model.vae.encoder, model.vae.quant_conv],
            _DECODER: [model.vae.decoder, model.vae.post_quant_conv],
        }
        self._modules |= halves
        self._tensors |= {part: _tensors(modules) for part, modules in halves.items()}
        self._types = {id(tensor): tensor.dtype for found in self._tensors.values() for tensor in found}

    def for_encoding(self, pixels: int) -> None:
        """Nothing has to make room."""

    def for_training(self, needs_text: bool) -> None:
        """As on a card, the VAE's two halves each for itself."""
        super().for_training(needs_text)
        self._resting += (_DECODER,)
        self.rest()

    def for_decoding(self, pixels: int) -> None:
        """Nothing has to make room."""

    def _move(self, part: str, is_leaving: bool) -> None:
        with torch.no_grad():
            for tensor in self._tensors[part]:
                tensor.data = getattr(tensor, _IN_FILE, tensor.data) if is_leaving else self._at_home(tensor)

    def _at_home(self, tensor: Tensor) -> Tensor:
        return tensor.data.to(self._types[id(tensor)])


def residence_of(model: BorrowedModel) -> Residence:
    """That of ``model``."""
    if model.may_leave and model.device.type == "cpu" and _is_read_from_file(model.vae):
        return FileResidence(model)
    return Residence(model, model.may_leave and model.device.type in _KINDS_OF_CARD)


def convert(module: nn.Module, dtype: torch.dtype) -> None:
    """Give ``module``, whose parameters lie in a mapped file, parameters in ``dtype``, one by one; those of another
    type remember where they lie in the file, to go back there."""
    for parameter in module.parameters():
        if parameter.dtype is not dtype:
            setattr(parameter, _IN_FILE, parameter.data)
            parameter.data = parameter.data.to(dtype)


def _is_read_from_file(module: nn.Module) -> bool:
    return any(hasattr(parameter, _IN_FILE) for parameter in module.parameters())


def settle(module: nn.Module, device: torch.device) -> bool:
    """Whether ``module``, lent by a host, is on ``device``; then what it has beside its parameters goes there too.
    If not, it stays whole where it is, to visit ``device`` when it is called."""
    is_there = all(_is_on(parameter, device) for parameter in module.parameters())
    if is_there:
        module.to(device)
    return is_there


def _is_on(tensor: Tensor, device: torch.device) -> bool:
    return tensor.device.type == device.type and device.index in (None, tensor.device.index)


def _brought(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.data.to(device)


def _tensors(modules: list[Any]) -> list[Tensor]:
    """Parameters and buffers, each once."""
    found = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    return list({id(tensor): tensor for tensor in found}.values())
