"""One program at a time in a run's folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lora_forge.errors import TrainingError

FILE_NAME = ".lock"


@contextlib.contextmanager
def claimed(run_dir: Path) -> Iterator[None]:
    """Hold ``run_dir`` against other runs. The system lets go of it when the program dies, however it dies.

    Raises:
        TrainingError: another run is at work there.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / FILE_NAME).open("ab") as file:
        try:
            _lock(file)
        except BlockingIOError as cause:
            raise TrainingError(
                "Another run is at work in {run_dir}.",
                "Wait for it, stop it, or choose another name.",
                run_dir=run_dir,
            ) from cause
        yield


def _lock(file: IO[bytes]) -> None:
    """A file system that knows no locks (some network disks) is no reason not to train."""
    if os.name == "nt":
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except PermissionError as cause:
            raise BlockingIOError from cause
        return
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return
