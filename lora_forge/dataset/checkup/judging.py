"""From measures to findings; everything here is pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lora_forge.dataset.checkup.finding import Finding, Light
from lora_forge.dataset.checkup.seen import Seen
from lora_forge.dataset.checkup.thresholds import MANY
from lora_forge.dataset.checkup.words import UNJUDGED, WORDS
from lora_forge.dataset.faces.face import Detector
from lora_forge.i18n import Said

FACED = ("person", "anime")
"""Kinds whose photos should show one face each."""


@dataclass(frozen=True)
class Subject:
    """What is judged: readable photos, broken ones apart."""

    kind: str
    resolution_px: int
    detector: Detector
    photos: tuple[Seen, ...]
    broken: tuple[Seen, ...]

    @property
    def with_face(self) -> tuple[Seen, ...]:
        """Photos with a face, found or marked."""
        return tuple(seen for seen in self.photos if seen.main is not None)


def named(
    id: str,
    bad: Iterable[Seen],
    total: int,
    remedies: Sequence[str] = ("trash",),
    least: Light = "yellow",
    groups: tuple[tuple[str, ...], ...] = (),
    numbers: dict[str, float] | None = None,
    **values: object,
) -> Finding:
    """A finding that names single photos: green without any, ``least`` with some, red with a third of them or more."""
    photos = tuple(seen.key for seen in bad)
    words = WORDS[id]
    figures = {"count": float(len(photos)), **(numbers or {})}
    why = Said(words.why, values)
    if not photos:
        return Finding(id, "green", Said(words.good, values), why, numbers=figures)
    light: Light = "red" if len(photos) >= MANY * max(total, 1) else least
    title = Said(words.bad, {**values, "count": len(photos)})
    return Finding(id, light, title, why, photos, tuple(remedies), figures, groups)


def unjudged(id: str, why: Said) -> Finding:
    """A finding that can't be judged here, and why."""
    return Finding(id, "green", Said(UNJUDGED[id]), why, is_judged=False)
