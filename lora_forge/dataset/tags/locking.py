"""One edit at a time on a project, whatever program makes it: the page, a command, another server."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from lora_forge.dataset.tags.errors import TagError


@contextlib.contextmanager
def held(root: Path) -> Iterator[None]:
    """Hold the project's tags/lock, waiting for whoever has it.

    Raises:
        TagError: the folder can't be written.
    """
    path = root / "tags" / "lock"
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as cause:
        raise TagError(
            "The project's folder can't be written: {cause}. Nothing was changed.",
            "Make it writable, or copy the project to where you may write.",
            cause=cause.strerror or type(cause).__name__,
        ) from cause
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)  # lets go of it too


def _lock(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # some network disks have no locks; a single writer needs none
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX)
