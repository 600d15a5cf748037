"""What lending a WebUI's checkpoint takes, whatever the WebUI: a turn in its queue, and nothing kept afterwards."""

from __future__ import annotations

import contextlib
import gc
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Protocol

from lora_forge.host import heap
from lora_forge.ports import BorrowedModel, GaveUpError, never

_LOOK_S = 0.2


class Lock(Protocol):
    """The host's ``FIFOLock``: fair, not re-entrant, may be released by another thread than took it."""

    def acquire(self, blocking: bool = True) -> bool: ...

    def release(self) -> None: ...


@contextlib.contextmanager
def held(lock: threading.Lock, should_stop: Callable[[], bool] = never) -> Iterator[None]:
    """``with lock:``, which looks meanwhile whether it is still wanted.

    Raises:
        GaveUpError: ``should_stop`` said so while others held it.
    """
    while not lock.acquire(timeout=_LOOK_S):
        if should_stop():
            raise GaveUpError
    try:
        yield
    finally:
        lock.release()


class Turn:
    """A place in the host's queue that outlives whoever waits in it.

    A thread that is killed while it waits in the host's lock would take the wake-up of the next one with it, and one
    that is killed as it gets the lock would keep it for good. So a thread of our own waits, which nobody kills: it
    hands the lock over, or back if nobody wants it any more.
    """

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._guard = threading.Lock()
        self._came = threading.Event()
        self._is_over = False

    def wait(self, should_stop: Callable[[], bool] = never) -> None:
        """Until it is ours; may be called once.

        Raises:
            GaveUpError: ``should_stop`` said so first; :meth:`end` then gives the place in the queue back.
        """
        threading.Thread(target=self._fetch, name="lora-forge-turn", daemon=True).start()
        while not self._came.wait(_LOOK_S):  # short naps, so that an exception from outside gets through
            if should_stop():
                raise GaveUpError

    def end(self) -> None:
        """Give the lock back, or the place in the queue; calling it twice does no harm."""
        with self._guard:
            is_first, self._is_over = not self._is_over, True
        if is_first and self._came.is_set():
            self._lock.release()

    def _fetch(self) -> None:
        self._lock.acquire()
        with self._guard:
            is_wanted = not self._is_over
            if is_wanted:
                self._came.set()
        if not is_wanted:
            self._lock.release()


@contextlib.contextmanager
def dropped(model: BorrowedModel) -> Iterator[None]:
    """On leaving, ``model`` holds no tensor any more, even where someone keeps a reference to it.

    An alias pins its memory: when the host then moves or replaces its weights, the old ones would stay. The frames
    of an exception hold tensors too, and the host's next picture needs that room before anybody has read the error:
    their variables are cleared. What is free then goes back to the system.
    """
    try:
        yield
    except BaseException as error:
        _clear_frames(error)
        raise
    finally:
        _empty(model)
        gc.collect()
        heap.trim()


def _empty(model: BorrowedModel) -> None:
    for root in (model.unet, model.vae, *(tower.module for tower in model.text_towers)):
        for module in list(root.modules()):
            module._parameters.clear()
            module._buffers.clear()
    model.host_encode = None


def _clear_frames(error: BaseException) -> None:
    """Of the error and of those that led to it."""
    told: set[int] = set()
    following: list[BaseException | None] = [error]
    while following:
        one = following.pop()
        if one is not None and id(one) not in told:
            told.add(id(one))
            traceback.clear_frames(one.__traceback__)
            following += [one.__cause__, one.__context__]
