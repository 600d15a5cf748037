"""What a run learns from: the photos that take part and the batches of them, encoded ahead or when they are met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_forge.config import TrainConfig
from lora_forge.dataset.prepared import PreparedImage
from lora_forge.events import CommandBox, Emit
from lora_forge.ports import BorrowedModel
from lora_forge.train.cache import LITTLE_TEXT_BYTES, CachedText, LiveText, TensorCache, TextSource
from lora_forge.train.captions_ahead import is_worthwhile
from lora_forge.train.encoding import ImageLatents, LatentsWhenMet, StoppedError, encode_set
from lora_forge.train.examples import Examples


@dataclass(frozen=True)
class Material:
    """``images``: those that take part. ``has_captions_ahead``: changing captions are encoded a stretch of steps ahead
    (see `captions_ahead`)."""

    images: Sequence[PreparedImage]
    examples: Examples
    has_captions_ahead: bool


def gathered(
    model: BorrowedModel,
    images: Sequence[PreparedImage],
    config: TrainConfig,
    cache_dir: Path,
    emit: Emit,
    commands: CommandBox,
) -> Material:
    """Encode ``images`` and their captions now, or leave it until they are met (``encode_ahead``).

    Raises:
        StoppedError: a stop was asked for meanwhile.
        TrainingError, DatasetError: see `encoding.encode_set`.
    """
    cache = TensorCache(cache_dir, emit)
    is_ahead = config.encode_ahead == "on" or (config.encode_ahead == "auto" and model.device.type != "cpu")
    latents: Sequence[ImageLatents]
    if is_ahead:
        model.residence.for_encoding(max(image.bucket[0] * image.bucket[1] for image in images))
        images, latents = encode_set(model, images, config.flip, cache, emit, commands.asks_to_stop)
    else:
        latents = LatentsWhenMet(model, images, config.flip, cache, emit, config.encode_ahead != "off")
    is_fixed = not config.shuffle_tags and config.tag_dropout == 0
    is_soon = is_ahead or model.residence.is_in_file
    has_captions_ahead = is_soon and not is_fixed and is_worthwhile(model, config)
    text = _text(model, config, cache, is_fixed, has_captions_ahead)
    examples = Examples(model, config, images, latents, text)
    if is_ahead and is_fixed:
        text.warm([examples.plain_caption(index) for index in range(len(images))], commands.asks_to_stop)
        if commands.asks_to_stop():
            raise StoppedError
    is_text_done = is_soon and is_fixed and not config.te_learning_rate
    model.residence.for_training(needs_text=not (is_text_done or has_captions_ahead))
    return Material(images, examples, has_captions_ahead)


def _text(
    model: BorrowedModel, config: TrainConfig, cache: TensorCache, is_fixed: bool, has_captions_ahead: bool
) -> TextSource:
    if config.te_learning_rate > 0:
        return LiveText(model, config.clip_skip)
    most_bytes = LITTLE_TEXT_BYTES if config.encode_ahead == "off" else None
    return CachedText(model, config.clip_skip, cache, is_fixed, most_bytes, _in_rows(model, has_captions_ahead))


def _in_rows(model: BorrowedModel, has_captions_ahead: bool) -> bool | None:
    """Many captions at a time on a card; None: as the text source finds right."""
    return True if has_captions_ahead and model.device.type != "cpu" else None
