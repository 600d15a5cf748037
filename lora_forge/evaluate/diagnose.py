"""What a scored grid says of the run and its photos, with the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from lora_forge.evaluate import diagnose_words as words
from lora_forge.evaluate.recommend import Recommendation
from lora_forge.evaluate.scores import Surface
from lora_forge.evaluate.symptoms import Symptoms, symptoms_of
from lora_forge.i18n import Said

Kind = Literal["good", "underfit", "copying", "ruined", "mixed", "bad_photos", "unknown"]
"""``good``: keep it. ``underfit``: not alike enough. ``copying``: it draws the photos again. ``ruined``: trained too
far, the likeness is lost again, the prompt ignored or the pictures broken. ``mixed``: alike in some cells and obedient
in others, in none both. ``bad_photos``: the photos are too unlike each other, or too many are blurred, to learn from.
``unknown``: the likeness could not be told."""

LEAST_GOOD = 0.65
"""A run whose best cell has this quality, and this likeness, is good."""

MOST_SPOILED = 1 / 3
MOST_SPOILED_AT_LAST = 0.25
"""A run of whose cells at working strengths more than this share is spoiled went too far, though one may be good: less
is needed where the last epoch is spoiled at most strengths, for then it did not recover."""

LEAST_USUAL = 0.5
"""Photos that are less alike to each other than this (cosine with the mean of the others) show no one subject."""

MOST_BAD = 0.25
"""A set of which more than this share is unlike the rest, or blurred, is to be mended first."""


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

    quality, identity, obedience, copying, health: at the recommended cell, read with the cells around it, and epoch and
    strength of that. peak: the highest identity of any cell. identity_first, identity_last: at the first and last
    epoch, over working strengths; slope: identity's change an epoch over the last third of the epochs. base: identity
    without the LoRA. spoiled: share of the cells at working strengths that are lost, deaf or copied (see
    :class:`lora_forge.evaluate.symptoms.Symptoms`), and each of the three; spoiled_from: the epoch from which on most
    of them are (0: none). leave_one_out, photos, outliers, blurred: of the set. What could not be told is not there.
    """

    kind: Kind
    sentence: Said
    evidence: tuple[Said, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    is_usable: bool = True


def diagnose(
    surface: Surface, recommendation: Recommendation, photos: PhotoFacts | None = None, blurred: Sequence[str] = ()
) -> Diagnosis:
    """What kind of a run it was.

    The photos come first when a run is not good: what they don't show together can't be learned.

    Args:
        recommendation: of this ``surface``.
        blurred: names of photos that the checkup calls blurred.
    """
    symptoms = symptoms_of(surface, recommendation)
    kind = _kind(symptoms, recommendation)
    if kind not in ("good", "unknown") and _are_bad(photos, blurred):
        kind = "bad_photos"
    return Diagnosis(
        kind,
        words.sentence(kind, symptoms, recommendation),
        words.evidence(kind, symptoms, photos, blurred),
        {**symptoms.figures(), "quality": recommendation.quality, **_photo_figures(photos, blurred)},
        recommendation.is_usable,
    )


def _kind(found: Symptoms, recommendation: Recommendation) -> Kind:
    if found.identity is None:
        return "unknown"
    is_spoiled = found.spoiled > (MOST_SPOILED_AT_LAST if found.spoiled_from else MOST_SPOILED)
    is_good = recommendation.quality >= LEAST_GOOD and found.identity >= LEAST_GOOD
    if is_good and not is_spoiled:
        return "good"
    if found.alike and 2 * len(found.alike_copied) >= len(found.alike):
        return "copying"
    if is_spoiled and (recommendation.is_usable or found.lost >= found.deaf):
        return "ruined"
    if found.alike and _disobeys(found):
        return "mixed"
    return "ruined" if is_spoiled else "underfit"


def _disobeys(found: Symptoms) -> bool:
    """Whether it is obedience that the recommended cell, or those that are alike, lack."""
    obedience = found.at("obedience")
    is_lacking = obedience is not None and found.identity is not None and obedience < found.identity
    return is_lacking or 2 * len(found.alike_deaf) >= len(found.alike)


def _are_bad(photos: PhotoFacts | None, blurred: Sequence[str]) -> bool:
    if photos is None or not photos.count:
        return False
    is_unlike = photos.leave_one_out is not None and photos.leave_one_out < LEAST_USUAL
    return is_unlike or max(len(photos.outliers), len(blurred)) > MOST_BAD * photos.count


def _photo_figures(photos: PhotoFacts | None, blurred: Sequence[str]) -> dict[str, float]:
    if photos is None:
        return {}
    told = {} if photos.leave_one_out is None else {"leave_one_out": photos.leave_one_out}
    return {**told, "photos": photos.count, "outliers": len(photos.outliers), "blurred": len(blurred)}
