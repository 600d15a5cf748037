"""What the next photos or captions need from the disk, made by threads while the device is at work on this one."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

MOST_THREADS = 4
_PLACES = 2  # for each thread: what it is at, and what waits for it
Item = TypeVar("Item")
Made = TypeVar("Made")


def threads_for(device: torch.device) -> int:
    """How many threads keep ``device`` fed.

    A fast card encodes a photo of 512 px about as quickly as one thread reads it (10 ms), so it gets some; a CPU takes
    a hundred times as long and needs its cores itself.
    """
    return 1 if device.type == "cpu" else max(1, min(MOST_THREADS, os.cpu_count() or 1))


@contextlib.contextmanager
def made_ahead(make: Callable[[Item], Made], items: Sequence[Item], threads: int) -> Iterator[Iterator[Made]]:
    """``make`` of every item, in order, made by ``threads`` threads a few places ahead of whoever takes them.

    What ``make`` raises comes out at its item's place. On leaving, nothing is begun any more and no thread is left.
    ``make`` should compute nothing with torch: each thread that does gets workers of its own, which crowd the others.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="lora-forge-ahead")
    try:
        yield _in_order(pool, make, items, threads * _PLACES)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, make: Callable[[Item], Made], items: Sequence[Item], places: int
) -> Iterator[Made]:
    rest = iter(items)
    waiting: deque[Future[Made]] = deque(pool.submit(make, item) for item in islice(rest, places))
    while waiting:
        made = waiting.popleft().result()
        waiting.extend(pool.submit(make, item) for item in islice(rest, 1))
        yield made
