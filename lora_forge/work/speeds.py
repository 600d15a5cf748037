"""How fast runs and test firings went here, kept in the data root: what "about how long" is judged by.

::

    speeds.json    {"version": 1, "speeds": [{"device": ..., "step_s": ..., ...}, ...]}    newest last
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge import atomic
from lora_forge.config import Family, TrainConfig
from lora_forge.config import load as load_config
from lora_forge.errors import ConfigError
from lora_forge.events import Emit, Event, RunEnded, RunStarted, StepDone
from lora_forge.ports import BorrowedModel

FILE_NAME = "speeds.json"
MOST_KEPT = 200
STANDARD_WEIGHTS = {Family.SD1: 0.86e9, Family.SD2: 0.87e9, Family.SDXL: 2.57e9}
"""Numbers in the UNet of a full-size checkpoint."""
_CHECKPOINTING_FACTOR = 1.33
_SAME_SIZE = 1.25
_LEAST_STEPS, _STEPS_JUDGED = 3, 50
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
    def of(cls, config: TrainConfig, family: Family, base: str, device: str, is_checkpointed: bool) -> Shape:
        """The shape of a run with ``config``, whose own word on checkpointing may be ``auto``."""
        return cls(
            device,
            family.value,
            base,
            config.precision,
            config.resolution_px,
            config.batch_size,
            is_checkpointed,
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
class Lent:
    """What is known of a lent checkpoint and where it is. ``weights``: numbers in its UNet."""

    family: Family
    base: str
    device: str
    weights: int

    @classmethod
    def of(cls, model: BorrowedModel) -> Lent:
        """That of ``model``. Imports torch."""
        from lora_forge.model.devices import short_name

        weights = sum(parameter.numel() for parameter in model.unet.parameters())
        return cls(model.info.family, model.info.name, short_name(model.device), weights)

    def shape(self, config: TrainConfig, is_checkpointed: bool) -> Shape:
        """The shape of a run with ``config`` on it."""
        return Shape.of(config, self.family, self.base, self.device, is_checkpointed)


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


class SpeedWatch:
    """An ``Emit`` that notes how fast the steps of a run go, at the end of each attempt."""

    def __init__(self, emit: Emit, data_root: Path, run_dir: Path, lent: Lent) -> None:
        self._emit, self._data_root, self._run_dir, self._lent = emit, data_root, run_dir, lent
        self._config: TrainConfig | None = None
        self._is_checkpointed = False
        self._rates: deque[float] = deque(maxlen=_STEPS_JUDGED)
        self._peak = 0

    def __call__(self, event: Event) -> None:
        """Hand ``event`` on."""
        self._emit(event)
        if isinstance(event, StepDone) and event.images_per_s > 0:
            self._rates.append(event.images_per_s)
            self._peak = max(self._peak, event.memory_bytes or 0)
        elif isinstance(event, (RunStarted, RunEnded)):
            with contextlib.suppress(OSError, ConfigError):  # a run is not to die of its speed
                self._note()
                self._config = load_config(self._run_dir / "config.json")
            self._is_checkpointed = isinstance(event, RunStarted) and event.is_checkpointed
            self._rates.clear()
            self._peak = 0

    def _note(self) -> None:
        config = self._config
        if config is None or len(self._rates) < _LEAST_STEPS:
            return
        batch_s = config.batch_size / statistics.median(self._rates)
        shape = self._lent.shape(config, self._is_checkpointed)
        peak = self._peak or None
        note_speed(self._data_root, Speed(shape, self._lent.weights, batch_s, peak_bytes=peak, made_at=time.time()))


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
