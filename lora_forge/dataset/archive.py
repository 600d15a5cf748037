"""Zip archives from anywhere: names in any encoding, and none of the tricks an archive can play."""

from __future__ import annotations

import contextlib
import lzma
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lora_forge.dataset.captions import decode_text
from lora_forge.dataset.images import IMAGE_SUFFIXES
from lora_forge.dataset.naming import printable
from lora_forge.dataset.prepared import Skipped
from lora_forge.dataset.sources import CAPTION_SUFFIXES, Found, Item, sort_out
from lora_forge.errors import DatasetError
from lora_forge.i18n import Said, word

_UTF8_FLAG = 0x800
_ENCRYPTED_FLAG = 0x1
_PIECE_BYTES = 1 << 20
_SMALL_BYTES = 16 << 20  # below it a high ratio does no harm
_DRIVE = re.compile(r"^[A-Za-z]:")
ENTRY_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class ZipLimits:
    """How much an archive may unpack to. ``ratio``: unpacked over packed size of one file above 16 MB."""

    entries: int = 50_000
    file_bytes: int = 512 << 20
    total_bytes: int = 16 << 30
    ratio: int = 200


@contextlib.contextmanager
def open_zip(path: Path, limits: ZipLimits | None = None) -> Iterator[Found]:
    """The photos of an archive. Nothing is unpacked until an item is fetched, and then only that file, under a name
    of our own: no entry's path is ever used as one.

    Raises:
        DatasetError: not a zip, damaged, or it unpacks to more than ``limits`` allow.
    """
    limits = limits or ZipLimits()
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as cause:
        raise DatasetError(
            "{path} can't be opened as a zip: {cause}.", "Is it complete? Pack it again.", path=path, cause=cause
        ) from cause
    with archive:
        yield _find(archive, path, limits)


def _find(archive: zipfile.ZipFile, path: Path, limits: ZipLimits) -> Found:
    entries = [info for info in archive.infolist() if not info.is_dir()]
    wanted = [info for info in entries if PurePosixPath(_name(info)).suffix.lower() in IMAGE_SUFFIXES]
    total = sum(info.file_size for info in wanted)
    if len(entries) > limits.entries or total > limits.total_bytes:
        raise DatasetError(
            "{path} would unpack to {count} files and {size_mb} MB of photos: too much to be meant.",
            "Unpack it yourself and import the folder.",
            path=path,
            count=len(entries),
            size_mb=total >> 20,
        )
    found, items = Found(printable(path.stem)), list[Item]()
    for number, info in enumerate(entries):
        parts, reason = _safe_parts(_name(info)), _refusal(info, limits)
        if parts is None:
            found.skipped.append(Skipped(_name(info), Said(word("its path leads out of the archive"))))
        elif reason:
            found.skipped.append(Skipped("/".join(parts), reason))
        elif parts:
            items.append(_item(archive, info, number, parts))
    return sort_out(items, found)


def _name(info: zipfile.ZipInfo) -> str:
    """An entry's name; without the UTF-8 flag zipfile reads it as cp437, and the bytes are looked at again."""
    name = info.orig_filename
    if not info.flag_bits & _UTF8_FLAG:
        with contextlib.suppress(UnicodeEncodeError):
            name = decode_text(name.encode("cp437"))
    return name.partition("\0")[0].replace("\\", "/")


def _safe_parts(name: str) -> tuple[str, ...] | None:
    if name.startswith("/") or _DRIVE.match(name) or ".." in name.split("/"):
        return None
    return tuple(part for part in name.split("/") if part not in ("", "."))


def _refusal(info: zipfile.ZipInfo, limits: ZipLimits) -> Said | None:
    """Why an entry that would be read must not be; None when it may, or is of no interest anyway."""
    suffix = PurePosixPath(_name(info)).suffix.lower()
    if suffix not in IMAGE_SUFFIXES and suffix not in CAPTION_SUFFIXES:
        return None
    if stat.S_ISLNK(info.external_attr >> 16):
        return Said(word("a link in an archive is not followed"))
    if info.flag_bits & _ENCRYPTED_FLAG:
        return Said(word("it is locked with a password"))
    if info.file_size > limits.file_bytes:
        return Said(word("it unpacks to {size_mb} MB, too much for a photo"), {"size_mb": info.file_size >> 20})
    if info.file_size > max(_SMALL_BYTES, limits.ratio * info.compress_size):
        return Said(word("it unpacks to far more than it holds, as a zip bomb does"))
    return None


def _item(archive: zipfile.ZipFile, info: zipfile.ZipInfo, number: int, parts: tuple[str, ...]) -> Item:
    def fetch(folder: Path) -> Path:
        target = folder / str(number)
        try:
            with archive.open(info) as source, target.open("wb") as sink:
                # zipfile gives no more bytes than the entry declares, and that was checked above.
                while piece := source.read(_PIECE_BYTES):
                    sink.write(piece)
        except ENTRY_ERRORS as cause:
            raise DatasetError("{name} can't be unpacked: {cause}.", name="/".join(parts), cause=cause) from cause
        return target

    return Item(parts, fetch)
