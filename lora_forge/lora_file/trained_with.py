"""The settings a LoRA was trained with, as its metadata tells them in kohya's words, as ours to use again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lora_forge.lora_file.facts import plain
from lora_forge.presets import kohya
from lora_forge.presets.brought import Brought, Left, checked

_CALL = re.compile(r"\s*([\w.]+)\s*(?:\((.*)\))?\s*", re.DOTALL)
_NEXT = re.compile(r",\s*(?=\w+=)")
# Theirs in the metadata -> theirs in the settings, where another word is used or the prefix alone goes.
_SAME = {
    "ss_learning_rate": "learning_rate",
    "ss_unet_lr": "unet_lr",
    "ss_text_encoder_lr": "text_encoder_lr",
    "ss_network_module": "network_module",
    "ss_network_dim": "network_dim",
    "ss_network_alpha": "network_alpha",
    "ss_network_dropout": "network_dropout",
    "ss_scale_weight_norms": "scale_weight_norms",
    "ss_lr_scheduler": "lr_scheduler",
    "ss_lr_warmup_steps": "lr_warmup_steps",
    "ss_max_grad_norm": "max_grad_norm",
    "ss_num_epochs": "max_train_epochs",
    "ss_batch_size_per_device": "train_batch_size",
    "ss_gradient_accumulation_steps": "gradient_accumulation_steps",
    "ss_gradient_checkpointing": "gradient_checkpointing",
    "ss_fp8_base": "fp8_base",
    "ss_clip_skip": "clip_skip",
    "ss_resolution": "resolution",
    "ss_enable_bucket": "enable_bucket",
    "ss_min_bucket_reso": "min_bucket_reso",
    "ss_max_bucket_reso": "max_bucket_reso",
    "ss_flip_aug": "flip_aug",
    "ss_shuffle_caption": "shuffle_caption",
    "ss_keep_tokens": "keep_tokens",
    "ss_caption_tag_dropout_rate": "caption_tag_dropout_rate",
    "ss_caption_dropout_rate": "caption_dropout_rate",
    "ss_min_snr_gamma": "min_snr_gamma",
    "ss_debiased_estimation": "debiased_estimation_loss",
    "ss_noise_offset": "noise_offset",
    "ss_multires_noise_iterations": "multires_noise_iterations",
    "ss_prior_loss_weight": "prior_loss_weight",
    "ss_masked_loss": "masked_loss",
    "ss_loss_type": "loss_type",
    "ss_ip_noise_gamma": "ip_noise_gamma",
    "ss_zero_terminal_snr": "zero_terminal_snr",
}
_WORDS = ("network_module", "lr_scheduler", "loss_type")


def settings_of(metadata: Mapping[str, str]) -> Brought:
    """What of the training means the same here, what was left and why; all empty where the file tells nothing."""
    theirs: dict[str, Any] = {}
    for key, name in _SAME.items():
        value = plain(metadata.get(key))
        if value is not None and value not in ("None", "Dynamic") and (name not in _WORDS or isinstance(value, str)):
            theirs[name] = value
    _first_set(metadata, theirs)
    _optimizer(str(metadata.get("ss_optimizer") or ""), theirs)
    ours = _our_optimizer(metadata, theirs)
    arguments = plain(metadata.get("ss_network_args"))
    if isinstance(arguments, dict):
        theirs["network_args"] = [f"{key}={value}" for key, value in arguments.items()]
    if theirs.get("text_encoder_lr") is None and "unet_lr" in theirs:
        theirs["network_train_unet_only"] = True
    if isinstance(theirs.get("resolution"), (tuple, list)):
        theirs["resolution"] = ",".join(str(side) for side in theirs["resolution"])
    found = kohya.translated(theirs) if theirs else kohya.Translated()
    values, refused = checked({**found.values, **ours, **_repeats(metadata)})
    left = tuple(Left(key, str(value)[:120], why) for key, value, why in found.left)
    return Brought(values, tuple(values), (*refused, *left))


def _optimizer(said: str, theirs: dict[str, Any]) -> None:
    """``torch.optim.adamw.AdamW(weight_decay=0.01,betas=(0.9, 0.999))``: its name and arguments."""
    found = _CALL.fullmatch(said)
    if not said or said == "None" or not found:
        return
    theirs["optimizer_type"] = found[1].rpartition(".")[2]
    pairs = (one.partition("=") for one in _NEXT.split(found[2] or "") if "=" in one)
    arguments = [f"{key}=({value})" if _is_bare_row(value) else f"{key}={value}" for key, _, value in pairs]
    if arguments:
        theirs["optimizer_args"] = arguments


def _is_bare_row(value: str) -> bool:
    return "," in value and not value.startswith(("(", "["))


def _our_optimizer(metadata: Mapping[str, str], theirs: dict[str, Any]) -> dict[str, Any]:
    """Our own names, which need no translation: here every optimizer takes the learning rate."""
    if not metadata.get("ss_training_comment", "").startswith("LoRA Forge") or "optimizer_type" not in theirs:
        return {}
    values = {"optimizer": theirs.pop("optimizer_type")}
    for pair in theirs.pop("optimizer_args", ()):
        key, _, value = pair.partition("=")
        read = plain(value)
        values.update({"beta1": read[0], "beta2": read[1]} if key == "betas" else {key: read})
    return values


def _first_set(metadata: Mapping[str, str], theirs: dict[str, Any]) -> None:
    """Newer files of sd-scripts keep sizes in ``ss_datasets``, a list with one entry a set."""
    sets = plain(metadata.get("ss_datasets"))
    one = sets[0] if isinstance(sets, list) and len(sets) == 1 and isinstance(sets[0], dict) else {}
    pairs = {"batch_size_per_device": "train_batch_size", "resolution": "resolution", "enable_bucket": "enable_bucket"}
    for key, name in {**pairs, "min_bucket_reso": "min_bucket_reso", "max_bucket_reso": "max_bucket_reso"}.items():
        if one.get(key) is not None:
            theirs.setdefault(name, one[key])


def _repeats(metadata: Mapping[str, str]) -> dict[str, int]:
    """Where all folders have the same."""
    folders = plain(metadata.get("ss_dataset_dirs"))
    rows = folders.values() if isinstance(folders, dict) else ()
    found = {one.get("n_repeats") for one in rows if isinstance(one, dict)}
    only = found.pop() if len(found) == 1 else None
    return {"repeats": only} if isinstance(only, int) and only > 0 else {}
