"""All trained matrices of a network in one buffer, so that what is done to every one of them is done once.

A UNet has some 400 of them. Cast one by one for a forward pass, and their gradients cast back one by one, they are a
fifth of all the operations of a step (SD1.5: 3752 against 2984), and at batch 1 a card waits for operations to start.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lora_forge.train.adapters import Adapter

_KINDS = ((False, False), (False, True), (True, False), (True, True))
ALIGNMENT = 64  # numbers: every matrix begins where the fast kernels want it, in 16 bits too


@dataclass(frozen=True)
class _Place:
    """A matrix and where it lies. ``is_scaled``: a ``down``, which carries its adapter's scale in a forward pass."""

    adapter: Adapter
    matrix: nn.Parameter
    start: int
    is_scaled: bool

    def of(self, buffer: Tensor) -> Tensor:
        """Its part of ``buffer``, in its shape."""
        return buffer[self.start : self.start + self.matrix.numel()].view(self.matrix.shape)

    @property
    def kind(self) -> tuple[bool, bool]:
        """Whether it is a text tower's, and whether it is an ``up``."""
        return self.adapter.site.part != "unet", not self.is_scaled

    @property
    def scale(self) -> float:
        return self.adapter.scale if self.is_scaled else 1.0


@dataclass(frozen=True)
class _Copies:
    """The UNet's matrices in another type: leaves of autograd that are views into ``buffer``."""

    buffer: Tensor
    leaves: tuple[Tensor, ...]


class Flat:
    """``parameters``: float32 (n,), all matrices one behind the other; ``gradient``: likewise the sum of a step's
    gradients. The adapters' own ``down`` and ``up`` and their ``grad`` are views into them for good.

    ``sections``: by (of a text tower?, an up?) the part of ``parameters`` as one parameter with its part of
    ``gradient``: what an optimizer that treats every number alike takes in place of some 400 matrices.
    """

    def __init__(self, adapters: Sequence[Adapter]) -> None:
        """Move the matrices of ``adapters`` (one at least) into one buffer; the UNet's first, downs before ups, so
        that what has one scale lies together."""
        self._places: list[_Place] = []
        end = 0
        for adapter, is_down in _in_order(adapters):
            matrix = adapter.down if is_down else adapter.up
            self._places.append(_Place(adapter, matrix, end, is_down))
            end += _aligned(matrix.numel())
        self.parameters = torch.zeros(end, dtype=torch.float32, device=adapters[0].down.device)
        self.gradient = torch.zeros_like(self.parameters)
        for place in self._places:
            place.matrix.data = place.of(self.parameters)
            place.matrix.grad = place.of(self.gradient)
        self.sections = {kind: self._section(kind) for kind in _KINDS if self._of(kind)}
        self._unet = [place for place in self._places if place.adapter.site.part == "unet"]
        self._copies: dict[torch.dtype, _Copies] = {}

    def joined(self, kind: tuple[bool, bool], pieces: Sequence[Tensor | None]) -> Tensor:
        """What was kept for each matrix of a section, in one tensor as the section lies; zeros for None."""
        first, made = self._of(kind)[0].start, torch.zeros(self.sections[kind].shape, dtype=torch.float32)
        for place, piece in zip(self._of(kind), pieces, strict=True):
            if piece is not None:
                made[place.start - first :][: piece.numel()] = piece.reshape(-1)
        return made

    def _of(self, kind: tuple[bool, bool]) -> list[_Place]:
        return [place for place in self._places if place.kind == kind]

    def _section(self, kind: tuple[bool, bool]) -> nn.Parameter:
        members = self._of(kind)
        last = members[-1]
        found = slice(members[0].start, last.start + _aligned(last.matrix.numel()))
        section = nn.Parameter(self.parameters[found])
        section.grad = self.gradient[found]
        return section

    @contextlib.contextmanager
    def working(self, dtype: torch.dtype) -> Iterator[None]:
        """Inside, the UNet's adapters compute with copies in ``dtype`` that are made at once; on leaving, what
        autograd left in the copies is added to :attr:`gradient` at once.

        The text towers go on with their own matrices: a host may have them in several types.
        """
        copies = self._copies_in(dtype)
        runs = self._runs()
        with torch.no_grad():
            for start, end, scale in runs:
                torch.mul(self.parameters[start:end], scale, out=copies.buffer[start:end])
        self._lend(copies)
        try:
            yield
            self._collect(copies, runs)
        finally:
            for place in self._unet:
                place.adapter.working = None
            for leaf in copies.leaves:
                leaf.grad = None

    def _copies_in(self, dtype: torch.dtype) -> _Copies:
        if dtype not in self._copies:
            buffer = torch.zeros(self._end(), dtype=dtype, device=self.parameters.device)
            leaves = tuple(place.of(buffer).detach().requires_grad_() for place in self._unet)
            self._copies[dtype] = _Copies(buffer, leaves)
        return self._copies[dtype]

    def _end(self) -> int:
        """Where the UNet's part ends."""
        return self._places[len(self._unet)].start if len(self._unet) < len(self._places) else len(self.parameters)

    def _runs(self) -> list[tuple[int, int, float]]:
        """(start, end, scale) of neighbours with one scale: a handful, whatever the number of matrices."""
        starts = [(next(run).start, scale) for scale, run in itertools.groupby(self._unet, key=lambda p: p.scale)]
        ends = [*(start for start, _ in starts[1:]), self._end()]
        return [(start, end, scale) for (start, scale), end in zip(starts, ends, strict=True)]

    def _lend(self, copies: _Copies) -> None:
        half = len(self._unet) // 2  # the downs, then the ups of the same adapters
        for place, down, up in zip(self._unet[:half], copies.leaves[:half], copies.leaves[half:], strict=True):
            place.adapter.working = (down, up)

    @torch.no_grad()
    def _collect(self, copies: _Copies, runs: Sequence[tuple[int, int, float]]) -> None:
        if not self._unet:
            return
        gathered = torch.cat([piece for leaf in copies.leaves for piece in _padded(leaf)])
        for start, end, scale in runs:
            self.gradient[start:end].add_(gathered[start:end], alpha=scale)


def _aligned(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT


def _in_order(adapters: Sequence[Adapter]) -> Iterator[tuple[Adapter, bool]]:
    """Each adapter twice: its ``down`` (True) and its ``up``."""
    for is_unet in (True, False):
        for is_down in (True, False):
            yield from ((adapter, is_down) for adapter in adapters if (adapter.site.part == "unet") is is_unet)


def _padded(leaf: Tensor) -> list[Tensor]:
    """The leaf's gradient (zeros where it has none) and the gap behind it."""
    values = leaf.new_zeros(leaf.numel()) if leaf.grad is None else leaf.grad.reshape(-1)
    gap = _aligned(leaf.numel()) - leaf.numel()
    return [values, leaf.new_zeros(gap)] if gap else [values]
