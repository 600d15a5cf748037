"""What taggers see in a picture, as chances by tag; a tagger's own threshold is a chance of one half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from PIL.Image import Image

from lora_forge.dataset.taggers.interrogators import Interrogator
from lora_forge.dataset.taggers.labels import CHARACTER, GENERAL, Label, spaced
from lora_forge.dataset.taggers.picking import FLOOR, Scored, sentence_tags
from lora_forge.dataset.taggers.tagger import Tagger, Thresholds
from lora_forge.dataset.tags.texts import same

Chances = Mapping[str, float]
"""By tag, folded by :func:`same`; what is not there was not seen."""


class TagReader(Protocol):
    """Sees tags."""

    @property
    def fingerprint(self) -> str:
        """What results may be remembered by."""
        ...

    @property
    def batch_size(self) -> int:
        """How many pictures it takes at once."""
        ...

    def knows(self, tag: str) -> bool:
        """Whether it could see ``tag`` at all."""
        ...

    def read(self, images: Sequence[Image]) -> list[list[Scored]]:
        """What it sees in RGB pictures.

        Raises:
            LoraForgeError: the model failed, or a file it needs is not there.
        """
        ...

    def chances(self, scored: Sequence[Scored]) -> Chances:
        """General and character tags of what :meth:`read` gave."""
        ...


class ScoringReader:
    """A tagger that gives scores."""

    def __init__(self, tagger: Tagger, thresholds: Thresholds) -> None:
        self._tagger, self._thresholds = tagger, thresholds
        self.fingerprint, self.batch_size = tagger.fingerprint, max(1, tagger.batch_size)
        self._known = {same(spaced(label.name)) for label in tagger.labels if label.category in (GENERAL, CHARACTER)}

    def knows(self, tag: str) -> bool:
        """Whether it is among the tagger's labels."""
        return same(tag) in self._known

    def read(self, images: Sequence[Image]) -> list[list[Scored]]:
        """Everything above the floor that scores are remembered from."""
        labels, found = self._tagger.labels, []
        for start in range(0, len(images), self.batch_size):
            batch = [image.convert("RGB") for image in images[start : start + self.batch_size]]
            for row in self._tagger.score(batch):
                found.append([Scored(labels[at], float(row[at])) for at in np.flatnonzero(row > FLOOR).tolist()])
        return found

    def chances(self, scored: Sequence[Scored]) -> Chances:
        """The maker's threshold is one half; below and above it the score runs evenly to 0 and 1."""
        ends = {GENERAL: self._thresholds.general, CHARACTER: self._thresholds.character}
        return {
            same(spaced(label.name)): _chance(score, ends[label.category])
            for label, score in scored
            if label.category in ends
        }


class SayingReader:
    """An interrogator that lists tags: what it lists is seen, the rest is not."""

    batch_size = 1

    def __init__(self, interrogator: Interrogator) -> None:
        self._interrogator = interrogator
        self.fingerprint = "says-" + "".join(c if c.isalnum() else "-" for c in interrogator.id)

    def knows(self, tag: str) -> bool:
        """It does not say what it knows."""
        return True

    def read(self, images: Sequence[Image]) -> list[list[Scored]]:
        """Its tags, all certain."""
        said = [sentence_tags(self._interrogator(image.convert("RGB"))) for image in images]
        return [[Scored(Label(tag), 1.0) for tag in dict.fromkeys(tags)] for tags in said]

    def chances(self, scored: Sequence[Scored]) -> Chances:
        """1 for each."""
        return {same(spaced(label.name)): 1.0 for label, _ in scored}


def _chance(score: float, threshold: float) -> float:
    threshold = min(max(threshold, 0.01), 0.99)
    below = 0.5 * score / threshold
    return below if score < threshold else 0.5 + 0.5 * (score - threshold) / (1 - threshold)
