"""The tensors of a batch: every setting that touches them, one by one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lora_forge.config import Family
from lora_forge.dataset.buckets import Bucket
from lora_forge.dataset.prepared import PreparedImage, PreparedSet
from lora_forge.model.text import Conditioning
from lora_forge.ports import BorrowedModel
from lora_forge.train import draws, examples
from lora_forge.train.draws import Visit
from lora_forge.train.encoding import ImageLatents
from lora_forge.train.examples import Examples, size_ids
from tests.train import tiny


class Captions:
    """Remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.least_chunks: list[int] = []

    def get(self, captions: Any, least_chunks: int = 1) -> Conditioning:
        self.asked += captions
        self.least_chunks.append(least_chunks)
        return Conditioning(torch.zeros(len(captions), 77, tiny.WIDTH), torch.zeros(len(captions), 5))

    def warm(self, captions: Any) -> None:
        self.asked += captions


def made(model: BorrowedModel, images: Any, **changes: Any) -> tuple[Examples, Captions]:
    plain = torch.arange(4 * 8 * 8, dtype=torch.float32).view(4, 8, 8)
    captions = Captions()
    latents = [ImageLatents(plain + 1000 * index, -plain) for index in range(len(images))]
    return Examples(model, tiny.config(**changes), images, latents, captions), captions


def visits(count: int, image: int = 0) -> list[Visit]:
    return [Visit(image, "k", 1, repeat) for repeat in range(count)]


def test_noise_and_timesteps_follow_the_visit_not_the_batch(model: BorrowedModel, prepared: PreparedSet) -> None:
    batch, _ = made(model, prepared.images)
    whole = batch.of(visits(4))
    parts = [batch.of(visits(4)[:1]), batch.of(visits(4)[1:])]
    assert torch.equal(whole.noise, torch.cat([p.noise for p in parts]))
    assert torch.equal(whole.timesteps, torch.cat([p.timesteps for p in parts]))
    assert whole.timesteps.dtype == torch.int64
    assert len(set(whole.timesteps.tolist())) == 4


def test_a_share_of_a_batch_is_as_long_as_the_whole(model: BorrowedModel, prepared: PreparedSet) -> None:
    """Only what the others have is counted: a text source sees for itself what it is given."""
    long = ["snow, " * 60, "snow, " * 80]  # of 60 x 2 and 80 x 2 tokens and a trigger word
    images = [prepared.images[0], *(dataclasses.replace(prepared.images[0], caption=one) for one in long)]
    batch, captions = made(model, images)
    whole = [Visit(image, "k", 1, 0) for image in range(3)]
    for own in (whole, whole[:1], whole[1:2], whole[2:], whole[1:]):
        batch.of(own, whole)
    batch.of(whole[:1])
    assert captions.least_chunks == [1, 3, 3, 2, 1, 1]
    assert len(captions.asked) == 3 + 1 + 1 + 1 + 2 + 1


def test_the_offset_shifts_whole_channels(model: BorrowedModel, prepared: PreparedSet) -> None:
    plain = made(model, prepared.images)[0].of(visits(2)).noise
    shifted = made(model, prepared.images, noise_offset=0.1)[0].of(visits(2)).noise
    difference = shifted - plain
    assert_close(difference, difference[:, :, :1, :1].expand_as(difference), atol=1e-6, rtol=0)
    expected = torch.stack([draws.noise(v, 0, (4, 8, 8))[1] for v in visits(2)])
    assert_close(difference[:, :, :1, :1], 0.1 * expected, atol=1e-6, rtol=1e-4)


def test_flipping_takes_the_mirror_images_own_latents_and_mask(
    model: BorrowedModel, prepared: PreparedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.zeros((64, 64), dtype=np.float32)
    mask[:, :32] = 1.0
    monkeypatch.setattr(examples, "load_mask", lambda image: mask if image is prepared.images[0] else None)
    batch, _ = made(model, prepared.images, flip=True, masked_loss=True, outside_weight=0.25)
    inputs = batch.of([*visits(6), *visits(1, image=2)])
    flips = [draws.is_flipped(v, 0) for v in visits(6)]
    assert set(flips) == {True, False}
    assert inputs.masks is not None
    left = torch.full((1, 8, 8), 0.25)
    left[:, :, :4] = 1.0
    for row, flip in enumerate(flips):
        assert (inputs.latents[row].sum() < 0) == flip
        assert_close(inputs.masks[row], left.flip(-1) if flip else left)
    assert torch.equal(inputs.masks[6], torch.ones(1, 8, 8))


def test_no_mask_no_weights(model: BorrowedModel, prepared: PreparedSet) -> None:
    assert made(model, prepared.images, masked_loss=True)[0].of(visits(1)).masks is None


def test_prior_images_have_their_weight_and_no_trigger_word(model: BorrowedModel, prepared: PreparedSet) -> None:
    prior = dataclasses.replace(prepared.images[0], is_prior=True, caption="1girl")
    batch, captions = made(model, (prior, prepared.images[2]), prior_weight=0.3, shuffle_tags=False)
    assert_close(batch.of([*visits(1), *visits(1, image=1)]).weights, torch.tensor([0.3, 1.0]))
    assert captions.asked == ["1girl", "ohwx, tag2, hair, dress, snow"]


def test_captions_are_shuffled_by_visit_behind_the_trigger_word(model: BorrowedModel, prepared: PreparedSet) -> None:
    batch, captions = made(model, prepared.images)
    batch.of(visits(8))
    assert len(set(captions.asked)) > 3
    assert all(caption.startswith("ohwx, ") for caption in captions.asked)
    assert {frozenset(caption.split(", ")) for caption in captions.asked} == {
        frozenset(("ohwx", "tag0", "hair", "dress", "snow"))
    }
    dropped, asked = made(model, prepared.images, caption_dropout=1.0)
    dropped.of(visits(2))
    assert asked.asked == ["", ""]


def image_of(
    bucket: tuple[int, int], original: tuple[int, int], left: int, top: int, like: PreparedImage
) -> PreparedImage:
    return dataclasses.replace(like, bucket=Bucket(*bucket), original_size=original, crop_left=left, crop_top=top)


def test_sdxl_is_told_the_sizes(model: BorrowedModel, prepared: PreparedSet) -> None:
    large = image_of((832, 1216), (2000, 3000), 3, 7, prepared.images[0])
    assert size_ids(large).tolist() == [3000, 2000, 7, 3, 1216, 832]
    small = image_of((832, 1216), (400, 600), 0, 0, prepared.images[0])
    assert size_ids(small).tolist() == [1216, 832, 0, 0, 1216, 832]
    xl = dataclasses.replace(model, info=dataclasses.replace(model.info, family=Family.SDXL))
    ids = made(xl, (large, small))[0].of([*visits(1), *visits(1, image=1)]).time_ids
    assert ids is not None
    assert torch.equal(ids, torch.stack([size_ids(large), size_ids(small)]))
    assert made(model, (large,))[0].of(visits(1)).time_ids is None
