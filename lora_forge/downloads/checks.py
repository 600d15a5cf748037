"""Whether a file is what it should be: by its checksum, else by its form."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from lora_forge.errors import LoraForgeError
from lora_forge.i18n import Said, word

_BLOCK = 1 << 20
_MOST_TEXT_BYTES = 64 << 20
_GRAPH_FIELD = 7  # of onnx.ModelProto
_ADVICE = word("Download it again, or from another mirror.")


class DownloadError(LoraForgeError):
    """A download can't start, go on or be used."""


class LicenceError(DownloadError):
    """The item's terms were not accepted; the remedy holds them."""


def sha256_of(path: Path, is_unwanted: Callable[[], bool] = lambda: False) -> str:
    """Lower-case hex of the file's SHA-256; empty when ``is_unwanted()`` said so midway.

    Raises:
        OSError: it can't be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if is_unwanted():
                return ""
            digest.update(block)
    return digest.hexdigest()


def form_problem(path: Path, name: str) -> Said | None:
    """What is wrong with the form of the file at ``path`` that shall be called ``name``; None when nothing is.

    ONNX: the message's outer fields fit the file to its last byte, so that one cut off is found. Zip: its table and
    the sum of every member. CSV and JSON: what the taggers' lists begin with.
    """
    try:
        if path.stat().st_size == 0:
            return Said(word("it is empty"))
        suffix = Path(name).suffix.lower()
        look = {".onnx": _onnx_problem, ".zip": _zip_problem, ".csv": _csv_problem, ".json": _json_problem}.get(suffix)
        return look(path) if look else None
    except EOFError:
        return Said(word("it is cut off"))
    except (OSError, ValueError, csv.Error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as cause:
        return Said(word("it can't be read ({cause})"), {"cause": cause})


def refuse_bad_form(path: Path, name: str) -> None:
    """Nothing, where :func:`form_problem` finds nothing.

    Raises:
        DownloadError: it finds something.
    """
    problem = form_problem(path, name)
    if problem is not None:
        raise DownloadError("{name} is not what it should be: {problem}.", _ADVICE, name=name, problem=problem)


def refuse_wrong_sum(path: Path, name: str, sha256: str, is_unwanted: Callable[[], bool] = lambda: False) -> None:
    """Nothing, where the file's SHA-256 is ``sha256`` or none is known.

    Raises:
        DownloadError: it is another one.
    """
    found = sha256_of(path, is_unwanted) if sha256 else ""
    if found and found != sha256:
        raise DownloadError(
            "{name} is not the maker's file: its SHA-256 is {found}…, not {wanted}….",
            _ADVICE,
            name=name,
            found=found[:12],
            wanted=sha256[:12],
        )


def _onnx_problem(path: Path) -> Said | None:
    size, seen = path.stat().st_size, set()
    with path.open("rb") as file:
        head = file.read(64)
        if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"version https://git-lfs")):
            return Said(word("it is a web page or a pointer, not a model"))
        file.seek(0)
        while file.tell() < size:
            tag = _varint(file.read)
            field, wire = tag >> 3, tag & 7
            if not 1 <= field <= 30 or wire not in (0, 2):  # all that ModelProto has
                return Said(word("it is no ONNX model"))
            seen.add(field)
            if wire == 0:
                _varint(file.read)
            elif _skip(file, _varint(file.read)) > size:
                return Said(word("it is cut off"))
    return None if _GRAPH_FIELD in seen else Said(word("it is no ONNX model"))


def _skip(file: BinaryIO, count: int) -> int:
    return file.seek(count, os.SEEK_CUR)


def _varint(read: Callable[[int], bytes]) -> int:
    """One protobuf number.

    Raises:
        EOFError: the file ends within it, or it is longer than any.
    """
    value = 0
    for shift in range(0, 70, 7):
        byte = read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise EOFError


def _zip_problem(path: Path) -> Said | None:
    with zipfile.ZipFile(path) as archive:
        bad = archive.testzip()
    return Said(word("its member {member} is damaged"), {"member": bad}) if bad else None


def _csv_problem(path: Path) -> Said | None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file), [])
    return None if {"name", "category"} <= set(header) else Said(word("it has no columns name and category"))


def _json_problem(path: Path) -> Said | None:
    if path.stat().st_size > _MOST_TEXT_BYTES:
        return Said(word("it is far too large"))
    found = json.loads(path.read_bytes())
    return None if isinstance(found, dict) else Said(word("it is no list of tags and no description"))
