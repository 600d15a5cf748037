"""Latents and text embeddings, computed once: on disk under keys that cover all they depend on, in memory by use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from lora_forge.events import Emit, Warned
from lora_forge.i18n import word
from lora_forge.i18n.reasons import reason
from lora_forge.model.text import Conditioning, encode
from lora_forge.ports import BorrowedModel
from lora_forge.train.fingerprints import digest, module_fingerprint
from lora_forge.train.tensor_file import DamagedFileError, load_tree, save_tree

TEXT_MEMORY_BYTES = 64 * 2**20
LITTLE_TEXT_BYTES = 4 * 2**20
_NOT_KEPT = word("Encoded images and captions can't be kept in {folder}: {cause}.")


class TensorCache:
    """Tensors by key, one checked file each in ``folder``; with None nothing is kept.

    A damaged file counts as absent. When the disk refuses a file, that is said once and nothing more is written:
    a cache is no reason to stop.
    """

    def __init__(self, folder: Path | None, emit: Emit) -> None:
        self._folder, self._emit = folder, emit
        self._is_writable = folder is not None

    def load(self, key: str) -> dict[str, Tensor] | None:
        """What was saved under ``key``, on the CPU."""
        if self._folder is None:
            return None
        try:
            tree = load_tree(self._path(self._folder, key))
        except (OSError, DamagedFileError):
            return None
        return tree if isinstance(tree, dict) else None

    def save(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep ``tensors`` for the next run."""
        if self._folder is None or not self._is_writable:
            return
        try:
            save_tree(self._path(self._folder, key), tensors)
        except OSError as cause:
            self._is_writable = False
            self._emit(Warned(_NOT_KEPT, {"folder": self._folder, "cause": reason(cause)}))

    def _path(self, folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}.safetensors"


def text_fingerprint(model: BorrowedModel) -> str:
    """What text embeddings depend on besides caption and clip skip; empty when it can't be told."""
    if model.text_towers:
        towers = [(module_fingerprint(t.module), t.pad_token_id, t.prefix) for t in model.text_towers]
        return digest("text", model.info.family, *towers)
    return digest("host text", model.info.sha256) if model.info.sha256 else ""


class TextSource(Protocol):
    """Where a step's text embeddings come from."""

    def get(self, captions: Sequence[str]) -> Conditioning: ...

    def warm(self, captions: Sequence[str]) -> None: ...


class CachedText:
    """Text embeddings of a frozen text encoder.

    Captions that never change are on disk too; shuffled ones are encoded when they are met. In memory the latest stay,
    up to ``most_bytes`` (64 MB) on the model's device.
    """

    def __init__(
        self,
        model: BorrowedModel,
        clip_skip: int,
        cache: TensorCache,
        is_fixed: bool,
        most_bytes: int | None = None,
    ) -> None:
        self._model, self._clip_skip, self._cache = model, clip_skip, cache
        self._fingerprint = text_fingerprint(model)
        self._is_kept = is_fixed and bool(self._fingerprint)
        self._memory: OrderedDict[str, Conditioning] = OrderedDict()
        self._bytes, self._most_bytes = 0, TEXT_MEMORY_BYTES if most_bytes is None else most_bytes

    def get(self, captions: Sequence[str]) -> Conditioning:
        """Embeddings of the captions, in order: hidden (B, 77n, D), pooled (B, P) or None."""
        return self._join([self._one(caption) for caption in captions])

    def warm(self, captions: Sequence[str]) -> None:
        """Encode ``captions`` ahead; those on disk are only read."""
        for caption in captions:
            self._one(caption)

    def _one(self, caption: str) -> Conditioning:
        found = self._memory.get(caption)
        if found is None:
            found = self._load_or_encode(caption)
            self._memory[caption] = found
            self._bytes += _size(found)
            while self._bytes > self._most_bytes and len(self._memory) > 1:
                self._bytes -= _size(self._memory.popitem(last=False)[1])
        self._memory.move_to_end(caption)
        return found

    def _load_or_encode(self, caption: str) -> Conditioning:
        key = digest("text 1", self._fingerprint, self._clip_skip, caption) if self._is_kept else ""
        saved = self._cache.load(key) if key else None
        if saved is not None:
            return _from_tensors(saved, self._model.device)
        with torch.no_grad():
            made = _for_autograd(encode(self._model, [caption], self._clip_skip))
        if key:
            tensors = {"hidden": made.hidden, **({} if made.pooled is None else {"pooled": made.pooled})}
            self._cache.save(key, tensors)
        return made

    def _join(self, parts: Sequence[Conditioning]) -> Conditioning:
        """One batch; shorter captions get the empty caption's chunk behind them, as the hosts do."""
        if len(parts) == 1:
            return parts[0]
        length = max(part.hidden.shape[1] for part in parts)
        hidden = torch.cat([self._padded(part.hidden, length) for part in parts])
        pooled = [part.pooled for part in parts if part.pooled is not None]
        return Conditioning(hidden, torch.cat(pooled) if pooled else None)

    def _padded(self, hidden: Tensor, length: int) -> Tensor:
        missing = length - hidden.shape[1]
        if missing == 0:
            return hidden
        empty = self._one("").hidden
        return torch.cat([hidden, empty.repeat(1, missing // empty.shape[1], 1)], dim=1)


class LiveText:
    """Text embeddings of a text encoder that is being trained: made anew each time, with gradients."""

    def __init__(self, model: BorrowedModel, clip_skip: int) -> None:
        self._model, self._clip_skip = model, clip_skip

    def get(self, captions: Sequence[str]) -> Conditioning:
        """Embeddings of the captions, in order: hidden (B, 77n, D), pooled (B, P) or None."""
        return encode(self._model, list(captions), self._clip_skip)

    def warm(self, captions: Sequence[str]) -> None:
        """Nothing can be done ahead."""


def _for_autograd(conditioning: Conditioning) -> Conditioning:
    """A host that encodes text itself may do so in inference mode; a copy is an ordinary tensor again."""
    if not conditioning.hidden.is_inference():
        return conditioning
    pooled = conditioning.pooled
    return Conditioning(conditioning.hidden.clone(), None if pooled is None else pooled.clone())


def _size(conditioning: Conditioning) -> int:
    tensors = [conditioning.hidden, *([] if conditioning.pooled is None else [conditioning.pooled])]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _from_tensors(tensors: dict[str, Tensor], device: torch.device) -> Conditioning:
    pooled = tensors.get("pooled")
    return Conditioning(tensors["hidden"].to(device), None if pooled is None else pooled.to(device))
