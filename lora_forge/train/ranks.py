"""Data-parallel training: several processes, one card each, take the steps of one run together.

``torchrun`` or ``accelerate launch`` starts them and says by environment variables who each one is. All hold the whole
model and the same adapters; each computes its share of every batch, the gradients are summed, and all make the same
update. Rank 0 is the writer: it alone writes, draws, validates and tells; the others wait for it.

All that is said between the processes apart from gradients goes through :meth:`Ranks.meet`, always in the same order,
over gloo: a stop or a failure of one is heard by all at the next meeting. So nobody waits in NCCL for one that is gone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from lora_forge.errors import ConfigError, TrainingError
from lora_forge.model.devices import has_nccl, list_devices, make_current
from lora_forge.train.encoding import StoppedError

WAIT = timedelta(days=14)  # a paused writer, or one that draws, is waited for; one that died is noticed at once
T = TypeVar("T")


class Word(IntEnum):
    """What a process says at a meeting; the largest is what all hear."""

    GO_ON = 0
    STOP = 1
    FAILED = 2


@dataclass
class Ranks:
    """This process among those of a run; by default it is alone, and nothing here does anything.

    ``rank``: from 0. ``count``: of all processes. ``local``: number of this process on its machine. ``control``: the
    process group of the meetings. ``sums_on_card``: gradients are summed by NCCL, else by gloo on the CPU.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    control: Any = None
    sums_on_card: bool = False
    _is_over: bool = False
    _is_stopped: bool = False

    @property
    def is_writer(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence[T], turn: int = 0) -> Sequence[T]:
        """This process's part of ``items``; with ``turn`` counting up, parts of one item go round."""
        return items[(self.rank + turn) % self.count :: self.count]

    def add_up(self, *tensors: Tensor, mark: int = 0) -> None:
        """Replace each tensor by its sum over all processes, the same bits in all of them.

        Raises:
            TrainingError: another process failed before it came here.
        """
        if self.count == 1:
            return
        import torch.distributed as dist

        self.go_on(mark)  # who failed in its forward or backward says so here
        for tensor in tensors:
            summed = tensor if self.sums_on_card else tensor.cpu()
            dist.all_reduce(summed)
            if summed is not tensor:
                tensor.copy_(summed)

    def meet(self, word: Word = Word.GO_ON, mark: int = 0) -> Word:
        """Wait until all processes are here; gives the gravest word that one of them said.

        ``mark``: what must be the same in all that go on, such as the step's number.

        Raises:
            TrainingError: another process failed or is gone, or is somewhere else in the run.
        """
        if self.count == 1:
            return word
        heard, least, most = self._exchange(word, mark)
        if heard is Word.FAILED:
            self._is_over = True
            if word is not Word.FAILED:
                raise TrainingError(
                    "Another process of this run failed, so this one ends too.",
                    "Its own message says why. What was saved before stays good.",
                )
        elif heard is Word.GO_ON and least != most:
            raise TrainingError(
                "The processes of this run are not at the same place: they were started with different settings, or "
                "do not see the same project folder.",
                "Start all of them with the same command, on folders that they share.",
            )
        return heard

    def go_on(self, mark: int = 0) -> None:
        """Meet where nobody stops but by :meth:`stop`.

        Raises:
            StoppedError: another process was told to stop.
            TrainingError: see :meth:`meet`.
        """
        if self.meet(mark=mark) is Word.STOP:
            self._is_stopped = True
            raise StoppedError

    def stop(self) -> None:
        """Let the others know that this process was told to stop before the first step."""
        if not self._is_stopped:
            self.meet(Word.STOP)

    def _exchange(self, word: Word, mark: int) -> tuple[Word, int, int]:
        import torch.distributed as dist

        said = torch.tensor([word, mark, -mark], dtype=torch.int64)
        try:
            dist.all_reduce(said, dist.ReduceOp.MAX, group=self.control)
        except RuntimeError as cause:  # gloo's only kind
            self._is_over = True
            raise TrainingError(
                "Another process of this run is gone ({cause}), so this one ends too.",
                "Look for its message above, then resume the run. What was saved before stays good.",
                cause=(str(cause).splitlines() or [""])[0],
            ) from cause
        heard, most, minus_least = said.tolist()
        return Word(heard), -minus_least, most

    @contextlib.contextmanager
    def writer_first(self) -> Iterator[None]:
        """The writer does what is inside before the others do, which then find its files.

        Raises:
            StoppedError: another process was told to stop meanwhile.
        """
        if not self.is_writer:
            self.go_on()
        yield
        if self.is_writer:
            self.go_on()

    def fail(self) -> None:
        """Let the others know, who are on their way to a meeting, that this process ends with an error."""
        if self.count > 1 and not self._is_over:
            with contextlib.suppress(TrainingError):
                self.meet(Word.FAILED)

    def device_name(self, wanted: str, offered: Sequence[str] = ()) -> str:
        """The device setting for this process: each has a card of its own, unless a CPU was asked for.

        ``offered``: names of the devices here, the best first; by default what torch says.

        Raises:
            ConfigError: there are too few cards, or one was named for all.
        """
        if self.count == 1:
            return wanted
        offered = offered or [device.name for device in list_devices()]
        kind = (offered[0] if wanted == "auto" else wanted).split(":")[0]
        if kind not in ("cuda", "xpu"):
            return wanted
        if ":" in wanted:
            raise ConfigError(
                "device is {wanted!r}, but {count} processes need a card each.",
                "Leave device at auto; CUDA_VISIBLE_DEVICES chooses among cards.",
                wanted=wanted,
                count=self.count,
            )
        cards = [name for name in offered if name.startswith(f"{kind}:")]
        if self.local >= len(cards):
            raise ConfigError(
                "There are fewer cards here ({cards}) than processes.",
                "Start as many processes as there are cards, or set device to cpu.",
                cards=len(cards),
            )
        return cards[self.local]


@contextlib.contextmanager
def joined(device: str, environment: Mapping[str, str] = os.environ) -> Iterator[Ranks]:
    """This process's place in the run that a launcher started, for as long as the context is open; else alone.

    ``device``: the device setting. Read are RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, as torchrun and
    accelerate set them. Whatever error leaves the context ends the other processes too.

    Raises:
        TrainingError: the processes can't reach each other.
        ConfigError: see :meth:`Ranks.device_name`.
    """
    ranks = _told(environment)
    if ranks.count == 1:
        yield ranks
        return
    import torch.distributed as dist

    name = ranks.device_name(device)
    ranks.sums_on_card = name.startswith("cuda") and has_nccl()
    make_current(name)
    try:
        dist.init_process_group("nccl" if ranks.sums_on_card else "gloo", rank=ranks.rank, world_size=ranks.count)
        ranks.control = dist.new_group(backend="gloo", timeout=WAIT)
    except (RuntimeError, ValueError) as cause:
        raise TrainingError(
            "The processes of this run can't reach each other: {cause}.",
            "Start them with torchrun or accelerate launch.",
            cause=(str(cause).splitlines() or [""])[0],
        ) from cause
    try:
        yield ranks
        ranks.go_on()  # nobody leaves before the writer has written all
    except BaseException:  # an interrupt too: the others would wait for ever
        ranks.fail()
        raise
    dist.destroy_process_group()


def _told(environment: Mapping[str, str]) -> Ranks:
    try:
        rank, count = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        return Ranks(rank, count, int(environment.get("LOCAL_RANK", rank)))
    except (KeyError, ValueError):  # no launcher
        return Ranks()


class Bystander:
    """What a process does between steps that is not the writer (``loop.Keeping``): nothing."""

    files: tuple[Path, ...] = ()

    def save_epoch(self, *_: object) -> None: ...

    def save_between_epochs(self, *_: object) -> None: ...

    def save_missing(self, *_: object) -> None: ...

    def save_state(self, *_: object) -> None: ...

    def preview(self, *_: object, **__: object) -> None: ...

    def use_prompts(self, *_: object) -> None: ...

    def validate(self, *_: object) -> None: ...
