"""What a run has lowered for want of memory, on its disk: ``ladder.json`` beside its config.

::

    {"version": 1, "taken": [{"id", "stage", "step", "time", "before": {...}, "changes": {...}, "images": {...}}]}

A state from before a rung stays good after it, and one of a run that was killed in between too: :func:`translations`
says what its fingerprints would be by now, and nothing else is let through.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lora_forge import atomic
from lora_forge.config import TrainConfig
from lora_forge.dataset.prepared import PreparedSet

FILE_NAME = "ladder.json"
GROUPED_BY = "grouped_by"
"""In a config's fingerprint: the (batch_size, gradient_accumulation) that the run's steps were planned with."""


@dataclass(frozen=True)
class Taken:
    """One rung as it was taken. ``before``, ``changes``: the settings then and since. ``images``: the fingerprints of
    the photos before and after, where they were prepared again, and ``buckets`` their sizes before. ``step``: steps
    done by then."""

    id: str
    stage: str
    step: int
    before: Mapping[str, Any]
    changes: Mapping[str, Any]
    images: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    buckets: Mapping[str, str] = field(default_factory=dict)
    time: float = 0.0


@dataclass(frozen=True)
class Grouping:
    """How visits are put together into steps. ``is_split``: and then computed one by one. ``buckets``: the photos'
    sizes by name, where the steps were planned by others than those of now."""

    batch_size: int
    accumulation: int
    is_split: bool
    buckets: Mapping[str, str] = field(default_factory=dict)

    def labels(self, names: Sequence[str], now: Sequence[str]) -> list[str]:
        """The sizes to plan by."""
        return [self.buckets.get(name, bucket) for name, bucket in zip(names, now, strict=True)]

    def noted(self) -> dict[str, Any]:
        """Its part of a config's fingerprint."""
        return {GROUPED_BY: [self.batch_size, self.accumulation]} if self.is_split else {}


def load_taken(run_dir: Path) -> tuple[Taken, ...]:
    """The rungs of the run in ``run_dir``, oldest first; none where the file is missing or damaged."""
    try:
        plain = json.loads((run_dir / FILE_NAME).read_text(encoding="utf-8"))
        return tuple(_taken(one) for one in (plain["taken"] if plain["version"] == 1 else ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()


def note(run_dir: Path, rung: Taken) -> None:
    """Add ``rung``.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    kept = [asdict(one) for one in (*load_taken(run_dir), rung)]
    kept[-1]["time"] = round(time.time(), 3)
    atomic.write_json(run_dir / FILE_NAME, {"version": 1, "taken": kept})


def forget(run_dir: Path) -> None:
    """For a run that starts anew where another one left no state."""
    (run_dir / FILE_NAME).unlink(missing_ok=True)


def grouping(config: TrainConfig, taken: Iterable[Taken]) -> Grouping:
    """How the run's visits are put together: as planned at its start, so that its steps stay what they were."""
    now, buckets, found = (config.batch_size, config.gradient_accumulation), dict[str, str](), None
    for rung in taken:
        after = rung.changes.get("batch_size"), rung.changes.get("gradient_accumulation")
        if after == now and "batch_size" in rung.before:
            found = found or (int(rung.before["batch_size"]), int(rung.before["gradient_accumulation"]))
        buckets = buckets or dict(rung.buckets)
    return Grouping(*(found or now), found is not None, buckets)


def same_but_size(before: PreparedSet, now: PreparedSet) -> PreparedSet:
    """``now`` with the captions, repeats and groups that the run began with; photos that came since are left out."""
    known = {image.source: image for image in before.images}
    kept = [
        replace(image, caption=was.caption, group=was.group, repeats=was.repeats, is_prior=was.is_prior)
        for image in now.images
        if (was := known.get(image.source)) is not None
    ]
    return replace(now, images=tuple(kept))


def translations(prints: Mapping[str, Any], taken: Iterable[Taken]) -> list[Mapping[str, Any]]:
    """``prints`` of a state as they were, and as they are after each further rung."""
    found = [prints]
    for rung in taken:
        found.append(_after(found[-1], rung))
    return found


def _after(prints: Mapping[str, Any], rung: Taken) -> Mapping[str, Any]:
    """``prints`` after ``rung``, where it was taken from them; else as they are."""
    config = prints["config"]
    shaping = {key: value for key, value in rung.changes.items() if key in config}
    if any(config[key] != rung.before[key] for key in shaping):
        return prints
    more: dict[str, Any] = {}
    if "batch_size" in shaping:
        more[GROUPED_BY] = [rung.before["batch_size"], rung.before["gradient_accumulation"]]
    images = {
        name: rung.images[name][1] if name in rung.images and rung.images[name][0] == digest else digest
        for name, digest in prints["images"].items()
    }
    return {**prints, "config": {**config, **shaping, **more}, "images": images}


def _taken(plain: Mapping[str, Any]) -> Taken:
    images = {str(name): (str(pair[0]), str(pair[1])) for name, pair in plain["images"].items()}
    return Taken(**{**plain, "images": images, "buckets": dict(plain["buckets"])})
