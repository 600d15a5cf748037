"""What a run was made from, in a form that can be compared: a resumed run must mean the same thing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lora_forge.config import TrainConfig
from lora_forge.errors import TrainingError
from lora_forge.i18n import Said, Several, some_of, word

SAMPLES_PER_TENSOR = 64
# What may differ between a run and its resumption: it moves the end, or what is shown and saved along the way.
FREE_FIELDS = frozenset(
    (
        *("schema_version", "epochs", "max_steps", "save_every_epochs", "state_every_steps", "validation_photos"),
        *(
            "device",
            "precision",
            "gradient_checkpointing",
            "encode_ahead",
        ),  # the base's own dtype is part of its fingerprint
        *("preview_every_steps", "preview_prompts", "preview_steps", "preview_guidance"),
    )
)
_SETTING = word("{key} was {before} and is {now}")
_ANOTHER_BASE = word("the base checkpoint is another one, or held in another precision")
_CHANGED = word("photos changed (pixels, caption, mask or repeats): {photos}")
_GONE = word("photos gone: {photos}")
_NEW = word("photos new: {photos}")


def digest(*parts: object) -> str:
    """Short hash of the parts' text."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:32]


def module_fingerprint(module: nn.Module) -> str:
    """Hash of a network's names, shapes, types and of 64 evenly spread values of every tensor.

    Training moves nearly every value of nearly every tensor, so this tells two networks apart at the cost of reading
    one value in ten thousand.
    """
    described, samples = [], []
    for name, tensor in sorted(module.state_dict().items()):
        described.append(f"{name} {tuple(tensor.shape)} {tensor.dtype}")
        samples.append(_sample(tensor))
    values = torch.cat(samples).cpu() if samples else torch.zeros(0)
    raw = values.contiguous().view(torch.uint8).numpy().tobytes()
    return hashlib.sha256("\n".join(described).encode() + raw).hexdigest()[:32]


def _sample(tensor: Tensor) -> Tensor:
    flat = tensor.detach().reshape(-1) if tensor.is_contiguous() else tensor.detach()[:1].reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLES_PER_TENSOR)].float()


def config_fingerprint(config: TrainConfig) -> dict[str, Any]:
    """The settings that shape the result."""
    return {key: value for key, value in config.to_dict().items() if key not in FREE_FIELDS}


def prepared_fingerprint(images: Sequence[Any], uses_masks: bool) -> dict[str, str]:
    """A hash for each prepared image, by the name a person knows it by."""
    prints: dict[str, str] = {}
    for index, image in enumerate(images):
        mask = b""
        if uses_masks and image.mask_path is not None:
            mask = image.mask_path.read_bytes()
        name = image.source.name if image.source.name not in prints else f"{image.source.name} ({index})"
        prints[name] = digest(
            image.key,
            image.caption,
            image.repeats,
            image.is_prior,
            image.bucket,
            image.original_size,
            image.crop_left,
            image.crop_top,
            hashlib.sha256(mask).hexdigest(),
        )
    return prints


def check_same(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Both as made by ``run``: ``{"config": {...}, "images": {...}, "base": "..."}``.

    Raises:
        TrainingError: something that shapes the result differs; all differences are listed.
    """
    differences = [
        Said(_SETTING, {"key": key, "before": repr(then["config"].get(key)), "now": repr(now["config"].get(key))})
        for key in sorted({*then["config"], *now["config"]})
        if then["config"].get(key) != now["config"].get(key)
    ]
    differences += _image_differences(then["images"], now["images"])
    if then["base"] != now["base"]:
        differences.append(Said(_ANOTHER_BASE))
    if differences:
        raise TrainingError(
            "The run can't be resumed, because it would not be the same run: {differences}.",
            "Put that back as it was, or start a new run.",
            differences=Several(tuple(differences), "; "),
        )


def _image_differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[Said]:
    changed = {
        _CHANGED: [n for n in then if n in now and then[n] != now[n]],
        _GONE: [n for n in then if n not in now],
        _NEW: [n for n in now if n not in then],
    }
    return [Said(template, {"photos": some_of(names)}) for template, names in changed.items() if names]
