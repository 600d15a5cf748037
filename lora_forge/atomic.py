"""Files that appear whole or not at all.

A reader (a host listing LoRAs, a resumed run) never sees half a file under a real name: bytes go to a hidden
``.NAME.PID-THREAD.tmp`` in the same folder, are forced to the disk, and take the real name in one rename.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STALE_S = 3600.0
_RENAME_TRIES = 10
_RENAME_PAUSE_S = 0.1
_BEING_WRITTEN: set[str] = set()  # temporary names of this process


def write_atomically(
    path: Path,
    write: Callable[[Path], None],
    check: Callable[[Path], None] | None = None,
    *,
    waits_for_disk: bool = True,
) -> None:
    """Let ``write`` make a file under a temporary name, then give it the name ``path``, replacing what was there.

    The folder is made when missing. The temporary name ends in ``.tmp``, which no host lists as a LoRA. ``check``
    looks at the finished, synced file before it gets its name. Whatever either raises comes through; the temporary
    file is then gone and the old ``path`` untouched. A temporary file that a killed process left behind is cleared by
    a later write of the same name, once it is an hour old.

    With ``waits_for_disk`` off the file appears whole all the same, but a power cut may take it until someone syncs it,
    and nothing stale is looked for: for thousands of files that could be made again.

    Raises:
        OSError: the disk is full, the folder is read-only, or ``write`` made no file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if waits_for_disk:
        clear_stale(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    _BEING_WRITTEN.add(temporary.name)
    try:
        write(temporary)
        if waits_for_disk:
            _sync_file(temporary)
        if check is not None:
            check(temporary)
        _rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        _BEING_WRITTEN.discard(temporary.name)
    if waits_for_disk:
        sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """:func:`write_atomically` for bytes."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    write_atomically(path, write)


def write_text(path: Path, text: str) -> None:
    """:func:`write_atomically` for text: UTF-8, line ends as given on every system."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """:func:`write_atomically` for JSON: UTF-8, indented, a line end at the end.

    Raises:
        TypeError: ``value`` holds something JSON has no form for.
        ValueError: ``value`` holds NaN or an infinity, which other readers refuse.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def clear_stale(path: Path) -> None:
    """Remove what killed writers of ``path`` left, whose folder must be there; a young file may be a living one's."""
    start, now = f".{path.name}.", time.time()
    for entry in path.parent.iterdir():
        if entry.name.startswith(start) and entry.name.endswith(".tmp"):
            with contextlib.suppress(OSError):  # another writer may be clearing too
                if now - entry.stat().st_mtime > _STALE_S and not _has_writer(entry.name[len(start) :], entry.name):
                    entry.unlink()


def _has_writer(mark: str, name: str) -> bool:
    """Whether the program of ``PID-THREAD.tmp`` lives here: a clock that was put right makes any file old."""
    if name in _BEING_WRITTEN:
        return True
    pid = mark.partition("-")[0]
    if os.name == "nt" or not pid.isdecimal() or int(pid) == os.getpid():  # to Windows the question means: end it
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:  # Windows syncs only what is open for writing
        os.fsync(file.fileno())


def _rename(source: Path, target: Path) -> None:
    """``os.replace``, tried again while a virus scanner or indexer on Windows holds either file."""
    for attempt in range(_RENAME_TRIES):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if os.name != "nt" or attempt == _RENAME_TRIES - 1:
                raise
            time.sleep(_RENAME_PAUSE_S)


def sync_folder(folder: Path) -> None:
    """Make the rename itself durable; Windows and some network disks can't, and need no complaint."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
