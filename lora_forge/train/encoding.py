"""Photos become latents once, cached and checked: all before training, or each when a step first meets it.

Before training the next photos are read while the device encodes this one, and what was made is written meanwhile: the
VAE waits for neither.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from torch import Tensor

from lora_forge.dataset.prepared import PreparedImage, load_pixels
from lora_forge.errors import TrainingError
from lora_forge.events import Emit, Progress, StageDone, StageStarted, Warned
from lora_forge.i18n import word
from lora_forge.model.devices import put
from lora_forge.model.latents import VAE_FACTOR, BegunLatent, LatentEncoder, as_picture
from lora_forge.ports import BorrowedModel
from lora_forge.train.ahead import made_ahead, threads_for
from lora_forge.train.cache import TensorCache
from lora_forge.train.draws import latents_seed
from lora_forge.train.fingerprints import digest, module_fingerprint

STAGE = "encode"
_LEFT_OUT = word("{photo} is left out: the VAE makes no finite latents of it.")
_SKIPPED = word("The VAE makes no finite latents of {photo}: the steps that meet it are skipped.")
_ENCODED = word("{count} images, {computed} of them encoded now, the others from the cache")


@dataclass(frozen=True)
class ImageLatents:
    """Scaled latents of one image, float32 (4, H/8, W/8) on the model's device, and those of its mirror image."""

    plain: Tensor
    flipped: Tensor | None


class StoppedError(Exception):
    """A stop was asked for before the first step."""


class LatentsWhenMet(Sequence[ImageLatents]):
    """Latents of a set, each encoded when it is first asked for, to the very values of :func:`encode_set`.

    On a CPU nothing is gained by encoding the set in one go, and the first step comes the sooner the fewer photos
    it waits for. A photo without finite latents is named once and is NaN from then on: the steps that meet it are
    skipped like any other that is not finite.

    With ``keeps`` off none stays in memory: each is read from the cache's disk whenever it is asked for.
    """

    def __init__(
        self,
        model: BorrowedModel,
        images: Sequence[PreparedImage],
        has_flipped: bool,
        cache: TensorCache,
        emit: Emit,
        keeps: bool = True,
    ) -> None:
        self._model, self._images, self._has_flipped = model, images, has_flipped
        self._sides = _Sides(model, has_flipped, cache)
        self._emit, self._keeps = emit, keeps
        self._named: set[int] = set()
        self._met: dict[int, ImageLatents] = {}

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> ImageLatents: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[ImageLatents]: ...

    def __getitem__(self, index: int | slice) -> ImageLatents | Sequence[ImageLatents]:
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        if index in self._met:
            return self._met[index]
        found = self._encoded(index)
        if self._keeps:
            self._met[index] = found
        return found

    def _encoded(self, index: int) -> ImageLatents:
        image = self._images[index]
        encoder = LatentEncoder(self._model)  # a new one each time: its float32 copy must not lie in a run's way
        found, _ = self._sides.finish(encoder, self._sides.begin(encoder, self._sides.read(image)))
        if found is not None:
            return found
        if index not in self._named:
            self._named.add(index)
            self._emit(Warned(_SKIPPED, {"photo": image.source.name}))
        width, height = image.bucket
        nothing = torch.full((4, height // VAE_FACTOR, width // VAE_FACTOR), math.nan, device=self._model.device)
        return ImageLatents(nothing, nothing if self._has_flipped else None)


def encode_set(
    model: BorrowedModel,
    images: Sequence[PreparedImage],
    has_flipped: bool,
    cache: TensorCache,
    emit: Emit,
    should_stop: Callable[[], bool] = lambda: False,
    begun_ahead: int | None = None,
) -> tuple[list[PreparedImage], list[ImageLatents]]:
    """Latents of every image that has any; one whose latents are not finite even in float32 is left out and named.

    The mirror image is encoded for itself: the VAE does not commute with flipping. Photos are encoded one at a time on
    a card too: libraries choose their way to compute by the shape of a batch, and a photo's latents must not depend on
    which others were still missing. But a card is given so many photos (``begun_ahead``, 1) before it is waited for
    the first: so it never waits for Python. A CPU has done its work when it is begun.

    Raises:
        TrainingError: no image is left.
        DatasetError: a photo can't be read.
        StoppedError: ``should_stop`` said so between two images.
    """
    began = time.perf_counter()
    emit(StageStarted(STAGE, len(images)))
    sides = _Sides(model, has_flipped, cache)
    most_begun = int(model.device.type != "cpu") if begun_ahead is None else begun_ahead
    kept, latents, computed = [], [], 0
    with cache.behind(), made_ahead(sides.read, images, threads_for(model.device)) as reads:
        found_of_each = sides.in_order(reads, most_begun, should_stop)
        for done, (image, (found, is_new)) in enumerate(zip(images, found_of_each, strict=True), start=1):
            computed += is_new
            if found is not None:
                kept.append(image)
                latents.append(found)
            else:
                emit(Warned(_LEFT_OUT, {"photo": image.source.name}))
            seconds_left = (time.perf_counter() - began) / done * (len(images) - done)
            emit(Progress(STAGE, done, len(images), seconds_left))
    if not kept:
        raise TrainingError(
            "The VAE makes no finite latents of any of the {count} images.",
            "The checkpoint's VAE may be damaged; try another checkpoint.",
            count=len(images),
        )
    emit(StageDone(STAGE, _ENCODED, {"count": len(kept), "computed": computed}))
    return kept, latents


@dataclass(frozen=True)
class _Read:
    """What the disk has of a photo: for each side its key and, if the cache has it, its latents; the pixels, uint8
    (H, W, 3), where a side is missing."""

    image: PreparedImage
    saved: tuple[tuple[str, Tensor | None], ...]
    pixels: Tensor | None


_Begun = list[tuple[str, Tensor | BegunLatent]]
"""For each side its key, and its latents on the model's device or what was begun of them."""


class _Sides:
    """A photo's latents and those of its mirror image, in three parts: read, begin, finish."""

    def __init__(self, model: BorrowedModel, has_flipped: bool, cache: TensorCache) -> None:
        self._model, self._has_flipped, self._cache = model, has_flipped, cache
        self._vae = module_fingerprint(model.vae)

    def in_order(
        self, reads: Iterator[_Read], most_begun: int, should_stop: Callable[[], bool]
    ) -> Iterator[tuple[ImageLatents | None, bool]]:
        """Both latents of each photo (None: a side is not finite), and whether any were computed just now.

        Raises:
            StoppedError: ``should_stop`` said so before a photo was begun.
        """
        encoder = LatentEncoder(self._model)
        begun: deque[_Begun] = deque()
        for read in reads:
            if should_stop():
                raise StoppedError
            begun.append(self.begin(encoder, read))
            while len(begun) > most_begun:
                yield self.finish(encoder, begun.popleft())
        while begun:
            yield self.finish(encoder, begun.popleft())

    def read(self, image: PreparedImage) -> _Read:
        """What the disk has; any thread may call this, torch computes nothing in it.

        Raises:
            DatasetError: the photo can't be read.
        """
        sides = (False, True) if self._has_flipped else (False,)
        keys = [digest("latents 1", self._vae, self._model.vae_scale, image.key, side) for side in sides]
        saved = tuple((key, _finite(self._cache.load(key))) for key in keys)
        is_whole = all(latents is not None for _, latents in saved)
        return _Read(image, saved, None if is_whole else torch.from_numpy(load_pixels(image).copy()))

    def begin(self, encoder: LatentEncoder, read: _Read) -> _Begun:
        """Give the device its work."""
        device = self._model.device
        pixels = None if read.pixels is None else put(read.pixels, device)
        begun: _Begun = []
        for is_flipped, (key, saved) in enumerate(read.saved):
            if saved is not None:
                begun.append((key, put(saved, device)))
            elif pixels is not None:
                seed = latents_seed(read.image.key, bool(is_flipped))
                begun.append((key, encoder.begin(as_picture(pixels, bool(is_flipped)), seed)))
        return begun

    def finish(self, encoder: LatentEncoder, begun: _Begun) -> tuple[ImageLatents | None, bool]:
        """Wait for it and keep it; one photo's part of what :meth:`in_order` gives."""
        sides = [self._finished(encoder, key, side) for key, side in begun]
        is_new = any(isinstance(side, BegunLatent) for _, side in begun)
        found = [side for side in sides if side is not None]
        if len(found) < len(sides):
            return None, is_new
        return ImageLatents(found[0], found[1] if self._has_flipped else None), is_new

    def _finished(self, encoder: LatentEncoder, key: str, side: Tensor | BegunLatent) -> Tensor | None:
        if isinstance(side, Tensor):
            return side
        latent = encoder.finish(side)
        if latent is None:
            return None
        self._cache.save(key, {"latents": latent.on_cpu})
        return latent.there


def _finite(saved: dict[str, Tensor] | None) -> Tensor | None:
    """The latents that were saved, unless something made them NaN."""
    latents = None if saved is None else saved.get("latents")
    return latents if latents is not None and bool(np.isfinite(latents.numpy()).all()) else None
