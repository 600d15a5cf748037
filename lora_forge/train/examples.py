"""The tensors of a batch: latents, noise, timesteps, text and weights, all drawn from the visits alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from lora_forge.config import Family, TrainConfig
from lora_forge.dataset.captions import compose_caption
from lora_forge.dataset.prepared import PreparedImage, load_mask
from lora_forge.model.latents import VAE_FACTOR
from lora_forge.model.sdxl import added_conditions, time_ids
from lora_forge.model.text import Conditioning, count_chunks
from lora_forge.ports import BorrowedModel
from lora_forge.train import draws, objective
from lora_forge.train.cache import TextSource
from lora_forge.train.draws import Visit
from lora_forge.train.encoding import ImageLatents

_COUNTED_CAPTIONS = 4096  # of other processes, whose lengths are remembered: to count one takes half a millisecond


@dataclass(frozen=True)
class Inputs:
    """One batch on the model's device. ``latents``, ``noise``: float32 (B, 4, h, w); ``timesteps``: int64 (B,);
    ``time_ids``: (B, 6) for SDXL; ``weights``: (B,) by prior preservation; ``masks``: (B, 1, h, w) or None."""

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    text: Conditioning
    time_ids: Tensor | None
    weights: Tensor
    masks: Tensor | None

    def tensors(self) -> tuple[Tensor | None, ...]:
        """All of them, in the order that :meth:`of_tensors` takes."""
        text = self.text
        return (
            *(self.latents, self.noise, self.timesteps, text.hidden, text.pooled),
            *(self.time_ids, self.weights, self.masks),
        )

    @classmethod
    def of_tensors(cls, tensors: Sequence[Tensor | None]) -> Inputs:
        """The inverse of :meth:`tensors`."""
        found: Any = tensors
        latents, noise, timesteps, hidden, pooled, time_ids, weights, masks = found
        return cls(latents, noise, timesteps, Conditioning(hidden, pooled), time_ids, weights, masks)


def predict(model: BorrowedModel, noisy: Tensor, inputs: Inputs) -> Tensor:
    """What the UNet says of noisy latents (B, 4, h, w), in its own dtype."""
    added = None
    if inputs.time_ids is not None:
        added = added_conditions(inputs.text, inputs.time_ids)
        added = added and {key: value.to(model.dtype) for key, value in added.items()}
    answer: Tensor = model.unet(
        noisy.to(model.dtype),
        inputs.timesteps,
        encoder_hidden_states=inputs.text.hidden.to(model.dtype),
        added_cond_kwargs=added,
        return_dict=False,
    )[0]
    return answer


class Examples:
    """Batches of an encoded set."""

    def __init__(
        self,
        model: BorrowedModel,
        config: TrainConfig,
        images: Sequence[PreparedImage],
        latents: Sequence[ImageLatents],
        text: TextSource,
    ) -> None:
        self._model, self._config, self._text = model, config, text
        self._images, self._latents = images, latents
        self._chunks = lru_cache(_COUNTED_CAPTIONS)(partial(count_chunks, model))
        self._masks = [self._mask(index) for index in range(len(images))]
        self._time_ids = [size_ids(image) for image in images] if model.info.family is Family.SDXL else None

    def of(self, visits: Sequence[Visit], together: Sequence[Visit] = ()) -> Inputs:
        """What a step sees of these visits, which share a bucket. ``together``: their whole batch, the rest of
        which other processes compute: texts are filled up to the longest of all of them."""
        seed = self._config.seed
        flips = [self._config.flip and draws.is_flipped(visit, seed) for visit in visits]
        latents = torch.stack([self._side(visit.image, flip) for visit, flip in zip(visits, flips, strict=True)])
        timesteps = torch.tensor([draws.timestep(visit, seed) for visit in visits], device=latents.device)
        captions, others = [self.caption(visit) for visit in visits], set(together) - set(visits)
        text = self._text.get(captions, max((self._chunks(self.caption(visit)) for visit in others), default=1))
        indices = [visit.image for visit in visits]
        return self._inputs(indices, latents, self._noise(visits, latents), timesteps, text, flips)

    def fixed(self, image: int, noise: Tensor, timesteps: Tensor) -> Inputs:
        """One image at several timesteps, as it is: not flipped, its whole caption in its own order."""
        count = len(timesteps)
        latents = self._latents[image].plain.expand(count, -1, -1, -1)
        text = self._text.get([self.plain_caption(image)] * count)
        return self._inputs([image] * count, latents, noise, timesteps, text, [False] * count)

    def caption(self, visit: Visit) -> str:
        """The text of this visit."""
        image, config = self._images[visit.image], self._config
        return compose_caption(
            image.caption,
            "" if image.is_prior else config.trigger_word,
            keep_tokens=config.keep_tokens,
            shuffle=config.shuffle_tags,
            tag_dropout=config.tag_dropout,
            caption_dropout=config.caption_dropout,
            rng=draws.caption_rng(visit, config.seed),
        )

    def plain_caption(self, image: int) -> str:
        """The text of an image with nothing shuffled or dropped."""
        found, visit = self._images[image], Visit(image, "", 0, 0)
        return compose_caption(
            found.caption,
            "" if found.is_prior else self._config.trigger_word,
            keep_tokens=self._config.keep_tokens,
            shuffle=False,
            tag_dropout=0.0,
            caption_dropout=0.0,
            rng=draws.caption_rng(visit, self._config.seed),
        )

    def warm(self, captions: Sequence[str]) -> None:
        """Encode ``captions`` before a step asks for them."""
        self._text.warm(captions)

    def latent_shape(self, image: int) -> tuple[int, int, int]:
        """(4, h, w) of an image, which need not be encoded for it."""
        width, height = self._images[image].bucket
        return 4, height // VAE_FACTOR, width // VAE_FACTOR

    def is_usable(self, image: int) -> bool:
        """Whether an image has finite latents."""
        return bool(torch.isfinite(self._latents[image].plain).all())

    def _inputs(
        self,
        indices: Sequence[int],
        latents: Tensor,
        noise: Tensor,
        timesteps: Tensor,
        text: Conditioning,
        flips: Sequence[bool],
    ) -> Inputs:
        weights = [self._config.prior_weight if self._images[index].is_prior else 1.0 for index in indices]
        ids = None
        if self._time_ids is not None:
            ids = torch.stack([self._time_ids[index] for index in indices]).to(latents.device)
        return Inputs(
            latents,
            noise,
            timesteps,
            text,
            ids,
            torch.tensor(weights, device=latents.device),
            self._stacked_masks(indices, flips, latents),
        )

    def _side(self, image: int, is_flipped: bool) -> Tensor:
        latents = self._latents[image]
        return latents.flipped if is_flipped and latents.flipped is not None else latents.plain

    def _noise(self, visits: Sequence[Visit], like: Tensor) -> Tensor:
        shape = (like.shape[1], like.shape[2], like.shape[3])
        drawn = [draws.noise(visit, self._config.seed, shape) for visit in visits]
        noise = torch.stack([values for values, _ in drawn])
        if self._config.noise_offset:
            shift = torch.stack([channel for _, channel in drawn])
            noise = objective.offset_noise(noise, shift, self._config.noise_offset)
        return noise.to(like.device)

    def _mask(self, index: int) -> Tensor | None:
        mask = load_mask(self._images[index]) if self._config.masked_loss else None
        if mask is None:
            return None
        weights = objective.loss_mask(torch.from_numpy(mask), self.latent_shape(index)[1:], self._config.outside_weight)
        return weights.to(self._model.device)

    def _stacked_masks(self, indices: Sequence[int], flips: Sequence[bool], like: Tensor) -> Tensor | None:
        masks = [self._masks[index] for index in indices]
        if all(mask is None for mask in masks):
            return None
        whole = torch.ones(like.shape[2:], device=like.device)
        sides = [
            (whole if mask is None else mask.flip(-1) if flip else mask)[None]
            for mask, flip in zip(masks, flips, strict=True)
        ]
        return torch.stack(sides)


def size_ids(image: PreparedImage) -> Tensor:
    """SDXL's size conditioning (6,).

    The original counts as at least the target: a small photo that was enlarged should not teach blur to be normal.
    """
    width, height = image.bucket
    original = (max(image.original_size[0], width), max(image.original_size[1], height))
    return time_ids(original, (image.crop_left, image.crop_top), (width, height))
