"""How fast runs and test firings went here, kept in the data root: what "about how long" is judged by.

::

    speeds.json    {"version": 1, "speeds": [{"device": ..., "step_s": ..., ...}, ...]}    newest last
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge import atomic
from lora_forge.config import Family, TrainConfig

FILE_NAME = "speeds.json"
MOST_KEPT = 200
STANDARD_WEIGHTS = {Family.SD1: 0.86e9, Family.SD2: 0.87e9, Family.SDXL: 2.57e9}
"""Numbers in the UNet of a full-size checkpoint."""
_CHECKPOINTING_FACTOR = 1.33
_SAME_SIZE = 1.25
_WRITING = threading.Lock()


@dataclass(frozen=True)
class Shape:
    """What a step's time and memory hang on. ``base``: the checkpoint's name; ``device``: as a person knows it."""

    device: str
    family: str
    base: str
    precision: str
    resolution_px: int
    batch_size: int
    is_checkpointed: bool
    trains_text: bool
    rank: int
    conv_rank: int

    @classmethod
    def of(cls, config: TrainConfig, family: Family, base: str, device: str) -> Shape:
        """The shape of a run with ``config``."""
        return cls(
            device,
            family.value,
            base,
            config.precision,
            config.resolution_px,
            config.batch_size,
            config.gradient_checkpointing,
            config.te_learning_rate > 0,
            config.rank,
            config.conv_rank,
        )


@dataclass(frozen=True)
class Speed:
    """``batch_s``: forward and backward of one batch. ``preview_s``: of one picture by ``preview_steps`` sampler steps.
    ``encode_s``: of one photo. ``weights``: numbers in the UNet. ``peak_bytes``: most memory in use. None: not seen."""

    shape: Shape
    weights: int
    batch_s: float
    preview_s: float | None = None
    preview_steps: int = 0
    encode_s: float | None = None
    peak_bytes: int | None = None
    made_at: float = 0.0


@dataclass(frozen=True)
class Guess:
    """What a shape is likely to take. ``source``: ``measured`` for that very shape, ``similar`` judged by others."""

    batch_s: float
    preview_s: float | None
    encode_s: float | None
    peak_bytes: int | None
    source: str


def load_speeds(data_root: Path) -> list[Speed]:
    """All that is known, oldest first; nothing where the file is missing or damaged: it can be measured again."""
    try:
        plain = json.loads((data_root / FILE_NAME).read_text(encoding="utf-8"))
        entries = plain["speeds"] if plain["version"] == 1 else []
        return [Speed(**{**one, "shape": Shape(**one["shape"])}) for one in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def note_speed(data_root: Path, speed: Speed) -> None:
    """Keep ``speed`` in place of an earlier one of its shape.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    with _WRITING:
        others = [one for one in load_speeds(data_root) if one.shape != speed.shape]
        before = next((one for one in load_speeds(data_root) if one.shape == speed.shape), None)
        kept = [*others, speed if before is None else _joined(before, speed)][-MOST_KEPT:]
        values: dict[str, Any] = {"version": 1, "speeds": [dataclasses.asdict(one) for one in kept]}
        atomic.write_json(data_root / FILE_NAME, values)


def guess(speeds: Iterable[Speed], shape: Shape, preview_steps: int) -> Guess | None:
    """What ``shape`` takes: as measured, else judged by the nearest of the same device and size of checkpoint."""
    here = [one for one in speeds if (one.shape.device, one.shape.family) == (shape.device, shape.family)]
    same = [one for one in here if one.shape == shape]
    if same:
        return _scaled(same[-1], shape, preview_steps, "measured")
    weights = next((one.weights for one in reversed(here) if one.shape.base == shape.base), 0)
    weights = weights or int(STANDARD_WEIGHTS[Family(shape.family)])
    alike = [one for one in here if weights / _SAME_SIZE <= one.weights <= weights * _SAME_SIZE]
    if not alike:
        return None
    nearest = min(reversed(alike), key=lambda one: abs(_work(one.shape) / _work(shape) - 1))
    return _scaled(nearest, shape, preview_steps, "similar")


def _joined(before: Speed, now: Speed) -> Speed:
    """``now``, with what it has not seen from ``before``."""
    has_preview = now.preview_s is not None
    return dataclasses.replace(
        now,
        preview_s=now.preview_s if has_preview else before.preview_s,
        preview_steps=now.preview_steps if has_preview else before.preview_steps,
        encode_s=now.encode_s if now.encode_s is not None else before.encode_s,
        peak_bytes=now.peak_bytes if now.peak_bytes is not None else before.peak_bytes,
    )


def _work(shape: Shape) -> float:
    """What a batch's time grows with: pixels, and the forward pass done twice."""
    return shape.resolution_px**2 * shape.batch_size * (_CHECKPOINTING_FACTOR if shape.is_checkpointed else 1.0)


def _scaled(speed: Speed, shape: Shape, preview_steps: int, source: str) -> Guess:
    area = (shape.resolution_px / speed.shape.resolution_px) ** 2
    preview = None
    if speed.preview_s is not None and speed.preview_steps:
        preview = speed.preview_s * area * preview_steps / speed.preview_steps
    return Guess(
        speed.batch_s * _work(shape) / _work(speed.shape),
        preview,
        None if speed.encode_s is None else speed.encode_s * area,
        speed.peak_bytes if source == "measured" else None,
        source,
    )
