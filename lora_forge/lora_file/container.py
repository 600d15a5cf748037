"""The safetensors container, written and taken apart by hand.

Why not the library's writer: it puts the metadata in random order, so the same LoRA would give other bytes each
time, and it can't hash what it is about to write. The layout is the library's own (header padded to 8 bytes, tensors
in the order of their names), so hashes and offsets agree with files it writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_forge.errors import LoraFileError
from lora_forge.i18n.reasons import reason

if TYPE_CHECKING:
    import torch

_DTYPES = {"torch.float16": "F16", "torch.bfloat16": "BF16", "torch.float32": "F32"}
_MAX_HEADER_BYTES = 100_000_000  # the library's own limit
_BLOCK_BYTES = 1 << 20


def encode_data(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """The tensors' bytes, one after another in the order of their names; all of one dtype, on the CPU."""
    return b"".join(_bytes_of(tensors[name]) for name in sorted(tensors))


def encode_header(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """The eight length bytes and the JSON header that go before :func:`encode_data`.

    Raises:
        ValueError: the tensors are not all of one floating dtype, which is what this layout is for.
    """
    if len({tensor.dtype for tensor in tensors.values()}) != 1:
        raise ValueError("a LoRA file holds tensors of one dtype")
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[str(tensor.dtype)], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file; the file's length is checked against it.

    Raises:
        LoraFileError: missing, empty, cut short, or not safetensors; the message says which.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            # A pickle's or archive's first bytes read as a length are absurd; don't try to read so much.
            text = file.read(length) if length <= min(size, _MAX_HEADER_BYTES) else b""
    except OSError as cause:
        raise LoraFileError("{path} can't be read: {cause}.", path=path, cause=reason(cause)) from cause
    if size == 0:
        raise LoraFileError("{path} is empty.", "Copy or download it again.", path=path)
    header = _parse(text) if len(text) == length else None
    if header is None:
        raise LoraFileError("{path} is {kind}, not a safetensors file.", path=path, kind=_kind_of(start))
    expected = 8 + length + _data_length(header)
    if size != expected:
        raise LoraFileError(
            "{path} is damaged: it has {size} bytes where its header says {expected}.",
            "Copy or download it again.",
            path=path,
            size=size,
            expected=expected,
        )
    return header


def is_whole(path: Path, header: bytes, data_sha256: str) -> bool:
    """Whether the file consists of exactly ``header`` and data of that sha256, read from the disk in blocks."""
    with path.open("rb") as file:
        return file.read(len(header)) == header and sha256_of(_blocks(file)) == data_sha256


def sha256_of(blocks: Iterator[bytes]) -> str:
    """Lower-case hex."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def file_blocks(path: Path, start: int = 0) -> Iterator[bytes]:
    """The file's bytes from ``start`` on, a MiB at a time."""
    with path.open("rb") as file:
        file.seek(start)
        yield from _blocks(file)


def _blocks(file: Any) -> Iterator[bytes]:
    while block := file.read(_BLOCK_BYTES):
        yield block


def _bytes_of(tensor: torch.Tensor) -> bytes:
    import torch  # not before: pages hash and move files, and need nothing else of this

    content: bytes = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return content


def _parse(text: bytes) -> dict[str, Any] | None:
    try:
        header = json.loads(text)
        _data_length(header)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return header if isinstance(header, dict) else None


def _data_length(header: dict[str, Any]) -> int:
    ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    return max(ends, default=0)


def _kind_of(start: bytes) -> str:
    if start.startswith(b"PK\x03\x04"):
        return "a zip archive or a pickle (.pt, .ckpt), which can run code when opened"
    if start[:1] == b"\x80":
        return "a pickle (.pt, .ckpt), which can run code when opened"
    if start.lstrip()[:1] == b"<":
        return "a web page"
    if start.startswith(b"version "):
        return "a pointer to a file that git-lfs has not fetched"
    return "cut short or something else"
