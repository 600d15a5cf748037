"""Nested Python values with tensors in them, as one checked safetensors file (no pickle).

Tensors become entries; all else becomes JSON in the header, with places for the tensors. A CRC over everything tells
a whole file from one that a disk or a crash has damaged.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lora_forge.atomic import write_atomically

_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.bool: "BOOL",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
}


class DamagedFileError(Exception):
    """The file is not whole, or not one of ours; the message says which."""


def save_tree(path: Path, tree: Any, *, waits_for_disk: bool = True) -> None:
    """Write ``tree`` (dicts, lists, tuples, tensors, numbers, text, None) atomically; tensors as they are.

    ``waits_for_disk``: as in :func:`lora_forge.atomic.write_atomically`.

    Raises:
        TypeError: something else is in it.
        OSError: the disk says no.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_flatten(tree, tensors))
    if not tensors:  # safetensors 0.4.2 can't read a file of none
        tensors["none"] = torch.zeros(1, dtype=torch.uint8)
    header = {"tree": text, "crc": str(_checksum(tensors, text))}
    write_atomically(path, lambda temporary: _write(temporary, tensors, header), waits_for_disk=waits_for_disk)


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


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """The layout of safetensors: widest types first, so that every tensor begins at a multiple of its width.

    Not with the library, whose writer makes a file of its own beside ``path`` that a killed program leaves behind and
    that only its owner may read, and says of a full disk only that it failed to serialize.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name in names:
        begin, end = end, end + tensors[name].numel() * tensors[name].element_size()
        shape = list(tensors[name].shape)
        header[name] = {"dtype": _TYPES[tensors[name].dtype], "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(_raw(tensors[name]))


def _raw(tensor: Tensor) -> Any:
    return tensor.reshape(-1).view(torch.uint8).numpy()


def _checksum(tensors: Mapping[str, Tensor], text: str) -> int:
    crc = zlib.crc32(text.encode())
    for name in sorted(tensors):
        crc = zlib.crc32(_raw(tensors[name]), crc)
    return crc


def _flatten(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = str(len(tensors))
        if value.dtype not in _TYPES:
            raise TypeError(f"a tensor of {value.dtype} can't be saved")
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
