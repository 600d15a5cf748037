"""A recommendation in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lora_forge.evaluate.quality import FREE_COPYING, Reading
from lora_forge.evaluate.scores import Cell, CellScore, Measure, ScoreName
from lora_forge.i18n import Said, Several, Text, word

_BROKEN = word("No cell is fit to keep: even in {cell}, {facts}, most pictures are broken; train less or slower.")
_WEAK = word("No cell is good yet: the best, {cell}, is only {facts}.")
_ALONE = word("Keep {cell}: {facts}.")
_AHEAD = word("Keep {cell}: {facts}, {gap} ahead of {other}.")
_CLOSE = word("Keep {cell}: {facts}; too close to call between it and {other} (gap {gap}, error {error}).")
_EPOCHS = word("Keep {cell}: {facts}; too close to call between epochs {epochs} (gap {gap}, error {error}).")
_BLIND = word("The furthest that still holds up is {cell}: {facts}. Whether it is alike is for your own eyes.")

_LIKE = word("{share} like the subject")
_OBEDIENT = word("{share} obedient to the prompt")
_COPIED = word("{share} copied from a photo")
_CLEAN = word("{share} clean pictures")
_FACTS = word("{facts} ({pictures})")

_UNTOLD: Mapping[ScoreName, str] = {
    "identity": word("Likeness could not be told."),
    "obedience": word("Obedience could not be told."),
    "copying": word("Copying could not be told."),
    "health": word("Health could not be told."),
}


@dataclass(frozen=True)
class Found:
    """What was chosen. ``close``: cells that can't be told apart from ``kept``."""

    kept: Cell
    score: CellScore
    reading: Reading
    runner_up: Cell | None
    close: Sequence[Cell]
    is_told: bool
    is_healthy: bool
    is_usable: bool


def sentence(found: Found, untold: Sequence[ScoreName], why: Mapping[ScoreName, Text]) -> Said:
    """The recommendation, and behind it which scores could not be told and ``why``."""
    parts: list[object] = [_choice(found)]
    for name in untold:
        parts.append(Said(_UNTOLD[name]))
        if name in why:
            parts.append(why[name])
    if not found.is_told:
        parts = [*parts[1:], parts[0]]
    return Said(word("{sentences}"), {"sentences": Several(tuple(parts), " ")}) if len(parts) > 1 else _choice(found)


def _choice(found: Found) -> Said:
    values: dict[str, object] = {"cell": cell_name(found.kept), "facts": facts(found.score)}
    if not found.is_healthy:
        return Said(_BROKEN, values)
    if not found.is_told:
        return Said(_BLIND, values)
    if not found.is_usable:
        return Said(_WEAK, values)
    if found.runner_up is None:
        return Said(_ALONE, values)
    reading, kept, other = found.reading, found.kept, found.runner_up
    values |= {"other": cell_name(other), "gap": points(100 * abs(reading.at(kept) - reading.at(other)))}
    if other not in found.close:
        return Said(_AHEAD, values)
    values["error"] = f"{100 * reading.gap_error(kept, other):.0f}"
    epochs = sorted({kept[0], *(epoch for epoch, _ in found.close)})
    if len(epochs) == 1:
        return Said(_CLOSE, values)
    return Said(_EPOCHS, {**values, "epochs": _listed(epochs)})


def facts(score: CellScore) -> Said:
    """What was measured in one cell: copying and health only where there is something to say of them."""
    told: list[tuple[str, Measure | None]] = [(_LIKE, score.identity), (_OBEDIENT, score.obedience)]
    if score.copying is not None and score.copying.mean > FREE_COPYING:
        told.append((_COPIED, score.copying))
    if round(100 * score.health.mean) < 100 or not any(measure for _, measure in told):
        told.append((_CLEAN, score.health))
    parts = tuple(Said(template, {"share": percent(measure.mean)}) for template, measure in told if measure is not None)
    count = max(measure.count for _, measure in told if measure is not None)
    return Said(_FACTS, {"facts": Several(parts), "pictures": pictures(count)})


def cell_name(cell: Cell) -> Said:
    """ "epoch 6 at strength 0.8"."""
    return Said(word("epoch {epoch} at strength {strength}"), {"epoch": cell[0], "strength": f"{cell[1]:g}"})


def points(gap: float) -> Said:
    """``gap`` is in percent."""
    whole = round(gap)
    return Said(word("1 point")) if whole == 1 else Said(word("{count} points"), {"count": whole})


def percent(share: float) -> str:
    """``share`` is 0 to 1."""
    return f"{100 * share:.0f} %"


def pictures(count: int) -> Said:
    """A number of pictures."""
    return Said(word("1 picture")) if count == 1 else Said(word("{count} pictures"), {"count": count})


def _listed(epochs: Sequence[int]) -> Text:
    names = tuple(str(epoch) for epoch in epochs)
    return Said(word("{names} and {last}"), {"names": Several(names[:-1]), "last": names[-1]})
