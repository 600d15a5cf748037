"""What a LoRA file says of itself: the fields hosts read, and those other tools know from kohya's files.

Every value is text. Hosts parse what starts with "{" as JSON, and times with ``float()``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol

from lora_forge import __version__
from lora_forge.config import Family, TrainConfig
from lora_forge.ports import BaseInfo

_STABILITY = "https://github.com/Stability-AI/generative-models"


class ImageFacts(Protocol):
    """What :func:`dataset_facts` wants to know of an image; ``dataset.prepared.PreparedImage`` fits."""

    @property
    def caption(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def repeats(self) -> int | None: ...
    @property
    def is_prior(self) -> bool: ...
    @property
    def bucket(self) -> Any: ...


@dataclass(frozen=True)
class DatasetFacts:
    """The photos in numbers. Folders are named as kohya's, ``10_group``; ``buckets`` are (width, height) in px.

    Counts of ``buckets`` and the two totals include repeats, as kohya's do; tags are counted once an image.
    """

    folders: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    prior_folders: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    tags: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    buckets: Mapping[tuple[int, int], int] = field(default_factory=dict)
    train_images: int = 0
    prior_images: int = 0


@dataclass(frozen=True)
class RunFacts:
    """Where a run is when a file is saved.

    ``epoch``, ``step``: 1-based, of what is in the file. ``started_at``, ``saved_at``: Unix seconds. ``precision``:
    "fp32", "bf16" or "fp16", as used. ``session``: any text that is the same for all files of the run. ``processes``:
    how many trained together, each with the settings' batch.
    """

    info: BaseInfo
    config: TrainConfig
    dataset: DatasetFacts
    epoch: int
    step: int
    steps_per_epoch: int
    total_steps: int
    started_at: float
    saved_at: float
    precision: str = "fp32"
    session: str = ""
    processes: int = 1


def dataset_facts(images: Iterable[ImageFacts], default_repeats: int) -> DatasetFacts:
    """Count the images of a run; ``default_repeats`` is for images whose group sets none."""
    folders: dict[bool, dict[str, dict[str, int]]] = {False: {}, True: {}}
    tags: dict[str, Counter[str]] = {}
    buckets: Counter[tuple[int, int]] = Counter()
    totals = Counter({False: 0, True: 0})
    for image in images:
        repeats = image.repeats or default_repeats
        folder = f"{repeats}_{image.group}"
        entry = folders[image.is_prior].setdefault(folder, {"n_repeats": repeats, "img_count": 0})
        entry["img_count"] += 1
        totals[image.is_prior] += repeats
        buckets[image.bucket.width, image.bucket.height] += repeats
        if not image.is_prior:
            words = (tag.strip().lower() for tag in image.caption.split(","))
            tags.setdefault(folder, Counter()).update(word for word in words if word)
    return DatasetFacts(folders[False], folders[True], tags, buckets, totals[False], totals[True])


def build_metadata(facts: RunFacts, stem: str) -> dict[str, str]:
    """All fields of a file but its hashes, which the writer adds; ``stem``: the file's name without suffix."""
    fields = {
        **_identity(facts, stem),
        **_run(facts),
        **_network(facts.config),
        **_optimizer(facts.config),
        **_objective(facts.config),
        **_data(facts.config, facts.dataset),
        **_modelspec(facts, stem),
    }
    return {key: _text(value) for key, value in fields.items()}


def _identity(facts: RunFacts, stem: str) -> dict[str, object]:
    info = facts.info
    is_v = info.prediction_type == "v_prediction"
    versions = {Family.SD1: "sd_v1", Family.SD2: "sd_v2_v" if is_v else "sd_v2", Family.SDXL: "sdxl_base_v1-0"}
    return {
        "ss_output_name": stem,
        "ss_base_model_version": versions[info.family],
        "ss_v2": info.family is Family.SD2,
        "ss_sd_model_name": info.name,
        "ss_sd_model_hash": info.legacy_hash or None,
        "ss_new_sd_model_hash": info.sha256 or None,
        "ss_training_comment": f"LoRA Forge {__version__}",
        "ss_session_id": facts.session,
    }


def _run(facts: RunFacts) -> dict[str, object]:
    config = facts.config
    return {
        "ss_training_started_at": float(facts.started_at),
        "ss_training_finished_at": float(facts.saved_at),
        "ss_epoch": facts.epoch,
        "ss_steps": facts.step,
        "ss_num_epochs": config.epochs,
        "ss_max_train_steps": facts.total_steps,
        "ss_num_batches_per_epoch": facts.steps_per_epoch,
        "ss_batch_size_per_device": config.batch_size,
        "ss_total_batch_size": config.batch_size * facts.processes * config.gradient_accumulation,
        "ss_gradient_accumulation_steps": config.gradient_accumulation,
        "ss_gradient_checkpointing": config.gradient_checkpointing == "on",
        "ss_fp8_base": config.base_storage == "fp8",
        "ss_mixed_precision": {"fp32": "no"}.get(facts.precision, facts.precision),
        "ss_seed": config.seed,
        "ss_cache_latents": True,
        "ss_clip_skip": None if facts.info.family is Family.SDXL else config.clip_skip,
    }


def _network(config: TrainConfig) -> dict[str, object]:
    arguments: dict[str, str] = {}
    if config.conv_rank:
        arguments = {"conv_dim": str(config.conv_rank), "conv_alpha": str(config.conv_alpha or config.conv_rank / 2)}
    if config.rank_dropout:
        arguments["rank_dropout"] = str(config.rank_dropout)
    if config.lora_plus_ratio != 1.0:
        arguments["loraplus_lr_ratio"] = str(config.lora_plus_ratio)
    fields: dict[str, object] = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": config.rank,
        "ss_network_alpha": config.alpha or float(config.rank),
        "ss_network_dropout": None,
        "ss_scale_weight_norms": config.max_norm or None,
    }
    return {**fields, "ss_network_args": arguments} if arguments else fields


def _optimizer(config: TrainConfig) -> dict[str, object]:
    is_text_trained = config.te_learning_rate > 0
    return {
        "ss_learning_rate": config.learning_rate,
        "ss_unet_lr": config.learning_rate,
        "ss_text_encoder_lr": config.te_learning_rate if is_text_trained else None,
        "ss_optimizer": f"{config.optimizer}(weight_decay={config.weight_decay},betas={config.beta1},{config.beta2})",
        "ss_lr_scheduler": config.schedule,
        "ss_lr_warmup_steps": config.warmup_steps,
        "ss_max_grad_norm": config.max_grad_norm,
    }


def _objective(config: TrainConfig) -> dict[str, object]:
    return {
        "ss_loss_type": "l2",
        "ss_min_snr_gamma": config.min_snr_gamma or None,
        "ss_debiased_estimation": config.debiased,
        "ss_noise_offset": config.noise_offset or None,
        "ss_prior_loss_weight": config.prior_weight,
        "ss_masked_loss": config.masked_loss,
    }


def _data(config: TrainConfig, data: DatasetFacts) -> dict[str, object]:
    buckets = {
        str(i): {"resolution": [width, height], "count": count}
        for i, ((width, height), count) in enumerate(sorted(data.buckets.items()))
    }
    return {
        "ss_resolution": f"({config.resolution_px}, {config.resolution_px})",
        "ss_enable_bucket": config.use_buckets,
        "ss_min_bucket_reso": config.bucket_min_px,
        "ss_max_bucket_reso": config.bucket_max_px,
        "ss_bucket_info": {"buckets": buckets},
        "ss_dataset_dirs": data.folders,
        "ss_reg_dataset_dirs": data.prior_folders,
        "ss_tag_frequency": data.tags,
        "ss_num_train_images": data.train_images,
        "ss_num_reg_images": data.prior_images,
        "ss_flip_aug": config.flip,
        "ss_shuffle_caption": config.shuffle_tags,
        "ss_keep_tokens": config.keep_tokens,
        "ss_caption_tag_dropout_rate": config.tag_dropout,
        "ss_caption_dropout_rate": config.caption_dropout,
    }


def _modelspec(facts: RunFacts, stem: str) -> dict[str, object]:
    """https://github.com/Stability-AI/ModelSpec; Forge shows a file without an architecture as unknown."""
    info, config = facts.info, facts.config
    is_v, is_xl = info.prediction_type == "v_prediction", info.family is Family.SDXL
    architectures = {
        Family.SD1: "stable-diffusion-v1",
        Family.SD2: "stable-diffusion-v2-768-v" if is_v else "stable-diffusion-v2-512",
        Family.SDXL: "stable-diffusion-xl-v1-base",
    }
    fields: dict[str, object] = {
        "sai_model_spec": "1.0.1",
        "architecture": architectures[info.family] + "/lora",
        "implementation": _STABILITY if is_xl else "diffusers",
        "implementation_version": f"lora-forge/{__version__}",
        "title": stem,
        "date": datetime.fromtimestamp(int(facts.saved_at), timezone.utc).replace(tzinfo=None).isoformat(),
        "resolution": f"{config.resolution_px}x{config.resolution_px}",
        "prediction_type": "v" if is_v else "epsilon",
    }
    if config.trigger_word:
        fields["trigger_phrase"] = config.trigger_word
    if not is_xl:
        fields["encoder_layer"] = config.clip_skip
    return {f"modelspec.{key}": value for key, value in fields.items()}


def _text(value: object) -> str:
    """``value`` as kohya writes it; names of folders that are not UTF-8 lose what can't be written."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping) else str(value)
    return text.encode("utf-8", "replace").decode("utf-8")
