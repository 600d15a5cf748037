"""The hashes by which hosts and sites know a file, each computed as its inventor does."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lora_forge.lora_file.container import file_blocks, sha256_of

_LEGACY_START, _LEGACY_LENGTH = 0x100000, 0x10000


def file_sha256(path: Path) -> str:
    """sha256 of the whole file: what a WebUI shows of a checkpoint, and Civitai's SHA256."""
    return sha256_of(file_blocks(path))


def base_legacy_hash(path: Path) -> str:
    """A checkpoint's old hash, ``ss_sd_model_hash``: 8 hex of sha256 over 64 KiB at 1 MiB."""
    with path.open("rb") as file:
        file.seek(_LEGACY_START)
        return hashlib.sha256(file.read(_LEGACY_LENGTH)).hexdigest()[:8]


def model_hash(path: Path) -> str:
    """A LoRA's ``sshs_model_hash``: sha256 of what comes after the header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    return sha256_of(file_blocks(path, 8 + length))


def data_hash(data: bytes) -> str:
    """:func:`model_hash` of a file that is yet to be written."""
    return hashlib.sha256(data).hexdigest()


def legacy_hash(header: bytes, data: bytes) -> str:
    """A LoRA's ``sshs_legacy_hash``: 8 hex of sha256 over 64 KiB at 1 MiB.

    As kohya's ``precalculate_safetensors_hashes``: of the file as it would be with the ``ss_`` metadata alone, so
    ``header`` is that header, not the one that is written.
    """
    end = _LEGACY_START + _LEGACY_LENGTH
    window = header[_LEGACY_START:end]
    window += data[max(0, _LEGACY_START - len(header)) : max(0, end - len(header))]
    return hashlib.sha256(window).hexdigest()[:8]


def autov2(path: Path) -> str:
    """Civitai's AutoV2: the first 10 hex of the whole file's sha256."""
    return file_sha256(path)[:10]


def autov3(sshs_model_hash: str) -> str:
    """Civitai's AutoV3, and the hash in a picture's "Lora hashes": the first 12 hex of ``sshs_model_hash``."""
    return sshs_model_hash[:12]
