"""Steps that are recorded and replayed: at batch 1 a card spends half its time waiting for some 4,000 orders a step.

Each shape of batch is run plainly a few times (these are steps like any other), then recorded, then replayed. The
numbers are those of the plain step: the same kernels run in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lora_forge.events import Emit, Warned
from lora_forge.i18n import word
from lora_forge.model.graphs import Recorder, Work

WARM_UP = 2  # plain turns of each kind of work: libraries load, optimizers make their state
_OFF = word("Steps can't be recorded on this card ({cause}): the run goes on without, only slower.")

Tensors = Sequence["Tensor | None"]


@dataclass
class _Kind:
    """One kind of work. ``static``: where its recording reads from."""

    static: list[Tensor | None]
    turns: int = 0
    replay: Work | None = None
    addresses: Hashable = field(default=None)


class Replays:
    """Runs pieces of a step, recorded where ``recorder`` can; None runs them plainly, always.

    ``addresses``: where everything lies that a recording reads beside its inputs. When a host moves its weights, the
    recordings are made anew: the old ones would read what is no longer there.
    """

    def __init__(self, recorder: Recorder | None, addresses: Callable[[], Hashable], emit: Emit) -> None:
        self._recorder, self._addresses, self._emit = recorder, addresses, emit
        self._kinds: dict[Hashable, _Kind] = {}

    @property
    def is_on(self) -> bool:
        return self._recorder is not None

    def run(self, name: str, work: Callable[[Tensors], None], inputs: Tensors = ()) -> None:
        """Do ``work(inputs)``, now or by its recording. It must read nothing back and need nothing from the CPU."""
        if self._recorder is None:
            work(inputs)
            return
        kind = self._kind(name, inputs)
        kind.turns += 1
        if kind.turns <= WARM_UP:
            with self._recorder.aside():
                work(kind.static)
        elif self._is_recorded(kind, lambda: work(kind.static)):
            assert kind.replay is not None
            kind.replay()
        else:
            work(kind.static)

    def forget(self) -> bool:
        """Let go of all recordings, which are made anew when they are wanted; whether there were any."""
        had_any = bool(self._kinds)
        self._kinds.clear()
        return had_any

    def _kind(self, name: str, inputs: Tensors) -> _Kind:
        """The kind of work that this is, with ``inputs`` where it reads them."""
        key = (name, *(None if tensor is None else (tuple(tensor.shape), tensor.dtype) for tensor in inputs))
        if key not in self._kinds:
            self._kinds[key] = _Kind([None if tensor is None else torch.empty_like(tensor) for tensor in inputs])
        kind = self._kinds[key]
        for place, tensor in zip(kind.static, inputs, strict=True):
            if place is not None and tensor is not None:
                place.copy_(tensor)
        return kind

    def _is_recorded(self, kind: _Kind, work: Work) -> bool:
        assert self._recorder is not None
        now = self._addresses()
        if kind.replay is not None and kind.addresses == now:
            return True
        kind.replay, kind.addresses = None, now
        try:
            kind.replay = self._recorder.record(work)
        except RuntimeError as cause:
            self._recorder = None
            self.forget()
            self._emit(Warned(_OFF, {"cause": (str(cause).splitlines() or [type(cause).__name__])[0]}))
            return False
        return True
