"""Files moved so that none is ever lost, half there, or written over: within a disk by a link, between disks by a copy
that is compared before its original goes. What a dead program left in the middle is finished by doing it again."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from lora_forge.atomic import sync_folder
from lora_forge.errors import LoraFileError
from lora_forge.i18n.reasons import reason
from lora_forge.lora_file.hashes import file_sha256

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EACCES, errno.ENOSYS, errno.EINVAL)


def move(source: Path, target: Path) -> None:
    """``source`` is at ``target`` afterwards, and nowhere else; done already is fine.

    Raises:
        LoraFileError: another file has the target's name, the source is gone, or the disk refuses. The source is then
            where it was.
    """
    try:
        if target.exists() and source.exists():
            _finish(source, target)
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _move(source, target)
        elif not target.exists():
            raise LoraFileError(
                "{file} is not there any more.", "Put it back, or leave it: nothing else was changed.", file=source.name
            )
    except OSError as cause:
        raise LoraFileError(
            "{file} can't be moved to {folder}: {cause}.",
            "Make room, or close what holds the file, then try again.",
            file=source.name,
            folder=target.parent,
            cause=reason(cause),
        ) from cause


def clear(target: Path) -> None:
    """Remove what a dead program had copied of ``target`` so far; no host lists such a name."""
    with contextlib.suppress(OSError):
        _part(target).unlink(missing_ok=True)


def check_free(source: Path, target: Path) -> None:
    """Nothing, if ``source`` may go to ``target``.

    Raises:
        LoraFileError: another file is there.
    """
    if target.exists() and not (source.exists() and is_same(source, target)):
        raise LoraFileError(
            "{file} exists already, and nothing is written over.", "Move it away, then try again.", file=target
        )


def _finish(source: Path, target: Path) -> None:
    """Both names are there: the same bytes, cut off before the original went, or two different files."""
    if not is_same(source, target):
        check_free(source, target)
    source.unlink()


def is_same(source: Path, target: Path) -> bool:
    """Whether two names that are there hold the same bytes."""
    if os.path.samefile(source, target):
        return True
    return source.stat().st_size == target.stat().st_size and file_sha256(source) == file_sha256(target)


def _move(source: Path, target: Path) -> None:
    if os.name == "nt":
        _move_on_windows(source, target)
        return
    try:
        os.link(source, target)  # refuses a name that is taken, which a rename would not
    except FileExistsError:
        check_free(source, target)
    except OSError as cause:
        if cause.errno == errno.EXDEV:
            _copy(source, target)
            return
        if cause.errno not in _NO_LINKS:
            raise
        check_free(source, target)
        os.replace(source, target)
        return
    sync_folder(target.parent)
    source.unlink()


def _move_on_windows(source: Path, target: Path) -> None:
    try:
        os.rename(source, target)  # refuses a name that is taken
    except FileExistsError:
        check_free(source, target)
    except OSError as cause:
        if getattr(cause, "winerror", None) != 17:  # another drive
            raise
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    """To another disk: copied under a hidden name, synced, compared with the original, named, original removed."""
    part = _part(target)
    try:
        with source.open("rb") as file, part.open("wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
        shutil.copystat(source, part)
        if file_sha256(part) != file_sha256(source):
            raise LoraFileError(
                "{path} came back from the disk other than it was written.",
                "Save to another disk; this one may be failing.",
                path=target,
            )
        check_free(source, target)
        os.replace(part, target)
    finally:
        clear(target)
    sync_folder(target.parent)
    source.unlink()


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")
