"""Photos become latents once, cached and checked: all before training, or each when a step first meets it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from lora_forge.dataset.prepared import PreparedImage, load_pixels
from lora_forge.errors import TrainingError
from lora_forge.events import Emit, Progress, StageDone, StageStarted, Warned
from lora_forge.i18n import word
from lora_forge.model.latents import VAE_FACTOR, encode_images
from lora_forge.ports import BorrowedModel
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
        self._cache, self._emit, self._keeps = cache, emit, keeps
        self._named: set[int] = set()
        self._vae = module_fingerprint(model.vae)
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
        found, _ = _both_sides(self._model, image, self._has_flipped, self._vae, self._cache)
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
) -> tuple[list[PreparedImage], list[ImageLatents]]:
    """Latents of every image that has any; one whose latents are not finite even in float32 is left out and named.

    The mirror image is encoded for itself: the VAE does not commute with flipping.

    Raises:
        TrainingError: no image is left.
        StoppedError: ``should_stop`` said so between two images.
    """
    began = time.perf_counter()
    emit(StageStarted(STAGE, len(images)))
    vae = module_fingerprint(model.vae)
    kept, latents, computed = [], [], 0
    for done, image in enumerate(images, start=1):
        if should_stop():
            raise StoppedError
        found, is_new = _both_sides(model, image, has_flipped, vae, cache)
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


def _both_sides(
    model: BorrowedModel, image: PreparedImage, has_flipped: bool, vae: str, cache: TensorCache
) -> tuple[ImageLatents | None, bool]:
    """The latents (None: a side is not finite), and whether any were computed just now."""
    sides = [_encode(model, image, side, vae, cache) for side in ((False, True) if has_flipped else (False,))]
    found = [tensor for tensor, _ in sides if tensor is not None]
    is_new = any(is_new for _, is_new in sides)
    if len(found) < len(sides):
        return None, is_new
    return ImageLatents(found[0], found[1] if has_flipped else None), is_new


def _encode(
    model: BorrowedModel, image: PreparedImage, is_flipped: bool, vae: str, cache: TensorCache
) -> tuple[Tensor | None, bool]:
    """The latents (None: not finite), and whether they were computed just now."""
    key = digest("latents 1", vae, model.vae_scale, image.key, is_flipped)
    saved = cache.load(key)
    if saved is not None and torch.isfinite(saved["latents"]).all():
        return saved["latents"].to(model.device), False
    pixels = torch.tensor(load_pixels(image)).permute(2, 0, 1)
    picture = (pixels.flip(-1) if is_flipped else pixels).float() / 127.5 - 1.0
    with torch.no_grad():
        latents = _finite_latents(model, picture[None], latents_seed(image.key, is_flipped))
    if latents is None:
        return None, True
    cache.save(key, {"latents": latents})
    return latents, True


def _finite_latents(model: BorrowedModel, picture: Tensor, seed: int) -> Tensor | None:
    try:
        return encode_images(model, picture, [seed])[0]
    except TrainingError as error:  # not finite, in float32 neither
        if "index" not in error.values:
            raise
        return None
