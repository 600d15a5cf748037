"""What can be told of any LoRA file from its header: kind, family, ranks, words, settings.

Ours, kohya's, LyCORIS' and bare files; the tensors are not read, but for the few bytes of an alpha.
"""

from __future__ import annotations

import ast
import json
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_forge.config import Family
from lora_forge.i18n import Said, word
from lora_forge.lora_file.container import read_header

_MOST_WORDS = 200
_MOST_ALPHAS = 4096
# The first mark that is a part of some key names the kind; what each is called is the same in every language.
_KINDS = (
    ("dora_scale", "DoRA"),
    ("hada_w", "LoHa"),
    ("lokr_w", "LoKr"),
    ("oft_", "OFT"),
    ("on_input", "IA3"),
    ("lora_mid", "LoCon (CP)"),
    (".lora_A.", "LoRA (diffusers)"),
    (".lora.down.", "LoRA (diffusers)"),
    ("lora_down", "LoRA"),
)
_DOWNS = (".lora_down.weight", ".lora_A.weight", ".lora.down.weight", ".hada_w1_b", ".lokr_w2_b", ".lokr_w1_b")
_OTHER_MODELS = (("double_blocks", "Flux"), ("joint_blocks", "SD3"), ("model.diffusion_model.", word("a whole model")))
_CONTEXT = {768: Family.SD1, 1024: Family.SD2, 2048: Family.SDXL}
_FAMILY_NAMES = {Family.SD1: "SD1.x", Family.SD2: "SD2.x", Family.SDXL: "SDXL"}
# Tags that nearly every picture of a kind has; they name no subject.
_COMMON = frozenset(
    (
        *("1girl", "1boy", "solo", "woman", "man", "girl", "boy", "person", "portrait", "photo", "realistic", "smile"),
        *("simple background", "white background", "looking at viewer", "upper body", "full body", "standing"),
        *("masterpiece", "best quality"),
    )
)


@dataclass(frozen=True)
class TagCount:
    """A word of the captions. ``share``: of the pictures, 0 to 1; None where their number is not told."""

    word: str
    count: int
    share: float | None


@dataclass(frozen=True)
class LoraFacts:
    """``kind``: LoRA, LoCon, LoHa... empty for what is none. ``ranks``: (rank, layers) of the UNet's and the text
    encoders' layers, most layers first. ``alphas`` likewise. ``problems``: what could not be read, in words."""

    path: Path
    size_bytes: int
    metadata: Mapping[str, str]
    kind: str
    family: Family | None
    other_family: str
    layers: int
    text_layers: int
    conv_layers: int
    ranks: tuple[tuple[int, int], ...]
    alphas: tuple[tuple[float, int], ...]
    trigger_word: str
    words: tuple[TagCount, ...]
    problems: tuple[Said, ...] = field(default_factory=tuple)

    @property
    def family_name(self) -> str:
        """SD1.x, SD2.x, SDXL, another's name, or empty."""
        return _FAMILY_NAMES[self.family] if self.family else self.other_family

    @property
    def is_ours(self) -> bool:
        """Whether this program made it."""
        return self.metadata.get("ss_training_comment", "").startswith("LoRA Forge")


def read_facts(path: Path) -> LoraFacts:
    """Whatever can be told of the LoRA at ``path``.

    Raises:
        LoraFileError: missing, damaged, or no safetensors; the message says which.
    """
    header = read_header(path)
    metadata = _texts(header.pop("__metadata__", {}))
    shapes = {key: tuple(entry.get("shape", ())) for key, entry in header.items() if isinstance(entry, dict)}
    problems: list[Said] = []
    ranks, layers, text, conv = _layers(shapes)
    counts, pictures = _tag_counts(metadata, problems)
    kind = _kind(shapes, conv)
    return LoraFacts(
        path,
        path.stat().st_size,
        metadata,
        kind,
        family_of(shapes, metadata),
        next((name for mark, name in _OTHER_MODELS if any(mark in key for key in shapes)), ""),
        layers,
        text,
        conv,
        tuple(Counter(ranks).most_common()),
        tuple(Counter(_alphas(path, header)).most_common()),
        _trigger(metadata, counts),
        tuple(TagCount(name, count, count / pictures if pictures else None) for name, count in counts[:_MOST_WORDS]),
        tuple(problems),
    )


def family_of(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> Family | None:
    """By the layers themselves, else by what the file says; None where neither tells."""
    if any(key.startswith(("lora_te1_", "lora_te2_", "text_encoder_2.")) for key in shapes):
        return Family.SDXL
    for key, shape in shapes.items():
        wide = shape[1] if len(shape) > 1 else 0
        if "attn2" in key and ("to_k" in key or "to_v" in key) and key.endswith(_DOWNS[:3]) and wide in _CONTEXT:
            return _CONTEXT[wide]
    if any(key.startswith("lora_unet_input_blocks_") and "transformer_blocks_2_" in key for key in shapes):
        return Family.SDXL
    version = metadata.get("ss_base_model_version", "") or metadata.get("modelspec.architecture", "")
    if version.startswith(("sdxl", "stable-diffusion-xl")):
        return Family.SDXL
    if metadata.get("ss_v2") == "True" or version.startswith(("sd_v2", "stable-diffusion-v2")):
        return Family.SD2
    return Family.SD1 if version.startswith(("sd_v1", "sd_1", "stable-diffusion-v1")) else None


def plain(text: str | None) -> Any:
    """A value of kohya's metadata as Python has it: JSON, then a literal, else the text; "None" is None."""
    if text is None:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return text


def _texts(found: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _kind(shapes: Mapping[str, Any], conv: int) -> str:
    found = next((kind for mark, kind in _KINDS if any(mark in key for key in shapes)), "")
    return "LoCon" if found == "LoRA" and conv else found


def _layers(shapes: Mapping[str, tuple[int, ...]]) -> tuple[list[int], int, int, int]:
    """(rank of each layer, how many layers, of them the text encoders', of them convolutions of 3 x 3)."""
    ranks, names, text, conv = [], set(), 0, 0
    for key, shape in shapes.items():
        ending = next((end for end in _DOWNS if key.endswith(end)), None)
        name = key[: -len(ending)] if ending else ""
        if not ending or name in names:
            continue
        names.add(name)
        if shape:
            ranks.append(int(shape[0]))
        text += name.startswith(("lora_te", "text_encoder"))
        conv += len(shape) == 4 and shape[2:] != (1, 1)
    return ranks, len(names), text, conv


_FORMATS = {"F16": "<e", "F32": "<f", "F64": "<d"}


def _alphas(path: Path, header: Mapping[str, Any]) -> Iterator[float]:
    """The scalars named alpha, each a few bytes of the file."""
    length = 8 + _header_length(path)
    with path.open("rb") as file:
        for key in [key for key in header if key.endswith(".alpha")][:_MOST_ALPHAS]:
            entry = header[key]
            start, end = entry["data_offsets"]
            if end - start > 8:
                continue
            file.seek(length + start)
            value = _number(entry.get("dtype"), file.read(end - start))
            if value is not None:
                yield round(value, 4)


def _header_length(path: Path) -> int:
    with path.open("rb") as file:
        return int.from_bytes(file.read(8), "little")


def _number(dtype: Any, content: bytes) -> float | None:
    if dtype == "BF16" and len(content) == 2:
        dtype, content = "F32", b"\0\0" + content
    try:
        return float(struct.unpack(_FORMATS[dtype], content)[0])
    except (KeyError, struct.error):
        return None


def _tag_counts(metadata: Mapping[str, str], problems: list[Said]) -> tuple[list[tuple[str, int]], int]:
    """Words with their counts over all folders, most frequent first, and the number of pictures; 0 if not told."""
    found = _object(metadata, "ss_tag_frequency", problems)
    counts: Counter[str] = Counter()
    for tags in found.values():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if isinstance(count, int) and str(tag).strip():
                counts[str(tag).strip()] += count
    pictures = 0
    folders = _object(metadata, "ss_dataset_dirs", problems)
    for name, folder in folders.items():
        count = folder.get("img_count") if isinstance(folder, dict) else 0
        pictures += count if isinstance(count, int) and (not found or name in found) else 0
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return ordered, max(pictures, ordered[0][1] if ordered and pictures else 0)


def _object(metadata: Mapping[str, str], key: str, problems: list[Said]) -> dict[str, Any]:
    if metadata.get(key) in (None, "", "None"):
        return {}
    value = plain(metadata[key])
    if not isinstance(value, dict):
        problems.append(Said("{key} can't be read.", {"key": key}))
        return {}
    return value


def _trigger(metadata: Mapping[str, str], counts: list[tuple[str, int]]) -> str:
    """As the file says; else the most frequent word that names something of its own."""
    said = metadata.get("modelspec.trigger_phrase", "").strip()
    if said or not counts:
        return said
    most = counts[0][1]
    own = [name for name, count in counts if count >= 0.8 * most and name not in _COMMON]
    return own[0] if own else ""
