"""A stretch of work on an NVIDIA card, recorded once and played back by one call (CUDA graphs).

A recording remembers addresses, not values: what it reads must stay where it was, and what it is to read anew is copied
there before each replay.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch

from lora_forge.model.devices import backend

Work = Callable[[], None]


class Recorder(Protocol):
    """Records work on one device."""

    def aside(self) -> contextlib.AbstractContextManager[None]:
        """Inside, work goes where it will be recorded: what is run plainly before prepares libraries and memory."""
        ...

    def record(self, work: Work) -> Work:
        """Go through ``work`` once without its being done; what comes back does it, each time it is called.

        Raises:
            RuntimeError: the card, its driver or a part of ``work`` does not allow it.
        """
        ...


class CudaRecorder:
    """Recordings share one pool of memory: they are never at work together, and leave nothing in it for later."""

    def __init__(self, device: torch.device) -> None:
        self._cuda: Any = backend(device)
        self._device = device
        self._stream = self._cuda.Stream(device)
        self._pool = self._cuda.graph_pool_handle()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        now = self._cuda.current_stream(self._device)
        self._stream.wait_stream(now)
        with self._cuda.stream(self._stream):
            yield
        now.wait_stream(self._stream)

    def record(self, work: Work) -> Work:
        graph = self._cuda.CUDAGraph()
        # Outside, the present stream: where a recording fails torch leaves its own one behind. Other threads of a host
        # may use the card meanwhile: only this one's calls are watched.
        with (
            self._cuda.stream(self._cuda.current_stream(self._device)),
            self._cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
        ):
            work()
        replay: Work = graph.replay
        return replay


def records(device: torch.device) -> bool:
    """Whether work on ``device`` can be recorded; on AMD cards, which show themselves as CUDA, it is not tried."""
    return device.type == "cuda" and not torch.version.hip


def recorder_for(device: torch.device) -> Recorder:
    """What records on ``device``, one that :func:`records`."""
    return CudaRecorder(device)
