"""Latents and text embeddings, computed once: on disk under keys that cover all they depend on, in memory by use."""

from __future__ import annotations

import contextlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from lora_forge.atomic import clear_stale
from lora_forge.events import Emit, Warned
from lora_forge.i18n import word
from lora_forge.i18n.reasons import reason
from lora_forge.model.devices import fetch
from lora_forge.model.text import ROWS, TOKENS, Conditioning, caption_ids, encode, encode_rows
from lora_forge.ports import BorrowedModel
from lora_forge.train.ahead import made_ahead, threads_for
from lora_forge.train.fingerprints import digest, module_fingerprint
from lora_forge.train.tensor_file import DamagedFileError, load_tree, save_tree

TEXT_MEMORY_BYTES = 64 * 2**20
LITTLE_TEXT_BYTES = 4 * 2**20
MOST_WAITING = 64
_NOT_KEPT = word("Encoded images and captions can't be kept in {folder}: {cause}.")


_Group = list[tuple[str, tuple[Tensor, ...]]]
"""Captions with their token ids for each text encoder, (n, 77) each."""
Made = Callable[[], dict[str, Tensor]]
"""Tensors that may still be on their way from a card; asked for once, by the thread that writes them."""


class TensorCache:
    """Tensors by key, one checked file each in ``folder``; with None nothing is kept.

    A damaged file counts as absent, so no file waits for the disk: one that a power cut took is made anew. When the
    disk refuses a file, that is said once and nothing more is written: a cache is no reason to stop.

    One thread uses it. :meth:`load` may be called by any.
    """

    def __init__(self, folder: Path | None, emit: Emit) -> None:
        self._folder, self._emit = folder, emit
        self._is_writable = folder is not None
        self._refused: OSError | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._writing: deque[Future[None]] = deque()

    @contextlib.contextmanager
    def behind(self) -> Iterator[None]:
        """Within, :meth:`save` hands over to a thread; on leaving, whatever happened, all is written and it has ended.

        At most ``MOST_WAITING`` files wait: whoever makes them faster than the disk takes them is held up.
        """
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="lora-forge-cache") as self._pool:
                yield
                self._settle(0)
        finally:
            self._pool = None
            self._writing.clear()
            self._say_refused()

    def load(self, key: str) -> dict[str, Tensor] | None:
        """What was saved under ``key``, on the CPU."""
        if self._folder is None:
            return None
        try:
            tree = load_tree(self._path(self._folder, key))
        except (OSError, DamagedFileError):
            return None
        return tree if isinstance(tree, dict) else None

    def save(self, key: str, tensors: dict[str, Tensor] | Made) -> None:
        """Keep ``tensors``, which nobody changes any more, for the next run."""
        if self._folder is None or not self._is_writable:
            return
        path = self._path(self._folder, key)
        if self._pool is None:
            self._write(path, tensors)
        else:
            self._writing.append(self._pool.submit(self._write, path, tensors))
            self._settle(MOST_WAITING)
        self._say_refused()

    def _write(self, path: Path, tensors: dict[str, Tensor] | Made) -> None:
        if not self._is_writable:  # one of the files before this one was refused
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            clear_stale(path)
            save_tree(path, tensors() if callable(tensors) else tensors, waits_for_disk=False)
        except OSError as cause:
            self._is_writable, self._refused = False, cause

    def _settle(self, most: int) -> None:
        """Wait until ``most`` files at most are still to be written; what writing raised comes through."""
        while len(self._writing) > most:
            self._writing.popleft().result()

    def _say_refused(self) -> None:
        cause, self._refused = self._refused, None
        if cause is not None:
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

    def get(self, captions: Sequence[str], least_chunks: int = ...) -> Conditioning: ...

    def warm(self, captions: Sequence[str], should_stop: Callable[[], bool] = ...) -> None: ...


class CachedText:
    """Text embeddings of a frozen text encoder.

    Captions that never change are on disk too; shuffled ones are encoded when they are met. In memory the latest stay,
    up to ``most_bytes`` (64 MB) on the model's device.

    On a card captions that never change are encoded ``ROWS`` chunks at a time, always that many: what comes out does
    not depend on which captions were still missing. On a CPU nothing is gained by that. ``in_rows`` says otherwise:
    for shuffled captions that are warmed many at a time.
    """

    def __init__(
        self,
        model: BorrowedModel,
        clip_skip: int,
        cache: TensorCache,
        is_fixed: bool,
        most_bytes: int | None = None,
        in_rows: bool | None = None,
    ) -> None:
        self._model, self._clip_skip, self._cache = model, clip_skip, cache
        self._fingerprint = text_fingerprint(model)
        self._is_kept = is_fixed and bool(self._fingerprint)
        is_wanted = self._is_kept and model.device.type != "cpu" if in_rows is None else in_rows
        self._in_rows = is_wanted and model.host_encode is None
        self._memory: OrderedDict[str, Conditioning] = OrderedDict()
        self._bytes, self._most_bytes = 0, TEXT_MEMORY_BYTES if most_bytes is None else most_bytes

    def get(self, captions: Sequence[str], least_chunks: int = 1) -> Conditioning:
        """Embeddings of the captions, in order: hidden (B, 77n, D), n >= ``least_chunks``, pooled (B, P) or None."""
        return self._join([self._one(caption) for caption in captions], least_chunks)

    def warm(self, captions: Sequence[str], should_stop: Callable[[], bool] = lambda: False) -> None:
        """Encode ``captions`` ahead, each once; those on disk are only read. ``should_stop`` is asked between two."""
        for caption in self._memory.keys() & set(captions):  # not to be the first to go
            self._memory.move_to_end(caption)
        wanted = [caption for caption in dict.fromkeys(captions) if caption not in self._memory]
        with contextlib.ExitStack() as stack:
            saved: Iterator[dict[str, Tensor] | None] = map(self._saved, wanted)
            if self._in_rows:  # a CPU takes 60 ms for a caption and 0.4 ms for its file: threads cost it more than that
                stack.enter_context(self._cache.behind())
                saved = stack.enter_context(made_ahead(self._saved, wanted, threads_for(self._model.device)))
            self._warm(wanted, saved, should_stop)

    def _warm(
        self, wanted: Sequence[str], saved: Iterator[dict[str, Tensor] | None], should_stop: Callable[[], bool]
    ) -> None:
        group: _Group = []
        for caption, found in zip(wanted, saved, strict=True):
            if should_stop():
                return
            if found is not None:
                self._keep(caption, _from_tensors(found, self._model.device))
            elif not self._in_rows:
                self._encode(caption)
            else:
                group = self._grown(group, caption)
        self._encode_group(group)

    def _one(self, caption: str) -> Conditioning:
        if caption not in self._memory:
            saved = self._saved(caption)
            if saved is not None:
                return self._keep(caption, _from_tensors(saved, self._model.device))
            if self._in_rows:
                self._encode_group(self._grown([], caption))
            else:
                self._encode(caption)
        self._memory.move_to_end(caption)
        return self._memory[caption]

    def _saved(self, caption: str) -> dict[str, Tensor] | None:
        """What the disk has; any thread may call this."""
        return self._cache.load(self._key(caption)) if self._is_kept else None

    def _key(self, caption: str) -> str:
        return digest("text 1", self._fingerprint, self._clip_skip, caption)

    def _encode(self, caption: str) -> None:
        with torch.no_grad():
            made = _for_autograd(encode(self._model, [caption], self._clip_skip))
        self._keep(caption, made)
        if self._is_kept:
            self._save(caption, fetch(made.hidden), None if made.pooled is None else fetch(made.pooled))

    def _grown(self, group: _Group, caption: str) -> _Group:
        """``group`` with one more caption; encoded first when that would not fit."""
        ids = caption_ids(self._model, caption)
        if group and sum(len(each[0]) for _, each in group) + len(ids[0]) > ROWS:
            self._encode_group(group)
            group = []
        return [*group, (caption, ids)]

    def _encode_group(self, group: _Group) -> None:
        """Encode all of ``group`` in one go. The copies for the disk are waited for by the thread that writes them."""
        if not group:
            return
        with torch.no_grad():
            rows = encode_rows(self._model, [ids for _, ids in group], self._clip_skip)
        hidden = fetch(rows.hidden) if self._is_kept else None
        pooled = fetch(rows.pooled) if self._is_kept and rows.pooled is not None else None
        begin = 0
        for caption, ids in group:
            place = slice(begin, begin + len(ids[0]))
            last = None if rows.pooled is None else _first(rows.pooled[place])
            self._keep(caption, Conditioning(_joined(rows.hidden[place]), last))
            copied = None if pooled is None else partial(_of, pooled, place, _first)
            if hidden is not None:
                self._save(caption, partial(_of, hidden, place, _joined), copied)
            begin = place.stop

    def _save(self, caption: str, hidden: Callable[[], Tensor], pooled: Callable[[], Tensor] | None) -> None:
        self._cache.save(
            self._key(caption), lambda: {"hidden": hidden(), **({} if pooled is None else {"pooled": pooled()})}
        )

    def _keep(self, caption: str, found: Conditioning) -> Conditioning:
        """Hold ``found`` in memory, and what was asked for longest ago no more."""
        self._memory[caption] = found
        self._bytes += _size(found)
        while self._bytes > self._most_bytes and len(self._memory) > 1:
            self._bytes -= _size(self._memory.popitem(last=False)[1])
        return found

    def _join(self, parts: Sequence[Conditioning], least_chunks: int) -> Conditioning:
        """One batch; shorter captions get the empty caption's chunk behind them, as the hosts do."""
        length = max(least_chunks * TOKENS, *(part.hidden.shape[1] for part in parts))
        if len(parts) == 1 and parts[0].hidden.shape[1] == length:
            return parts[0]
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

    def get(self, captions: Sequence[str], least_chunks: int = 1) -> Conditioning:
        """Embeddings of the captions, in order: hidden (B, 77n, D), n >= ``least_chunks``, pooled (B, P) or None."""
        return encode(self._model, list(captions), self._clip_skip, least_chunks)

    def warm(self, captions: Sequence[str], should_stop: Callable[[], bool] = lambda: False) -> None:
        """Nothing can be done ahead."""


def _for_autograd(conditioning: Conditioning) -> Conditioning:
    """A host that encodes text itself may do so in inference mode; a copy is an ordinary tensor again."""
    if not conditioning.hidden.is_inference():
        return conditioning
    pooled = conditioning.pooled
    return Conditioning(conditioning.hidden.clone(), None if pooled is None else pooled.clone())


def _joined(rows: Tensor) -> Tensor:
    """A caption's chunks (n, 77, D) as (1, 77n, D), free of the other rows' memory."""
    return rows.reshape(1, -1, rows.shape[-1]).clone()


def _first(rows: Tensor) -> Tensor:
    """What counts of a caption's pooled chunks (n, P): (1, P), free of the other rows' memory."""
    return rows[:1].clone()


def _of(copied: Callable[[], Tensor], place: slice, take: Callable[[Tensor], Tensor]) -> Tensor:
    return take(copied()[place])


def _size(conditioning: Conditioning) -> int:
    tensors = [conditioning.hidden, *([] if conditioning.pooled is None else [conditioning.pooled])]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _from_tensors(tensors: dict[str, Tensor], device: torch.device) -> Conditioning:
    pooled = tensors.get("pooled")
    return Conditioning(tensors["hidden"].to(device), None if pooled is None else pooled.to(device))
