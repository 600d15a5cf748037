"""Saving and loading LoRA files. A file appears only after it was read back and found to be what was meant."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes

from lora_forge.atomic import write_atomically
from lora_forge.errors import LoraFileError
from lora_forge.i18n.reasons import reason
from lora_forge.lora_file.container import encode_data, encode_header, is_whole, read_header
from lora_forge.lora_file.hashes import data_hash, legacy_hash
from lora_forge.lora_file.weights import LoraModule, LoraWeights, from_tensors, some_of, to_tensors


@dataclass(frozen=True)
class SavedLora:
    """A file that is on the disk, whole: its keys (three an adapter), its size, its ``sshs_model_hash``."""

    path: Path
    keys: tuple[str, ...]
    size_bytes: int
    model_hash: str


@dataclass(frozen=True, eq=False)
class LoraFile:
    """What :func:`load_lora` read; tensors on the CPU in the file's dtype, free of the file."""

    weights: LoraWeights
    metadata: dict[str, str]


def save_lora(
    path: Path, weights: Mapping[str, LoraModule], metadata: Mapping[str, str], dtype: torch.dtype = torch.float16
) -> SavedLora:
    """Write ``weights`` in kohya's format.

    ``ss_output_name`` becomes the file's stem (hosts take it as a second name of the file, which must be unique) and
    the ``sshs_`` hashes are filled in. The bytes go to a temporary name, are synced, read back and compared, and only
    then get the name ``path``.

    Raises:
        LoraFileError: no adapters, values that are not finite (or are not in ``dtype``), a full disk, or a disk that
            gives back other bytes than were written; nothing is then under the name ``path``.
    """
    if not weights:
        raise LoraFileError("{path} would hold no adapter.", path=path)
    tensors = to_tensors(weights, dtype)
    _refuse_non_finite(weights, tensors, dtype)
    data = encode_data(tensors)
    fields = {**metadata, "ss_output_name": path.stem}
    plain = encode_header(tensors, {key: value for key, value in fields.items() if key.startswith("ss_")})
    hashed = {**fields, "sshs_model_hash": data_hash(data), "sshs_legacy_hash": legacy_hash(plain, data)}
    header = encode_header(tensors, hashed)
    _write(path, header, data, hashed["sshs_model_hash"])
    return SavedLora(path, tuple(sorted(tensors)), len(header) + len(data), hashed["sshs_model_hash"])


def load_lora(path: Path) -> LoraFile:
    """Read a LoRA or LoCon in kohya's format, ours or another program's.

    Raises:
        LoraFileError: missing, empty, damaged, not a LoRA (the message says what it is), of another kind of adapter,
            or with values that are not finite.
    """
    header = read_header(path)
    metadata = header.pop("__metadata__", {})
    _refuse_other_kinds(path, header.keys())
    try:
        tensors = load_bytes(path.read_bytes())  # not mapped: a host or we may replace the file
    except (SafetensorError, OSError) as cause:
        raise LoraFileError("{path} can't be read: {cause}.", path=path, cause=cause) from cause
    broken = [key for key, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise LoraFileError("{path} holds broken values, such as {some}.", path=path, some=some_of(broken))
    return LoraFile(from_tensors(tensors), {str(key): str(value) for key, value in metadata.items()})


def load_metadata(path: Path) -> dict[str, str]:
    """The metadata alone, without reading the tensors.

    Raises:
        LoraFileError: as :func:`read_header`.
    """
    return {str(key): str(value) for key, value in read_header(path).get("__metadata__", {}).items()}


def _write(path: Path, header: bytes, data: bytes, data_sha256: str) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(header)
            file.write(data)

    def check(temporary: Path) -> None:
        if not is_whole(temporary, header, data_sha256):
            raise LoraFileError(
                "{path} came back from the disk other than it was written.",
                "Save to another disk; this one may be failing.",
                path=path,
            )

    try:
        write_atomically(path, write, check)
    except OSError as cause:
        raise LoraFileError(
            "{path} can't be written: {cause}.",
            "Make room, or choose another folder.",
            path=path,
            cause=reason(cause),
        ) from cause


def _refuse_non_finite(
    weights: Mapping[str, LoraModule], tensors: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> None:
    """Values are checked as they will be in the file: float16 ends at 65504."""
    broken = [key for key, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if not broken:
        return
    sources = [weights[key.partition(".")[0]] for key in broken]
    was_finite = all(bool(torch.isfinite(t).all()) for module in sources for t in (module.down, module.up))
    raise LoraFileError(
        "{count} tensors are too large for {dtype}, such as {some}."
        if was_finite
        else "{count} tensors hold values that are not finite, such as {some}; nothing was saved.",
        "Save as float32, or train with a lower learning rate."
        if was_finite
        else "Train with a lower learning rate, or in bf16 or fp32.",
        count=len(broken),
        dtype=str(dtype).removeprefix("torch."),
        some=some_of(broken),
    )


# Marks of other files, in the order they are looked for; each is a part of a key.
_OTHER_KINDS = (
    ("model.diffusion_model.", "a whole checkpoint, not a LoRA"),
    ("first_stage_model.", "a whole checkpoint or VAE, not a LoRA"),
    ("decoder.conv_in", "a VAE, not a LoRA"),
    ("emb_params", "a textual inversion embedding, not a LoRA"),
    ("string_to_param", "a textual inversion embedding, not a LoRA"),
    ("dora_scale", "a DoRA, which no host applies as it was trained"),
    ("hada_w", "a LoHa, which this program does not read"),
    ("lokr_w", "a LoKr, which this program does not read"),
    ("oft_", "an OFT, which this program does not read"),
    (".lora_A.", "a LoRA in diffusers' own format; convert it to kohya's"),
    (".lora.down.", "a LoRA in diffusers' old format; convert it to kohya's"),
    ("double_blocks", "for Flux, which this program does not train"),
)


def _refuse_other_kinds(path: Path, keys: Collection[str]) -> None:
    if not keys:
        raise LoraFileError("{path} holds no tensors.", path=path)
    for mark, kind in _OTHER_KINDS:
        if any(mark in key for key in keys):
            raise LoraFileError("{path} is {kind}.", path=path, kind=kind)
