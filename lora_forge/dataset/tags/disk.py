"""Caption files on the disk: finding them, reading them, and writing many of them or none.

An edit's files are first all written under temporary names, which is where a full disk or a read-only folder shows, and
then renamed. A rename that fails all the same (a program on Windows holds the file) takes back those before it.

For thousands of files that takes too long (a new file and a rename each, 0.2 ms on ext4), so a large edit overwrites
files in place, a sixth of it. That is safe here as the journal has both texts on the disk by then: a file that a killed
program left half written is the new text with the old one's end, and is put right by :func:`mend`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lora_forge.dataset.captions import MAX_CAPTION_BYTES, decode_text
from lora_forge.dataset.images import IMAGE_SUFFIXES
from lora_forge.dataset.tags.errors import TagError

Stamp = tuple[int, int, int, int]
_TEMPORARY = ".tags.tmp"
_WAITED_FOR = 4  # up to so many files we wait for the disk
_RENAMED = 64  # above it files are overwritten in place
_RENAME_TRIES, _RENAME_PAUSE_S = 10, 0.1


@dataclass
class Found:
    """``photos``: the caption's place by the photo's key. ``stamps``: of each caption's .txt, or else .caption, by that
    place; ``is_other``: where it is a .caption. A place is the .txt's path within the project, there or not."""

    photos: dict[str, str] = field(default_factory=dict)
    stamps: dict[str, Stamp] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)


def find(root: Path) -> Found:
    """Every photo in images/ and the caption it has.

    Raises:
        TagError: a folder can't be listed.
    """
    found = Found()
    try:
        _look(os.path.join(root, "images"), "", found)
    except FileNotFoundError:
        pass
    except OSError as cause:
        raise TagError("The photos can't be listed: {cause}.", cause=cause) from cause
    found.photos = dict(sorted(found.photos.items()))
    return found


def _look(folder: str, within: str, found: Found) -> None:
    images: list[str] = []
    texts: dict[str, Stamp] = {}
    others: dict[str, Stamp] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            stem, suffix = os.path.splitext(name)
            if suffix in (".txt", ".caption"):
                with contextlib.suppress(FileNotFoundError):
                    (texts if suffix == ".txt" else others)[stem] = stamp_of(entry.stat())
            elif suffix.lower() in IMAGE_SUFFIXES:
                images.append(name)
            elif entry.is_dir(follow_symlinks=False):
                _look(os.path.join(folder, name), f"{within}{name}/", found)
    for name in images:
        stem = os.path.splitext(name)[0]
        place = f"images/{within}{stem}.txt"
        found.photos[within + name] = place
        if stem in texts:
            found.stamps[place] = texts[stem]
        elif stem in others:
            found.stamps[place] = others[stem]
            found.others.add(place)


def stamp_of(stat: os.stat_result) -> Stamp:
    """What changes when anybody writes the file: time, size, inode, time of the inode."""
    return stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_ctime_ns


def read(path: str) -> tuple[str, Stamp]:
    """A caption file's text as it is, whatever its encoding, and its stamp.

    Raises:
        TagError: it can't be read, or is too large for a caption.
        FileNotFoundError: it is not there.
    """
    name = os.path.basename(path)
    try:
        with open(path, "rb") as file:
            stamp = stamp_of(os.fstat(file.fileno()))
            data = file.read(MAX_CAPTION_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as cause:
        raise TagError("The caption {path} can't be read: {cause}.", path=name, cause=_why(cause)) from cause
    if len(data) > MAX_CAPTION_BYTES:
        raise TagError("{path} is more than 1 MB, too large for a caption.", "Is it another kind of file?", path=name)
    if data.isascii() and b"\0" not in data:  # most are, and nothing needs to be guessed
        return data.decode("ascii"), stamp
    return decode_text(data), stamp


@dataclass(frozen=True)
class Write:
    """One file of an edit: its place, its text now and then (None: no file), and its stamp now."""

    place: str
    before: str | None
    after: str | None
    stamp: Stamp | None


class HalfWrittenError(TagError):
    """Some files of an edit were written and could not be taken back; ``places`` are these."""

    places: tuple[str, ...] = ()


def write(root: Path, writes: Sequence[Write]) -> Mapping[str, Stamp | None]:
    """Write all of an edit's files or none; returns their new stamps. The journal must have them already.

    Raises:
        TagError: one could not be written, or was changed by another program this moment; all are as before.
        HalfWrittenError: and could not be taken back.
    """
    in_place = [each for each in writes if len(writes) > _RENAMED and _fits_in_place(each)]
    known = {each.place for each in in_place}
    renamed = [each for each in writes if each.place not in known]
    stamps: dict[str, Stamp | None] = {}
    done: list[Write] = []
    try:
        temporaries = _write_temporaries(root, renamed)
    except OSError as cause:
        raise _refused(cause) from cause
    try:
        for each in in_place:
            stamps[each.place] = _overwrite(os.path.join(root, each.place), each, done)
        for each, temporary in zip(renamed, temporaries, strict=True):
            path = os.path.join(root, each.place)
            if each.stamp is not None and _stamp_now(path) != each.stamp:
                raise _changed_now(path)
            _put(path, temporary)
            done.append(each)
    except (OSError, TagError) as cause:
        _remove(temporaries)
        _take_back(root, done)
        raise (_refused(cause) if isinstance(cause, OSError) else cause) from cause
    return {**stamps, **{each.place: _stamp_now(os.path.join(root, each.place)) for each in renamed}}


def mend(root: Path, place: str, old: str | None, new: str | None) -> None:
    """Finish the file at ``place`` where it is the new text with the end of the old one."""
    if old is None or new is None:
        return
    path, before, after = os.path.join(root, place), old.encode("utf-8", "replace"), new.encode("utf-8", "replace")
    with contextlib.suppress(OSError), open(path, "rb+") as file:
        if len(before) > len(after) and file.read() == after + before[len(after) :]:
            file.truncate(len(after))


def _fits_in_place(each: Write) -> bool:
    """Whether the file is there, in UTF-8, so that :func:`mend` would know what is left of it."""
    if each.before is None or each.after is None or each.stamp is None:
        return False
    return each.stamp[1] == len(each.before.encode("utf-8", errors="replace"))


def _overwrite(path: str, each: Write, done: list[Write]) -> Stamp:
    descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_BINARY", 0))
    try:
        stat = os.fstat(descriptor)
        if each.stamp is not None and stamp_of(stat) != each.stamp:
            raise _changed_now(path)
        done.append(each)
        data = (each.after or "").encode("utf-8", errors="replace")
        if stat.st_nlink > 1:  # a copy made by hard links would change with it
            (temporary,) = _write_temporaries(
                Path(path).parent, [Write(os.path.basename(path), None, each.after, None)]
            )
            _put(path, temporary)
            return stamp_of(os.stat(path))
        _write_all(descriptor, data)
        os.ftruncate(descriptor, len(data))
        return stamp_of(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def _changed_now(path: str) -> TagError:
    return TagError("{path} was changed by another program this moment.", "Try again.", path=os.path.basename(path))


def clear_temporaries(root: Path, places: Sequence[str]) -> None:
    """Remove what a killed edit of ``places`` left beside them."""
    folders = {os.path.dirname(os.path.join(root, place)) for place in places}
    for folder in folders:
        with contextlib.suppress(OSError):
            _remove([entry.path for entry in os.scandir(folder) if entry.name.endswith(_TEMPORARY)])


def _write_temporaries(root: Path, writes: Sequence[Write]) -> list[str | None]:
    made: list[str | None] = []
    try:
        for each in writes:
            if each.after is None:
                made.append(None)
                continue
            folder, name = os.path.split(os.path.join(root, each.place))
            temporary = os.path.join(folder, f".{name}{_TEMPORARY}")
            made.append(temporary)
            # Unbuffered and by descriptor: thousands of these are what a bulk edit waits for.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
            try:
                _write_all(descriptor, each.after.encode("utf-8", errors="replace"))
                if len(writes) <= _WAITED_FOR:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except BaseException:
        _remove(made)
        raise
    return made


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _put(path: str, temporary: str | None) -> None:
    for attempt in range(_RENAME_TRIES):
        try:
            if temporary is None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            else:
                os.replace(temporary, path)
            return
        except PermissionError:  # a virus scanner or indexer on Windows holds it for a moment
            if os.name != "nt" or attempt == _RENAME_TRIES - 1:
                raise
            time.sleep(_RENAME_PAUSE_S)


def _take_back(root: Path, done: Sequence[Write]) -> None:
    backwards = [Write(each.place, each.after, each.before, None) for each in done]
    left: list[str] = []
    for each in backwards:
        try:
            _restore(root, each)
        except OSError:
            left.append(each.place)
    if left:
        names = ", ".join(os.path.basename(place) for place in left[:5])
        problem = HalfWrittenError(
            "The edit failed halfway and {count} captions keep it: {names}.",
            "Undo takes them back when the disk can be written again.",
            count=len(left),
            names=names,
        )
        problem.places = tuple(left)
        raise problem


def _restore(root: Path, each: Write) -> None:
    path = os.path.join(root, each.place)
    try:
        (temporary,) = _write_temporaries(root, [each])
        _put(path, temporary)
    except OSError:
        if each.after is None:
            raise
        with open(path, "rb+") as file:  # where there is no room for another file there is room for the old text in it
            file.write(each.after.encode("utf-8", errors="replace"))
            file.truncate()


def _remove(paths: Sequence[str | None]) -> None:
    for path in paths:
        if path is not None:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _stamp_now(path: str) -> Stamp | None:
    try:
        return stamp_of(os.stat(path))
    except FileNotFoundError:
        return None


def _refused(cause: OSError) -> TagError:
    return TagError(
        "The captions can't be written: {cause}. Nothing was changed.",
        "Free some space, or make the project's folder writable, and try again.",
        cause=_why(cause),
    )


def _why(cause: OSError) -> str:
    return cause.strerror or type(cause).__name__
