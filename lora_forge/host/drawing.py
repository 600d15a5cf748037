"""Pictures from a borrowed model: requests sorted into batches, LoRA files kept at hand, adapters moved little."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch
from PIL.Image import Image

from lora_forge.evaluate.lora_tags import find_lora, split_prompt
from lora_forge.lora_file.weights import LoraWeights, combine
from lora_forge.lora_file.writer import load_lora
from lora_forge.model.latents import decode
from lora_forge.model.sampling import sample
from lora_forge.model.text import Conditioning
from lora_forge.model.webui_sampling import encode_alone, webui_latents
from lora_forge.ports import BorrowedModel, PictureRequest
from lora_forge.train.network import Network

WEBUI_SAMPLER = "dpmpp_2m"
_FILES_AT_HAND = 4
_TEXTS_AT_HAND = 64
# A batch of so many pixels fits where one SD1.5 picture of 1024 x 1024 does.
_BATCH_PX = 1024 * 1024

Loras = tuple[tuple[Path, float], ...]


@dataclass(frozen=True)
class Order:
    """A request, understood: the words alone, and the LoRA files with their strengths."""

    request: PictureRequest
    words: str
    loras: Loras

    @property
    def kind(self) -> tuple[object, ...]:
        """What pictures of one batch have in common."""
        asked = self.request
        sizes = (asked.width, asked.height, asked.steps, asked.guidance, asked.sampler, asked.clip_skip)
        return self.loras, *sizes


def parse_orders(requests: Sequence[PictureRequest], lora_dirs: Sequence[Path]) -> list[Order]:
    """Read the tags and find their files; a LoRA at strength 0 changes nothing and is left out.

    Raises:
        LoraFileError: a tag can't be read, or a file is missing.
    """
    found: dict[str, Path] = {}
    orders = []
    for request in requests:
        words, tags = split_prompt(request.prompt)
        for tag in tags:
            if tag.name not in found:
                found[tag.name] = find_lora(tag.name, lora_dirs)
        orders.append(Order(request, words, tuple((found[tag.name], tag.strength) for tag in tags if tag.strength)))
    return orders


class Drawing:
    """Draws orders; keeps the last few LoRA files in memory between calls."""

    def __init__(self, most_pictures: int) -> None:
        self._most_pictures = most_pictures
        self._files = LoraShelf()

    def draw(self, model: BorrowedModel, orders: Sequence[Order]) -> Iterator[Image]:
        """The pictures in the order of ``orders``; the model is free of adapters when this ends or is closed."""
        with Mount(model, self._files) as mount:
            texts = TextShelf(model)
            for _, alike in itertools.groupby(orders, key=lambda order: order.kind):
                for batch in _split(list(alike), self._most_pictures):
                    mount.hold(batch[0].loras)
                    for part, wanted, unwanted in _encode(batch, texts, mount.text_state):
                        yield from _sample(model, part, wanted, unwanted)

    def forget(self) -> None:
        """Let the LoRA files go."""
        self._files = LoraShelf()


class LoraShelf:
    """The last few LoRA files, in memory; a file that was rewritten is read again."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[Path, tuple[tuple[int, int], LoraWeights]] = OrderedDict()

    def get(self, path: Path) -> tuple[tuple[int, int], LoraWeights]:
        """(what the file was when it was read, its weights).

        Raises:
            LoraFileError: the file can't be used.
        """
        stat = path.stat() if path.is_file() else None
        stamp = (stat.st_mtime_ns, stat.st_size) if stat else (0, 0)
        kept = self._loaded.get(path)
        if kept is None or kept[0] != stamp:
            kept = (stamp, load_lora(path).weights)
            self._loaded[path] = kept
        self._loaded.move_to_end(path)
        while len(self._loaded) > _FILES_AT_HAND:
            self._loaded.popitem(last=False)
        return kept


class Mount:
    """The adapters on the model while it draws, changed as little as the next batch allows.

    Another strength of the file that is on: a number is set. Another file of the same layout (the next epoch): its
    values are copied in. Anything else: adapters off, new ones on. Several files go on as one, see
    :func:`lora_forge.lora_file.weights.combine`.
    """

    def __init__(self, model: BorrowedModel, files: LoraShelf) -> None:
        self._model = model
        self._files = files
        self._network: Network | None = None
        self._layout: dict[str, tuple[torch.Size, torch.Size]] = {}
        self._mounted: object = None
        self._loras: Loras = ()

    def __enter__(self) -> Mount:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._take_off()

    @property
    def text_state(self) -> Loras:
        """What text encodings depend on: the LoRAs that are on, if they reach into the text encoders."""
        return self._loras if self._network is not None and self._network.trains_text else ()

    def hold(self, loras: Loras) -> None:
        """Make the model draw with exactly these LoRAs.

        Raises:
            LoraFileError: a file can't be read, or is made for another kind of checkpoint.
        """
        if not loras:
            if self._network is not None:
                self._network.set_strength(0.0)
        elif len(loras) == 1:
            (path, strength) = loras[0]
            stamp, weights = self._files.get(path)
            self._put_on((path, stamp), weights, strength)
        else:
            loaded = [(self._files.get(path), strength) for path, strength in loras]
            stamps = tuple(stamp for (stamp, _), _ in loaded)
            if self._mounted != (loras, stamps):
                self._put_on((loras, stamps), combine((weights, strength) for (_, weights), strength in loaded), 1.0)
            elif self._network is not None:
                self._network.set_strength(1.0)
        self._loras = loras

    def _put_on(self, what: object, weights: LoraWeights, strength: float) -> None:
        layout = {name: (module.down.shape, module.up.shape) for name, module in weights.items()}
        if self._network is not None and self._mounted == what:
            self._network.set_strength(strength)
        elif self._network is not None and self._layout == layout:
            self._network.load_weights(weights, strength)
        else:
            self._take_off()
            self._network = Network.from_weights(self._model, weights, strength)
        self._mounted, self._layout = what, layout

    def _take_off(self) -> None:
        if self._network is not None:
            self._network.detach()
        self._network, self._mounted = None, None


class TextShelf:
    """Encoded texts of one drawing; each is encoded alone, so that none depends on its neighbours."""

    def __init__(self, model: BorrowedModel) -> None:
        self._model = model
        self._encoded: OrderedDict[tuple[str, int, Loras, bool], Conditioning] = OrderedDict()

    def get(self, words: str, clip_skip: int, text_state: Loras, is_negative: bool = False) -> Conditioning:
        """One row; see :func:`encode_alone`."""
        key = (words, clip_skip, text_state, is_negative)
        if key not in self._encoded:
            with torch.no_grad():
                self._encoded[key] = encode_alone(self._model, words, clip_skip, is_negative)
        self._encoded.move_to_end(key)
        while len(self._encoded) > _TEXTS_AT_HAND:
            self._encoded.popitem(last=False)
        return self._encoded[key]


def _split(alike: list[Order], most_pictures: int) -> Iterator[list[Order]]:
    asked = alike[0].request
    count = max(1, min(most_pictures, _BATCH_PX // max(1, asked.width * asked.height)))
    for first in range(0, len(alike), count):
        yield alike[first : first + count]


def _encode(
    batch: Sequence[Order], texts: TextShelf, state: Loras
) -> Iterator[tuple[list[Order], Conditioning, Conditioning]]:
    """The batch, cut where texts are not equally long."""
    told = []
    for order in batch:
        asked = order.request
        wanted = texts.get(order.words, asked.clip_skip, state)
        told.append((order, wanted, texts.get(asked.negative_prompt, asked.clip_skip, state, is_negative=True)))
    for _, group in itertools.groupby(told, key=lambda row: (row[1].hidden.shape, row[2].hidden.shape)):
        rows = list(group)
        yield [order for order, _, _ in rows], _stack([w for _, w, _ in rows]), _stack([u for _, _, u in rows])


def _stack(rows: Sequence[Conditioning]) -> Conditioning:
    pooled = [row.pooled for row in rows if row.pooled is not None]
    return Conditioning(torch.cat([row.hidden for row in rows]), torch.cat(pooled) if pooled else None)


def _sample(model: BorrowedModel, batch: Sequence[Order], wanted: Conditioning, unwanted: Conditioning) -> list[Image]:
    """DPM++ 2M as the WebUIs and our previews draw it, so that the same seed is the same picture everywhere."""
    asked = batch[0].request
    seeds, size = [order.request.seed for order in batch], (asked.width, asked.height)
    if asked.sampler == WEBUI_SAMPLER:
        latents = webui_latents(model, wanted, unwanted, size, asked.steps, asked.guidance, seeds)
        return [] if latents is None else decode(model, latents)
    return sample(model, wanted, unwanted, *size, asked.steps, asked.guidance, seeds, asked.sampler)
