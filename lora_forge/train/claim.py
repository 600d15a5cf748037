"""One program at a time in a run's folder."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lora_forge.errors import TrainingError

FILE_NAME = ".lock"
_TRIES = 12
_PAUSE_S = 0.05  # whoever only looks holds the lock for less than a millisecond
_FILES: dict[str, IO[bytes]] = {}  # what is locked, by folder
_HELD: dict[str, int] = {}  # folders that this process holds, with the thread that may claim once more; 0: none may


@contextlib.contextmanager
def claimed(run_dir: Path, *, hands_on: bool = False) -> Iterator[None]:
    """Hold ``run_dir`` against other runs. The system lets go of it when the program dies, however it dies.

    With ``hands_on`` this thread may claim it once more within: who prepares a run holds it for the trainer.

    Raises:
        TrainingError: another run is at work there.
    """
    key, thread = os.path.realpath(run_dir), threading.get_ident()
    if _HELD.get(key) == thread:
        _HELD[key] = 0
        try:
            yield
        finally:
            _HELD[key] = thread
        return
    _FILES[key] = _open_and_lock(run_dir)
    _HELD[key] = thread if hands_on else 0
    try:
        yield
    finally:
        del _HELD[key]
        _FILES.pop(key).close()


def _open_and_lock(run_dir: Path) -> IO[bytes]:
    run_dir.mkdir(parents=True, exist_ok=True)
    file = (run_dir / FILE_NAME).open("ab")
    try:
        _lock_patiently(file)
    except BlockingIOError as cause:
        file.close()
        raise TrainingError(
            "Another run is at work in {run_dir}.",
            "Wait for it, stop it, or choose another name.",
            run_dir=run_dir,
        ) from cause
    return file


def renew(run_dir: Path) -> None:
    """Claim the folder again when it was removed since, for whoever holds it: the lock went with the file.

    Raises:
        TrainingError: another run has made the folder meanwhile, and is at work there.
        OSError: the folder can't be made.
    """
    key = os.path.realpath(run_dir)
    if key in _FILES and not is_at(run_dir / FILE_NAME, _FILES[key]):
        fresh = _open_and_lock(run_dir)
        _FILES[key].close()
        _FILES[key] = fresh


def is_at(path: Path, file: IO[bytes]) -> bool:
    """Whether the open ``file`` is still what ``path`` names."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def is_claimed(run_dir: Path) -> bool:
    """Whether a living program, this one included, is at work in ``run_dir``. Nothing is made."""
    if os.path.realpath(run_dir) in _HELD:
        return True
    try:
        with (run_dir / FILE_NAME).open("rb+") as file:
            lock(file)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _lock_patiently(file: IO[bytes]) -> None:
    """A page that lists runs may be looking at this very moment; that is over at once."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(BlockingIOError):
            lock(file)
            return
        time.sleep(_PAUSE_S)
    lock(file)


def lock(file: IO[bytes]) -> None:
    """A file system that knows no locks (some network disks) is no reason not to train."""
    if os.name == "nt":
        import msvcrt

        try:
            file.seek(0)
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
