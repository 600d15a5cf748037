"""Nested Python values with tensors in them, as one checked safetensors file (no pickle).

Tensors become entries; all else becomes JSON in the header, with places for the tensors. A CRC over everything tells
a whole file from one that a disk or a crash has damaged.
"""

from __future__ import annotations

import errno
import json
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lora_forge.atomic import write_atomically

_OS_ERROR = re.compile(r"os error (\d+)")


class DamagedFileError(Exception):
    """The file is not whole, or not one of ours; the message says which."""


def save_tree(path: Path, tree: Any) -> None:
    """Write ``tree`` (dicts, lists, tuples, tensors, numbers, text, None) atomically; tensors as they are.

    Raises:
        TypeError: something else is in it.
        OSError: the disk says no.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_flatten(tree, tensors))
    if not tensors:  # safetensors 0.4.2 can't read a file of none
        tensors["none"] = torch.zeros(1, dtype=torch.uint8)
    header = {"tree": text, "crc": str(_checksum(tensors, text))}
    write_atomically(path, lambda temporary: _write(temporary, tensors, header))


def load_tree(path: Path) -> Any:
    """Read what :func:`save_tree` wrote; tensors on the CPU, bit for bit.

    Raises:
        DamagedFileError: it is cut short, altered, or something else.
        OSError: it can't be opened.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        text = header["tree"]
        if int(header["crc"]) != _checksum(tensors, text):
            raise DamagedFileError(f"{path.name}: its checksum is wrong")
        return _restore(json.loads(text), tensors)
    except SafetensorError as cause:
        raise DamagedFileError(f"{path.name}: {cause}") from cause
    except (KeyError, ValueError) as cause:
        raise DamagedFileError(f"{path.name}: its header is not ours ({cause})") from cause


def _write(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    """The library says of a full disk only that it failed to serialize, with the system's number among the words."""
    try:
        save_file(tensors, str(path), metadata=header)
    except SafetensorError as cause:
        number = _OS_ERROR.search(str(cause))
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, os.strerror(code) if number else str(cause)) from cause


def _checksum(tensors: Mapping[str, Tensor], text: str) -> int:
    crc = zlib.crc32(text.encode())
    for name in sorted(tensors):
        raw: Any = tensors[name].reshape(-1).view(torch.uint8).numpy()
        crc = zlib.crc32(raw, crc)
    return crc


def _flatten(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = str(len(tensors))
        # A clone, so that the optimizer may go on and no two entries share memory, which safetensors refuses.
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[_flatten(key, tensors), _flatten(item, tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_flatten(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_flatten(item, tensors) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a {type(value).__name__} can't be saved")


def _restore(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_restore(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(_restore(item, tensors) for item in content)
    return {_restore(key, tensors): _restore(item, tensors) for key, item in content}
