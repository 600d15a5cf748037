"""Identity by what a tagger sees, and obedience: the chance of every swap that was asked for.

Identity is one of two. By traits: of the tags that belong to the subject, how much of what the photos show of each is
seen. By all tags: the tags as one long vector, its cosine with the photos'. Both are relative to what a photo gets that
is left out of the set and looked at as a picture would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from PIL.Image import Image

from lora_forge.dataset.tags.texts import same
from lora_forge.dataset.trait_rules import COLOURS, axis_of
from lora_forge.evaluate.judges.likeness import LEAST_PHOTOS, Reference, apart
from lora_forge.evaluate.judges.readers import Chances, TagReader
from lora_forge.evaluate.scores import Asked, PictureScore

LEAST_SHOWN = 0.3
"""A trait that the photos themselves show less than this can't be seen by this tagger."""
LOST = 0.4
"""Health of a picture in which nothing of what every photo is of ("1girl") can be seen."""


class TraitLikeness:
    """How much of the ``traits`` is seen, beside what ``photos`` show of them."""

    def __init__(self, photos: Sequence[Chances], traits: Iterable[str]) -> None:
        shown = {same(tag): _mean([one.get(same(tag), 0.0) for one in photos]) for tag in traits}
        self.shown = {tag: mean for tag, mean in shown.items() if mean >= LEAST_SHOWN}
        own = [self._raw(one, ()) or 0.0 for one in photos]
        self.own = own
        self.usual = _mean(own) if len(own) >= LEAST_PHOTOS else None

    def likeness(self, chances: Chances, swaps: Sequence[str] = ()) -> float | None:
        """0 to 1; traits that a swap stands against are not asked for. None where nothing can be told."""
        found = self._raw(chances, swaps)
        return None if found is None or not self.usual else min(1.0, found / self.usual)

    def _raw(self, chances: Chances, swaps: Sequence[str]) -> float | None:
        wanted = [tag for tag in self.shown if not any(excludes(swap, tag) for swap in swaps)]
        shares = [min(1.0, chances.get(tag, 0.0) / self.shown[tag]) for tag in wanted]
        return _mean(shares) if shares else None


class VectorLikeness:
    """The cosine of all tags with those of ``photos``; tags in ``ignored`` say nothing (how many people there are)."""

    def __init__(self, photos: Sequence[Chances], ignored: Iterable[str] = ()) -> None:
        self._photos, self._ignored = tuple(photos), frozenset(map(same, ignored))
        self._references: dict[tuple[str, ...], tuple[tuple[str, ...], Reference]] = {}
        reference = self._reference(())[1]
        self.own, self.usual = reference.own.tolist(), reference.usual

    def likeness(self, chances: Chances, swaps: Sequence[str] = ()) -> float | None:
        """0 to 1; what a swap asks for, and what it stands against, does not count. None where nothing can be told."""
        tags, reference = self._reference(tuple(swaps))
        return reference.likeness(_row(chances, tags, self._rest(chances, tags, swaps)))

    def _reference(self, swaps: tuple[str, ...]) -> tuple[tuple[str, ...], Reference]:
        if swaps not in self._references:
            seen = {tag for photo in self._photos for tag in photo}
            tags = tuple(sorted(tag for tag in seen if self._counts(tag, swaps)))
            rows = [_row(photo, tags, 0.0) for photo in self._photos]
            vectors = np.stack(rows) if rows else np.zeros((0, len(tags) + 1), np.float32)
            self._references[swaps] = tags, Reference(vectors, apart(Reference(vectors).own.tolist()))
        return self._references[swaps]

    def _counts(self, tag: str, swaps: Sequence[str]) -> bool:
        return tag not in self._ignored and not any(same(swap) == tag or excludes(swap, tag) for swap in swaps)

    def _rest(self, chances: Chances, tags: Sequence[str], swaps: Sequence[str]) -> float:
        """The length of what the picture shows and no photo does."""
        known = set(tags)
        others = [chance for tag, chance in chances.items() if tag not in known and self._counts(tag, swaps)]
        return float(np.linalg.norm(others)) if others else 0.0


class TagJudge:
    """``likeness``: what identity is told by, None for nothing. ``due``: tags of what every photo is of."""

    def __init__(
        self, reader: TagReader, likeness: TraitLikeness | VectorLikeness | None = None, due: Sequence[str] = ()
    ) -> None:
        self._reader, self._likeness, self._due = reader, likeness, tuple(map(same, due))

    def score(self, images: Sequence[Image], asked: Asked) -> list[PictureScore]:
        """Identity, health, and the chance of each swap that the tagger knows.

        Raises:
            LoraForgeError: the tagger fails.
        """
        return [self._one(self._reader.chances(scored), asked) for scored in self._reader.read(images)]

    def _one(self, chances: Chances, asked: Asked) -> PictureScore:
        identity = self._likeness.likeness(chances, asked.swaps) if self._likeness is not None else None
        shown = {tag: chances.get(same(tag), 0.0) for tag in asked.swaps if self._reader.knows(tag)}
        health = 1.0
        if self._due and asked.expects_face:
            seen = max(chances.get(tag, 0.0) for tag in self._due)
            health = LOST + (1 - LOST) * min(1.0, 2 * seen)
        return PictureScore(identity, health, shown=shown)


def excludes(one: str, other: str) -> bool:
    """Whether a picture can't show both: another colour of the same thing, another length of hair."""
    axis, value = axis_of(one)
    if axis:
        return (axis, value) != axis_of(other) and axis == axis_of(other)[0]
    first, _, thing = same(one).partition(" ")
    colour, _, same_thing = same(other).partition(" ")
    return first in COLOURS and colour in COLOURS and thing == same_thing != "" and first != colour


def shares_of(photos: Sequence[Chances]) -> dict[str, float]:
    """By tag: the share of the photos that more likely than not show it."""
    counts: dict[str, int] = {}
    for photo in photos:
        for tag, chance in photo.items():
            counts[tag] = counts.get(tag, 0) + (chance >= 0.5)
    return {tag: count / len(photos) for tag, count in sorted(counts.items())}


def _row(chances: Chances, tags: Sequence[str], rest: float) -> npt.NDArray[np.float32]:
    return np.array([*(chances.get(tag, 0.0) for tag in tags), rest], dtype=np.float32)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
