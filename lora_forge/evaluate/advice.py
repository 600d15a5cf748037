"""What to do in the next round, with numbers: one test's scores and a run's settings in, a few choices out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from lora_forge.evaluate import choices
from lora_forge.evaluate.choices import (
    ADD_EPOCHS,
    BETTER_PHOTOS,
    EARLIER_EPOCH,
    FEWER_REPEATS,
    MORE_REPEATS,
    TARGET,
    BadPhoto,
    Choice,
    RunSettings,
    cell_name,
    percent,
)
from lora_forge.evaluate.course import Course, Point, course_of
from lora_forge.evaluate.recommend import Recommendation
from lora_forge.evaluate.scores import Surface
from lora_forge.i18n import Said, word

__all__ = ["TARGET", "Advice", "BadPhoto", "Choice", "Diagnosed", "RunSettings", "advise", "is_reached"]

_REACHED = word("The target is reached: {cell} has {quality}; the aim is {target}.")
_ALMOST = word("Good enough to keep: {cell} has {quality}. One more round may come nearer to the aim, {target}.")
_LITTLE = word("Not enough was learned: the best, {cell}, has {quality}; the aim is {target}.")
_TOO_MUCH = word("Too much was learned: the best is {cell} with {quality}, and the last epoch, {last}, has {later}.")
_PHOTOS = word("The photos hold it back: the best, {cell}, has {quality}; the aim is {target}.")
_DISOBEYS = word(
    "It is like the subject ({likeness}), but does not let go of the photos: the best, {cell}, has {quality}; the aim "
    "is {target}."
)
_STUCK = word("More of the same will not help: the best, {cell}, has {quality}; the aim is {target}.")
_ROSE = word(
    "Likeness at strength {strength}: {first} in epoch {one}, {then} in epoch {last}; without the LoRA {base}."
)
_RISES = word("At the end it still rises, by {points} an epoch.")
_FLAT = word("At the end it does not rise any more.")
_FALLS = word("Quality falls from {best} in epoch {one} to {later} in epoch {last}.")
_BREAKS = word("From epoch {epoch} on no strength gives whole pictures.")
_UNTOLD = word("How alike it is could not be told, so there is no advice: get what is missing for the likeness first.")
_TOO_MUCH_KINDS = ("copying", "ruined", "mixed")
_ENOUGH = 0.05  # likeness that near to the target is not what is lacking


class Diagnosed(Protocol):
    """What is needed of a diagnosis. ``kind``: underfit, good, copying, mixed, bad_photos, ruined."""

    @property
    def kind(self) -> str: ...


@dataclass(frozen=True)
class Advice:
    """``sentence``: how the round went; ``evidence``: what that rests on. The first choice is the advised one, unless
    the likeness could not be told."""

    sentence: Said
    evidence: tuple[Said, ...]
    choices: tuple[Choice, ...]

    @property
    def advised(self) -> Choice | None:
        """The one to begin with."""
        return next((choice for choice in self.choices if choice.is_advised), None)


def is_reached(recommendation: Recommendation, target: float = TARGET) -> bool:
    """Whether the recommended cell is what a round aims at."""
    return recommendation.is_usable and recommendation.quality >= target


def advise(
    surface: Surface,
    recommendation: Recommendation,
    diagnosis: Diagnosed | None,
    settings: RunSettings | None,
    bad_photos: Sequence[BadPhoto] = (),
    target: float = TARGET,
) -> Advice:
    """Choices for the next round, the advised one first. ``settings`` None: the LoRA is of no run that is known here.

    Too little learned: four more epochs where the run can go on, still rises and would get there; else more repeats,
    by how far the likeness is from the target and how fast it rose. Too much: fewer repeats, so that the last epoch
    lies a little behind where the best one was. Photos first where they are what holds the run back.
    """
    course = course_of(surface, settings.rates if settings is not None else ())
    if not course.likeness and not is_reached(recommendation, target):
        return _untold(recommendation, bad_photos)
    kind = diagnosis.kind if diagnosis is not None else ""
    is_past = course.is_past(recommendation.epoch)
    is_too_much = is_past or bool(course.is_broken_at) or kind in _TOO_MUCH_KINDS
    found = _all(course, recommendation, settings, bad_photos, target, is_too_much)
    if is_reached(recommendation, target):
        template, wanted = _REACHED, EARLIER_EPOCH
    elif kind == "bad_photos":
        template, wanted = _PHOTOS, BETTER_PHOTOS
    elif is_too_much:
        template = _TOO_MUCH if FEWER_REPEATS in found else _DISOBEYS if kind == "mixed" else _STUCK
        wanted = FEWER_REPEATS if FEWER_REPEATS in found else BETTER_PHOTOS
    elif course.likeness and course.likeness[-1].mean >= target - _ENOUGH and course.disobeys:
        template, wanted = _DISOBEYS, BETTER_PHOTOS
    else:
        goes_on = settings and ADD_EPOCHS in found and choices.projected(course, settings) >= target
        template, wanted = _LITTLE, ADD_EPOCHS if goes_on else MORE_REPEATS if settings else BETTER_PHOTOS
    if kind == "good" and template in (_LITTLE, _TOO_MUCH, _STUCK):
        template = _ALMOST
    evidence = tuple(_evidence(course, recommendation, is_past))
    return Advice(_sentence(template, course, recommendation, target), evidence, _ordered(found, wanted))


def _all(
    course: Course,
    kept: Recommendation,
    settings: RunSettings | None,
    bad: Sequence[BadPhoto],
    target: float,
    is_too_much: bool,
) -> dict[str, Choice]:
    """Every choice that makes sense, by its id."""
    found: list[Choice | None] = [choices.better_photos(bad), choices.use_epoch(kept) if kept.is_usable else None]
    if settings is None:
        pass
    elif is_too_much:
        found.append(choices.fewer_repeats(course, kept.epoch, settings))
    else:
        found.append(choices.more_repeats(course, settings, target))
        found.append(choices.add_epochs(course, settings) if settings.can_go_on else None)
    return {choice.id: choice for choice in found if choice is not None}


def _untold(kept: Recommendation, bad: Sequence[BadPhoto]) -> Advice:
    """Nobody could tell how alike it is: what there is to choose, none of it advised."""
    found = [choices.use_epoch(kept)] if kept.is_usable else []
    return Advice(Said(_UNTOLD), (), (*found, choices.better_photos(bad)))


def _ordered(found: Mapping[str, Choice], wanted: str) -> tuple[Choice, ...]:
    order = (wanted, MORE_REPEATS, ADD_EPOCHS, FEWER_REPEATS, EARLIER_EPOCH, BETTER_PHOTOS)
    names = dict.fromkeys(name for name in order if name in found)
    return tuple(replace(found[name], is_advised=place == 0) for place, name in enumerate(names))


def _sentence(template: str, course: Course, kept: Recommendation, target: float) -> Said:
    values: dict[str, object] = {"cell": cell_name(kept), "quality": percent(kept.quality), "target": percent(target)}
    if template == _TOO_MUCH:
        values |= {"last": course.last, "later": percent(_at(course.quality, course.last).mean)}
    if template == _DISOBEYS:
        values["likeness"] = percent(course.likeness[-1].mean)
    return Said(template, values)


def _evidence(course: Course, kept: Recommendation, is_past: bool) -> list[Said]:
    said = []
    if len(course.likeness) > 1:
        one, last = course.likeness[0], course.likeness[-1]
        places = {"strength": f"{course.strength:g}", "one": one.epoch, "last": last.epoch}
        shares = {"first": percent(one.mean), "then": percent(last.mean), "base": percent(course.base)}
        said.append(Said(_ROSE, {**places, **shares}))
        each = f"{100 * course.slope * last.dose / last.epoch:.1f}"
        points = Said(word("{count} points"), {"count": each})
        said.append(Said(_RISES, {"points": points}) if course.slope else Said(_FLAT))
    if is_past:
        values = {"one": kept.epoch, "last": course.last, "best": percent(kept.quality)}
        said.append(Said(_FALLS, {**values, "later": percent(_at(course.quality, course.last).mean)}))
    if course.is_broken_at:
        said.append(Said(_BREAKS, {"epoch": course.is_broken_at}))
    return said


def _at(points: Sequence[Point], epoch: int) -> Point:
    return next(point for point in points if point.epoch == epoch)
