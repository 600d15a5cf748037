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
from lora_forge.train.descent import Grouping, Taken, translations

SAMPLES_PER_TENSOR = 64
# What may differ between a run and its resumption: it moves the end, or what is shown and saved along the way.
FREE_FIELDS = frozenset(
    (
        *("schema_version", "epochs", "max_steps", "save_every_epochs", "state_every_steps", "validation_photos"),
        *(
            "device",
            "precision",
            "gradient_checkpointing",
            "base_storage",
            "encode_ahead",
            "graphs",
        ),  # the base's own dtype is part of its fingerprint
        *("preview_every_steps", "preview_share", "preview_prompts", "preview_steps", "preview_guidance"),
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


def config_fingerprint(config: TrainConfig, grouped: Grouping | None = None, processes: int = 1) -> dict[str, Any]:
    """The settings that shape the result. ``grouped``: where steps are put together by other ones.

    The batch is that of all ``processes``: two of them with batch_size 1 are one with 2.
    """
    shaping = {key: value for key, value in config.to_dict().items() if key not in FREE_FIELDS}
    shaping["batch_size"] *= processes
    return {**shaping, **(grouped.noted() if grouped else {})}


def number(*parts: object) -> int:
    """A number (under 2**48) that tells the parts from others, for processes to compare."""
    return int(digest(*parts)[:12], 16)


def names(images: Sequence[Any]) -> list[str]:
    """The names a person knows the images by, with a number behind one that is there already."""
    found: dict[str, None] = {}
    for index, image in enumerate(images):
        found[image.source.name if image.source.name not in found else f"{image.source.name} ({index})"] = None
    return list(found)


def prepared_fingerprint(images: Sequence[Any], uses_masks: bool) -> dict[str, str]:
    """A hash for each prepared image, by the name a person knows it by."""
    prints: dict[str, str] = {}
    for name, image in zip(names(images), images, strict=True):
        mask = b""
        if uses_masks and image.mask_path is not None:
            mask = image.mask_path.read_bytes()
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


def paired(before: Sequence[Any], now: Sequence[Any], uses_masks: bool) -> dict[str, tuple[str, str]]:
    """The fingerprints of the same photos in two sizes, by name."""
    then, since = prepared_fingerprint(before, uses_masks), prepared_fingerprint(now, uses_masks)
    return {name: (was, since[name]) for name, was in then.items() if name in since}


def check_same(then: Mapping[str, Any], now: Mapping[str, Any], taken: Sequence[Taken] = ()) -> None:
    """Both as made by ``run``: ``{"config": {...}, "images": {...}, "base": "..."}``.

    ``taken``: what the run itself has lowered since for want of memory, which may differ, all of it or a beginning.

    Raises:
        TrainingError: something that shapes the result differs; all differences are listed.
    """
    found: list[list[Said]] = [_differences(one, now) for one in translations(then, taken)]
    if all(found):
        fewest: list[Said] = min(reversed(found), key=len)
        raise TrainingError(
            "The run can't be resumed, because it would not be the same run: {differences}.",
            "Put that back as it was, or start a new run.",
            differences=Several(tuple(fewest), "; "),
        )


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Said]:
    differences = [
        Said(_SETTING, {"key": key, "before": repr(then["config"].get(key)), "now": repr(now["config"].get(key))})
        for key in sorted({*then["config"], *now["config"]})
        if then["config"].get(key) != now["config"].get(key)
    ]
    differences += _image_differences(then["images"], now["images"])
    if then["base"] != now["base"]:
        differences.append(Said(_ANOTHER_BASE))
    return differences


def _image_differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[Said]:
    changed = {
        _CHANGED: [n for n in then if n in now and then[n] != now[n]],
        _GONE: [n for n in then if n not in now],
        _NEW: [n for n in now if n not in then],
    }
    return [Said(template, {"photos": some_of(names)}) for template, names in changed.items() if names]
