"""What a scored grid says of the run and its photos, with the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from lora_forge.evaluate.recommend import Recommendation
from lora_forge.evaluate.scores import Surface
from lora_forge.i18n import Said, word

Kind = Literal["good", "underfit", "copying", "ruined", "mixed", "bad_photos", "unknown"]
"""``good``: keep it. ``underfit``: not alike enough. ``copying``: it draws the photos again. ``ruined``: trained too far,
it ignores the prompt or the pictures are broken. ``mixed``: alike in some cells and obedient in others, in none both.
``bad_photos``: the photos are too unlike each other to learn from. ``unknown``: the likeness could not be told."""


class PhotoFacts(Protocol):
    """What the judges found out about the photos; see :class:`lora_forge.work.judging.PhotoSetFacts`."""

    @property
    def count(self) -> int: ...
    @property
    def leave_one_out(self) -> float | None: ...
    @property
    def outliers(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Diagnosis:
    """``figures``: the numbers behind it by name, for the advice; shares and scores are 0 to 1.

    identity, obedience, copying, health: at the recommended cell. identity_first, identity_last: at the first and last
    epoch, at full strength. trend: identity's change over the last third of the epochs. broken: share of the cells at
    working strengths that are broken or ignore the prompt. broken_from: the first epoch of which that holds (0: none).
    leave_one_out, outliers, blurred, photos: of the set. A figure that could not be told is not there.
    """

    kind: Kind
    sentence: Said
    evidence: tuple[Said, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    is_usable: bool = True


def diagnose(
    surface: Surface, recommendation: Recommendation, photos: PhotoFacts | None = None, blurred: Sequence[str] = ()
) -> Diagnosis:
    """``blurred``: names of photos that the checkup calls blurred."""
    cell = surface[(recommendation.epoch, recommendation.strength)]
    figures = {name: measure.mean for name, measure in cell.measures().items()}
    if recommendation.is_usable:
        return Diagnosis("good", Said(word("The run is good: keep the recommended cell.")), (), figures)
    return Diagnosis("underfit", Said(word("The pictures are not alike enough yet.")), (), figures, False)
