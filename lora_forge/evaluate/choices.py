"""The choices of a next round, each with its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lora_forge.evaluate.course import Course, dose
from lora_forge.evaluate.recommend import Recommendation
from lora_forge.i18n import Said, word

TARGET = 0.8
"""The quality (see ``recommend.quality``) that a round is to reach, and the likeness that learning is reckoned to."""

MORE_EPOCHS = 4
MORE_REPEATS, FEWER_REPEATS, ADD_EPOCHS = "more_repeats", "fewer_repeats", "more_epochs"
EARLIER_EPOCH, BETTER_PHOTOS = "earlier_epoch", "better_photos"

_LEAST_MORE, _MOST_MORE, _MOST_UNSEEN = 1.5, 4.0, 6.0  # too much costs time alone: the earlier epochs' files are there
_SEEN_NOTHING = 0.15  # of the way from the base to the target: then nothing can be reckoned from
_MARGIN_MORE, _MARGIN_FEWER = 1.5, 1.25  # so that the epoch that is wanted is not the very last one
_LEAST_FEWER, _MOST_FEWER = 0.1, 0.75
_ROUND_FROM, _ROUND_TO = 30, 5

_EPOCH_LABEL = word("Use epoch {epoch}")
_EPOCH = word("Keep {cell}, with {quality}: nothing is trained.")
_REPEATS_LABEL = word("Repeats {before} to {now}")
_REPEATS = word("A new run, each photo {now} times an epoch instead of {before}: {steps} steps instead of {old}.")
_EPOCHS_LABEL = word("Epochs {before} to {now}")
_EPOCHS = word("The groups have repeats of their own: a new run of {now} epochs, {steps} steps instead of {old}.")
_RATE_LABEL = word("Learning rate {before} to {now}")
_RATE = word("Repeats are at 1 already: a new run with a learning rate of {now} instead of {before}.")
_RATE_FIXED = word("The groups have repeats of their own: a new run with a learning rate of {now} instead of {before}.")
_ADD_LABEL = word("{count} more epochs")
_ADD = word(
    "The same run goes on from its last state, without a restart: epochs {first} to {last}, {steps} steps more."
)
_ADD_REACHES = word("As it rises now, that reaches about {likeness} likeness.")
_PHOTOS_LABEL = word("Better photos")
_REPLACE = word("Look at these {count} photos, replace or remove them, and train again.")
_REPLACE_ONE = word("Look at this photo, replace or remove it, and train again.")
_VARY = word("No photo stands out. Add photos in other clothes, places and poses, and tag what changes.")


@dataclass(frozen=True)
class RunSettings:
    """What the tested run was made with. ``photos``: those that are seen ``repeats`` times; ``own_visits``: pictures an
    epoch from groups with repeats of their own. ``steps``: all of them.

    ``rates``: the mean share of the learning rate in each epoch, where it falls; ``more_rates``: in the epochs that
    would be added. ``can_go_on``: its last state is still there.
    """

    repeats: int
    epochs: int
    photos: int
    steps: int
    learning_rate: float = 0.0
    rates: tuple[float, ...] = ()
    more_rates: tuple[float, ...] = (1.0,) * MORE_EPOCHS
    can_go_on: bool = True
    own_visits: int = 0

    @property
    def is_fixed(self) -> bool:
        """Whether all groups have repeats of their own, so that the setting moves nothing."""
        return not self.photos and self.own_visits > 0

    def steps_with(self, repeats: int) -> int:
        """About how many steps it would be."""
        before, now = (self.photos * count + self.own_visits for count in (self.repeats, repeats))
        return round(self.steps * (now / before if before else repeats / self.repeats))


@dataclass(frozen=True)
class BadPhoto:
    """A photo to look at, by its key in the project, and why."""

    key: str
    why: Said


@dataclass(frozen=True)
class Choice:
    """One thing to do. ``changes``: settings of the new run; of ``more_epochs`` its new length; of ``earlier_epoch``
    the cell."""

    id: str
    label: Said
    sentence: Said
    changes: Mapping[str, Any] = field(default_factory=dict)
    photos: tuple[BadPhoto, ...] = ()
    is_advised: bool = False


def use_epoch(kept: Recommendation) -> Choice:
    """Keep what there is."""
    changes = {"epoch": kept.epoch, "strength": kept.strength}
    values = {"cell": cell_name(kept), "quality": percent(kept.quality)}
    return Choice(EARLIER_EPOCH, Said(_EPOCH_LABEL, {"epoch": kept.epoch}), Said(_EPOCH, values), changes)


def more_repeats(course: Course, settings: RunSettings, target: float = TARGET) -> Choice:
    """A new run that sees each photo more often, or goes on for longer where groups have repeats of their own."""
    if settings.is_fixed:
        epochs = sane(settings.epochs * more_factor(course, target))
        values: dict[str, object] = {"before": settings.epochs, "now": epochs}
        steps = round(settings.steps * epochs / settings.epochs)
        sentence = Said(_EPOCHS, {**values, "steps": steps, "old": settings.steps})
        return Choice(MORE_REPEATS, Said(_EPOCHS_LABEL, values), sentence, {"epochs": epochs})
    now = max(settings.repeats + 1, sane(settings.repeats * more_factor(course, target)))
    return _repeats(MORE_REPEATS, settings, now)


def more_factor(course: Course, target: float = TARGET) -> float:
    """Times as many repeats: 1.5 to 4, and 6 where next to nothing was learned.

    Where the likeness rose measurably, its rise over the later half is followed to the target (``Course.pace``), and
    half of that added.
    """
    if not course.likeness:
        return 2.0
    last = course.likeness[-1]
    share = (last.mean - course.base) / max(target - course.base, 0.01)
    most = _MOST_UNSEEN if share < _SEEN_NOTHING else _MOST_MORE
    if not course.slope:
        return most if share < 0.5 else 2.0
    return min(max(_MARGIN_MORE * (1 + course.until(target) / last.dose), _LEAST_MORE), most)


def fewer_repeats(course: Course, best: int, settings: RunSettings) -> Choice | None:
    """A new run that learns less; None where epoch ``best`` lies so late that the repeats are right."""
    factor = fewer_factor(course, best, settings.rates)
    if factor > _MOST_FEWER:
        return None
    if settings.repeats > 1 and not settings.is_fixed:
        return _repeats(FEWER_REPEATS, settings, min(settings.repeats - 1, max(1, sane(settings.repeats * factor))))
    rate = float(f"{settings.learning_rate * factor:.2g}")
    values = {"now": f"{rate:g}", "before": f"{settings.learning_rate:g}"}
    sentence = Said(_RATE_FIXED if settings.is_fixed else _RATE, values)
    return Choice(FEWER_REPEATS, Said(_RATE_LABEL, values), sentence, {"learning_rate": rate}) if rate else None


def fewer_factor(course: Course, best: int, rates: Sequence[float] = ()) -> float:
    """Times as many repeats, so that the last epoch lies a quarter behind where ``best`` was.

    Where ``best`` is the first that was looked at, the true best may lie before it: then no quarter is added.
    """
    margin = 1.0 if best == course.first else _MARGIN_FEWER
    return max(_LEAST_FEWER, margin * dose(best, rates) / dose(course.last, rates))


def add_epochs(course: Course, settings: RunSettings) -> Choice:
    """The same run, four epochs longer."""
    epochs = settings.epochs + MORE_EPOCHS
    steps = round(settings.steps / settings.epochs * MORE_EPOCHS)
    sentence = Said(_ADD, {"first": settings.epochs + 1, "last": epochs, "steps": steps})
    if course.slope:
        reaches = Said(_ADD_REACHES, {"likeness": percent(projected(course, settings))})
        sentence = Said("{one} {other}", {"one": sentence, "other": reaches})
    return Choice(ADD_EPOCHS, Said(_ADD_LABEL, {"count": MORE_EPOCHS}), sentence, {"epochs": epochs})


def projected(course: Course, settings: RunSettings) -> float:
    """The likeness after four more epochs, as it rises now; 0 where it does not rise."""
    return course.after(sum(settings.more_rates))


def better_photos(bad: Sequence[BadPhoto]) -> Choice:
    """Look at the photos, at the ``bad`` ones where there are any."""
    template = _VARY if not bad else _REPLACE_ONE if len(bad) == 1 else _REPLACE
    values = {"count": len(bad)} if len(bad) > 1 else {}
    return Choice(BETTER_PHOTOS, Said(_PHOTOS_LABEL), Said(template, values), {}, tuple(bad))


def _repeats(name: str, settings: RunSettings, now: int) -> Choice:
    values = {"before": settings.repeats, "now": now}
    steps = settings.steps_with(now)
    sentence = Said(_REPEATS, {**values, "steps": steps, "old": settings.steps})
    return Choice(name, Said(_REPEATS_LABEL, values), sentence, {"repeats": now})


def cell_name(kept: Recommendation) -> Said:
    """``epoch 6 at strength 0.8``."""
    values = {"epoch": kept.epoch, "strength": f"{kept.strength:g}"}
    return Said(word("epoch {epoch} at strength {strength}"), values)


def percent(value: float) -> str:
    """``0.834`` as ``83 %``."""
    return f"{100 * value:.0f} %"


def sane(value: float) -> int:
    """A number a person would set: whole, and from 30 on a multiple of 5."""
    return int(value + 0.5) if value < _ROUND_FROM else _ROUND_TO * int(value / _ROUND_TO + 0.5)
