"""What a run comes to before it is started: pictures, steps, time, memory and disk, and the one line that says so."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_forge.config import Family, TrainConfig
from lora_forge.dataset.crops import plan_cut
from lora_forge.dataset.manifest import Entry, Manifest, PrepareSettings, load_manifest
from lora_forge.dataset.prepared import manifest_path
from lora_forge.dataset.project import DEFAULT_GROUP, Project
from lora_forge.i18n import Said, word
from lora_forge.ports import Desk
from lora_forge.progress import size
from lora_forge.train.counting import batches_per_epoch, repeats_of, total_steps
from lora_forge.train.preview_share import expected_s
from lora_forge.work.speeds import Guess, Shape, guess, load_speeds

_PREVIEW_BYTES_A_PIXEL = 1.7  # PNGs of pictures, not drawings
_LATENT_BYTES_A_PIXEL = 4 * 4 / 64  # four float32 for 8 x 8 px
_UNKNOWN_BUCKET = "?"
_FILE_BYTES = 2  # float16
_STATE_BYTES = 4 * 3  # float32: the weight and AdamW's two means
_STATES = 3  # two stay, and a third is written before the oldest goes

_ONE_BY_ONE = word("{photos} photos x {repeats} repeats = {each} steps an epoch, {total} in all")
_IN_BATCHES = word("{photos} photos x {repeats} repeats, {batch} a step = {each} steps an epoch, {total} in all")
_BY_GROUPS = word("{photos} photos, {pictures} pictures an epoch = {each} steps an epoch, {total} in all")
_TIME = word("about {time}")
_TIME_SIMILAR = word("about {time} (judged by runs of other sizes)")
_TIME_UNKNOWN = word("time not measured yet (test firing measures it)")
_DISK_SHORT = word("{size} on disk")
_DISK = word("{files} LoRA files of {each}, with states and previews about {size}; {free} free on the disk.")
_DISK_FULL = word(
    "{files} LoRA files of {each}, with states and previews about {size}, but only {free} free on the disk. "
    "Make room, lower the rank, or save fewer epochs."
)


@dataclass(frozen=True)
class Seen:
    """One photo as a run will see it. ``bucket``: its training size, ``?`` while nobody has looked."""

    bucket: str
    repeats: int | None
    is_prior: bool


@dataclass(frozen=True)
class Count:
    """``photos``: to learn from; ``pictures``: seen in an epoch, prior preservation pictures included."""

    photos: int
    pictures: int
    steps_per_epoch: int
    total_steps: int
    is_by_groups: bool


@dataclass(frozen=True)
class DiskSentence:
    """``bytes``: what the run will write; ``fits`` is False where the disk has less."""

    sentence: Said
    fits: bool
    bytes: int
    short: Said


def photos_seen(project: Project, config: TrainConfig, manifest: Manifest | None = None) -> tuple[Seen, ...]:
    """The photos of ``project`` that can be read, as far as is known, with the sizes ``config`` trains them at.

    No photo is opened: shapes are those that preparing noted.
    """
    manifest = manifest or load_manifest(manifest_path(project))
    groups = {group.name: group for group in project.groups}
    seen = []
    bucket_of = _Buckets(config, manifest)
    for path in project.photo_paths():
        key = project.key(path)
        entry = manifest.entries.get(key) if manifest else None
        if entry is not None and entry.error:
            continue
        name = key.split("/")[0] if "/" in key else DEFAULT_GROUP
        group = groups.get(name) or project.group(name)
        seen.append(Seen(bucket_of(entry), group.repeats, group.is_prior))
    return tuple(seen)


class _Buckets:
    """The training size of a photo by its manifest entry."""

    def __init__(self, config: TrainConfig, manifest: Manifest | None) -> None:
        settings = PrepareSettings.from_config(config)
        self._is_needed = config.batch_size > 1  # shapes only matter to who shares a batch
        self._is_prepared = manifest is not None and manifest.settings == settings
        self._buckets = settings.buckets()
        self._known: dict[object, str] = {}

    def __call__(self, entry: Entry | None) -> str:
        if not self._is_needed or entry is None:
            return _UNKNOWN_BUCKET
        if self._is_prepared:
            return str(tuple(entry.bucket))
        key = (entry.original_size, entry.aim)
        if key not in self._known:
            self._known[key] = str(tuple(plan_cut(entry.original_size, self._buckets, entry.aim).bucket))
        return self._known[key]


def count(seen: Sequence[Seen], config: TrainConfig) -> Count:
    """Steps as the run will take them, as long as the shapes of all photos are known."""
    repeats = repeats_of(seen, config.repeats)
    batches = batches_per_epoch([one.bucket for one in seen], repeats, config.batch_size)
    each = -(-batches // config.gradient_accumulation)
    return Count(
        photos=sum(not one.is_prior for one in seen),
        pictures=sum(repeats),
        steps_per_epoch=each,
        total_steps=total_steps(each, config.epochs, config.max_steps),
        is_by_groups=any(one.is_prior or one.repeats for one in seen),
    )


def steps_said(counted: Count, config: TrainConfig) -> Said:
    """The part of the line that a person can check: photos x repeats = steps."""
    batch = config.batch_size * config.gradient_accumulation
    template = _BY_GROUPS if counted.is_by_groups else _ONE_BY_ONE if batch == 1 else _IN_BATCHES
    values = {
        "photos": counted.photos,
        "pictures": counted.pictures,
        "repeats": config.repeats,
        "batch": batch,
        "each": counted.steps_per_epoch,
        "total": counted.total_steps,
    }
    return Said(template, values)


def shape_of(desk: Desk, config: TrainConfig) -> Shape:
    """What the run's speed hangs on, on the device it would run on. Imports torch.

    Raises:
        CheckpointError: nothing that can be trained on is loaded.
    """
    from lora_forge.model.memory import training_memory

    info = desk.info()
    found = training_memory(info.family, config)
    return Shape.of(config, info.family, info.name, found.device, found.is_checkpointed)


def guessed(desk: Desk, config: TrainConfig) -> Guess | None:
    """What this machine is known, or likely, to take for a batch of this shape."""
    return guess(load_speeds(desk.data_root()), shape_of(desk, config), config.preview_steps)


def run_seconds(counted: Count, config: TrainConfig, speed: Guess) -> float:
    """About how long the whole run takes: steps, previews, and encoding every photo once."""
    steps_s = counted.total_steps * config.gradient_accumulation * speed.batch_s
    seconds = steps_s
    if config.preview_every_steps and speed.preview_s is not None:
        due, each_s = _previews_due(counted, config), max(1, len(config.preview_prompts)) * speed.preview_s
        seconds += expected_s(config.preview_share, due, each_s + speed.preview_s, each_s, steps_s)
    if speed.encode_s is not None:
        seconds += counted.photos * (2 if config.flip else 1) * speed.encode_s
    return seconds


def _previews_due(counted: Count, config: TrainConfig) -> int:
    """How many, with the one at the end."""
    return -(-counted.total_steps // config.preview_every_steps)


def duration_said(seconds: float) -> Said:
    """In the unit that a person would name."""
    if seconds < 90:
        return Said(word("{seconds} s"), {"seconds": max(1, round(seconds))})
    minutes = round(seconds / 60)
    if minutes < 100:
        return Said(word("{minutes} min"), {"minutes": minutes})
    return Said(word("{hours} h {minutes} min"), {"hours": minutes // 60, "minutes": minutes % 60})


def time_said(seconds: float | None, source: str) -> Said:
    """The line's part about time."""
    if seconds is None:
        return Said(_TIME_UNKNOWN)
    return Said(_TIME if source == "measured" else _TIME_SIMILAR, {"time": duration_said(seconds)})


def disk_sentence(family: Family, config: TrainConfig, counted: Count, folder: Path) -> DiskSentence:
    """What the run writes, against what is free where ``folder`` is. Imports torch."""
    from lora_forge.model.memory import trained_numbers

    numbers = trained_numbers(family, config)
    epochs = math.ceil(counted.total_steps / max(counted.steps_per_epoch, 1))
    files = math.ceil(epochs / config.save_every_epochs)
    each, area = numbers * _FILE_BYTES, config.resolution_px**2
    needed = files * each + _STATES * numbers * _STATE_BYTES + counted.photos * area * _LATENT_BYTES_A_PIXEL
    if config.preview_every_steps:
        pictures = _previews_due(counted, config) * max(1, len(config.preview_prompts))
        needed += pictures * area * _PREVIEW_BYTES_A_PIXEL
    free = _free_bytes(folder)
    fits = free is None or needed < free
    values = {"files": files, "each": size(each), "size": size(needed), "free": "?" if free is None else size(free)}
    short = Said(_DISK_SHORT, {"size": size(needed)})
    return DiskSentence(Said(_DISK if fits else _DISK_FULL, values), fits, int(needed), short)


def _free_bytes(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
