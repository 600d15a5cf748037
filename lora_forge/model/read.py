"""Reading a ``.safetensors`` checkpoint: its header first, its weights once, as views on the mapped file."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from lora_forge.errors import CheckpointError
from lora_forge.model import keymap, wrong_files
from lora_forge.model.detect import CheckpointFacts, describe
from lora_forge.model.prediction import SD2_PROBE

_HEADER_LIMIT_BYTES = 100_000_000  # safetensors' own limit
_PICKLE_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_USED_PREFIXES = (keymap.UNET_PREFIX, keymap.VAE_PREFIX, "cond_stage_model.", "conditioner.")
_TRAINABLE_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class Header:
    """The front of a safetensors file: shapes by tensor name, and the metadata's strings."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


@dataclass
class Checkpoint:
    """A checkpoint in memory. ``tensors`` by LDM key: UNet, VAE and text encoders only (no EMA copies, no schedule).
    ``dtype``: what all of it is to compute in, where VAE and text encoders still lie in the mapped file."""

    path: Path
    facts: CheckpointFacts
    metadata: dict[str, str]
    tensors: dict[str, torch.Tensor]
    dtype: torch.dtype | None = None


def read_header(path: Path) -> Header:
    """Read and check the header alone; the file's length must be what the header promises.

    Raises:
        CheckpointError: missing, a folder, empty, a pickle, cut short, or no safetensors file at all.
    """
    _refuse_what_is_no_file(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        _refuse_pickle(path, start)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= _HEADER_LIMIT_BYTES or length + 8 > size:
            raise _not_safetensors(path, start, length, size)
        raw = file.read(length)
    try:
        entries = json.loads(raw.decode("utf-8"))
        metadata = entries.pop("__metadata__", None) or {}
        shapes = {str(name): tuple(int(side) for side in entry["shape"]) for name, entry in entries.items()}
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as cause:
        raise _not_safetensors(path, start, length, size) from cause
    if size < end:
        raise CheckpointError(
            "{path} is cut short: {size} of {end} bytes are there.",
            "Download or copy it again.",
            path=path,
            size=size,
            end=end,
        )
    return Header(shapes, {str(key): str(value) for key, value in metadata.items()})


def read_facts(path: Path) -> CheckpointFacts:
    """What a checkpoint is, from its header (and one small tensor for SD2.x): milliseconds, whatever its size.

    Raises:
        CheckpointError: as :func:`read_header` and :func:`lora_forge.model.detect.describe`.
    """
    return _describe(path, read_header(path))


def read_checkpoint(
    path: Path, dtype: torch.dtype | None = None, vae_dtype: torch.dtype | None = None, maps: bool = False
) -> Checkpoint:
    """Read UNet, VAE and text encoders: one copy of the weights.

    Tensors that already have the wanted dtype are views on the memory-mapped file; others are cast one by one.
    ``dtype`` None keeps the file's (8-bit floats become float16: nothing computes in them). ``vae_dtype`` None means
    ``dtype``. With ``maps`` only the UNet is cast: VAE and text encoders are where whoever builds them finds them in
    the file (see `residence`).

    Raises:
        CheckpointError: as :func:`read_facts`, or the data can't be read.
    """
    header = read_header(path)
    facts = _describe(path, header)
    names = [name for name in header.shapes if name.startswith(_USED_PREFIXES)]
    tensors = {}
    try:
        with safe_open(str(path), framework="pt") as file:
            for name in names:
                wanted = vae_dtype or dtype if name.startswith(keymap.VAE_PREFIX) else dtype
                is_mapped = maps and not name.startswith(keymap.UNET_PREFIX)
                tensors[name] = _cast(file.get_tensor(name), None if is_mapped else wanted)
    except (SafetensorError, OSError) as cause:
        what = "{path} can't be read: {cause}."
        raise CheckpointError(what, "Download or copy it again.", path=path, cause=cause) from cause
    return Checkpoint(path, facts, header.metadata, tensors, dtype if maps else None)


def _cast(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor
    if dtype is None:
        dtype = tensor.dtype if tensor.dtype in _TRAINABLE_DTYPES else torch.float16
    return tensor.to(dtype)


def _describe(path: Path, header: Header) -> CheckpointFacts:
    return describe(header.shapes, header.metadata, _yaml_beside(path), path.name, _sd2_probe_std(path, header.shapes))


def _yaml_beside(path: Path) -> str | None:
    beside = path.with_suffix(".yaml")
    if not beside.is_file():
        return None
    try:
        return beside.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise CheckpointError(
            "{path} stands beside the checkpoint and can't be read: {cause}.",
            "Mend it, or move it away.",
            path=beside,
            cause=cause,
        ) from cause


def _sd2_probe_std(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> float | None:
    """The statistic of ``SD2_PROBE``; cheap enough to take for every family, used for SD2.x alone."""
    if SD2_PROBE not in shapes:
        return None
    with safe_open(str(path), framework="pt") as file:
        return float(file.get_tensor(SD2_PROBE).float().std(unbiased=False))


def _refuse_what_is_no_file(path: Path) -> None:
    if path.is_dir():
        kind = "a model folder in diffusers' layout" if (path / "model_index.json").is_file() else "a folder"
        raise CheckpointError("{path} is {kind}, not a file.", wrong_files.CHOOSE, path=path, kind=kind)
    if not path.exists():
        raise CheckpointError("{path} does not exist.", "Check the name and the folder.", path=path)
    if path.stat().st_size == 0:
        raise CheckpointError("{path} is empty (0 bytes).", "Download or copy it again.", path=path)


def _refuse_pickle(path: Path, start: bytes) -> None:
    # Zip archives (torch.save since 1.6) and bare pickles: told by content first, so a renamed one is caught too.
    is_bare = start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5" and start[2:8] != b"\0" * 6  # no header's length
    if path.suffix.lower() in _PICKLE_SUFFIXES or start.startswith(b"PK\3\4") or is_bare:
        raise CheckpointError(
            "{path} is a pickle file: reading it can run any code hidden in it, so LoRA Forge doesn't.",
            "Convert it to .safetensors with your WebUI's checkpoint merger, or download the .safetensors.",
            path=path,
        )


def _not_safetensors(path: Path, start: bytes, length: int, size: int) -> CheckpointError:
    looks: dict[bytes, str] = {b"GGUF": "a GGUF file (quantized)", b"<!DO": "a web page", b"<htm": "a web page"}
    if kind := looks.get(start[:4]):
        return CheckpointError("{path} is {kind}, not a safetensors file.", wrong_files.CHOOSE, path=path, kind=kind)
    if start.startswith(b"version "):
        what = "{path} is a Git LFS pointer: the checkpoint itself was not downloaded."
        return CheckpointError(what, "Run git lfs pull, or download the file.", path=path)
    if 2 <= length <= _HEADER_LIMIT_BYTES and length + 8 > size and path.suffix == ".safetensors":
        what = "{path} is cut short: {size} bytes, less than its header says."
        return CheckpointError(what, "Download or copy it again.", path=path, size=size)
    return CheckpointError("{path} is not a safetensors file.", wrong_files.CHOOSE, path=path)
