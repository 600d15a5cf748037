"""Which epoch and strength to keep, said in one sentence with the numbers it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lora_forge.errors import ConfigError
from lora_forge.evaluate.scores import CellScore, Measure, ScoreName, Surface
from lora_forge.i18n import Said, Text, word

Cell = tuple[int, float]

LEAST_HEALTH = 0.5
"""Below this mean health a cell's pictures count as broken and can't be recommended."""

NEAR_TIE = 0.02
"""Qualities closer than this are a tie in practice: the earlier epoch, then the lower strength, is the safer one."""

_FACTS = word("{likeness} like the subject ({pictures})")
_FACTS_AND_OBEDIENCE = word("{likeness} like the subject and {obedience} obedient to the prompt ({pictures})")
_BROKEN = word("No cell is fit to keep: even in {cell}, {facts}, most pictures are broken; train less or slower.")
_WEAK = word("No cell is good yet: the best, {cell}, is only {facts}.")
_ALONE = word("Keep {cell}: {facts}.")
_AHEAD = word("Keep {cell}: {facts}, {gap} ahead of {other}.")
_CLOSE = word("Keep {cell}: {facts}; too close to call between it and {other} (gap {gap}, error {error}).")
_CLOSE_TO_MORE = word(
    "Keep {cell}: {facts}; too close to call between it and {other} and {more} more (gap {gap}, error {error})."
)


@dataclass(frozen=True)
class Recommendation:
    """The cell to keep.

    ``quality``: the harmonic mean of identity and obedience (identity alone where obedience can't be told), 0 to 1.
    ``runner_up``: the best other cell, if there is one. ``is_too_close``: its quality lies within the standard error
    of the difference. ``rivals``: how many cells can't be told apart from the kept one by these pictures.
    ``is_usable``: False when even the best cell is broken or shows the subject less than half. ``missing``: scores
    that could not be told in any cell.
    """

    epoch: int
    strength: float
    quality: float
    sentence: Said
    runner_up: Cell | None = None
    is_too_close: bool = False
    rivals: int = 0
    is_usable: bool = True
    missing: tuple[ScoreName, ...] = ()


def quality(score: CellScore) -> Measure:
    """The harmonic mean of identity and obedience, with its standard error.

    The harmonic mean is low when either is: a perfect likeness that ignores the prompt is as useless as the reverse.
    Error by the delta method, taking the two as independent: for h = 2io/(i+o), dh/di = 2(o/(i+o))^2 and back.
    """
    if score.obedience is None:
        return score.identity
    i, o = score.identity, score.obedience
    total = i.mean + o.mean
    count = min(i.count, o.count)
    if total == 0:
        return Measure(0.0, max(i.standard_error, o.standard_error), count)
    by_identity, by_obedience = 2 * (o.mean / total) ** 2, 2 * (i.mean / total) ** 2
    error = math.hypot(by_identity * i.standard_error, by_obedience * o.standard_error)
    return Measure(2 * i.mean * o.mean / total, error, count)


def recommend(
    surface: Surface, missing: Mapping[ScoreName, Text] | None = None, least_health: float = LEAST_HEALTH
) -> Recommendation:
    """Choose the cell with the highest :func:`quality` among the healthy ones.

    Qualities within ``NEAR_TIE`` of the best are a tie: the earliest epoch of them is taken, then the lowest strength.
    ``missing``: why a score could not be told ("no tagger"), for the sentence.
    The standard error treats cells as independent; with the same seeds in every cell that is on the careful side.

    Raises:
        ConfigError: there is no cell with a strength above 0.
    """
    cells = {cell: score for cell, score in surface.items() if cell[1] > 0}
    if not cells:
        raise ConfigError("There is no scored cell to choose from.", "Draw a grid with strengths above 0 first.")
    healthy = {cell: score for cell, score in cells.items() if score.health.mean >= least_health}
    qualities = {cell: quality(score) for cell, score in (healthy or cells).items()}
    best = max(measure.mean for measure in qualities.values())
    kept = min(cell for cell, measure in qualities.items() if measure.mean >= best - NEAR_TIE)
    others = sorted((cell for cell in qualities if cell != kept), key=lambda cell: (-qualities[cell].mean, cell))
    close = [cell for cell in others if _is_close(qualities[kept], qualities[cell])]
    runner_up = others[0] if others else None
    is_usable = bool(healthy) and qualities[kept].mean >= 0.5
    return Recommendation(
        *kept,
        quality=qualities[kept].mean,
        sentence=_sentence(kept, cells[kept], runner_up, qualities, len(close), is_usable, bool(healthy)),
        runner_up=runner_up,
        is_too_close=runner_up in close,
        rivals=len(close),
        is_usable=is_usable,
    )


def _is_close(kept: Measure, other: Measure) -> bool:
    return abs(kept.mean - other.mean) <= math.hypot(kept.standard_error, other.standard_error)


def _sentence(
    kept: Cell,
    score: CellScore,
    runner_up: Cell | None,
    qualities: dict[Cell, Measure],
    rivals: int,
    is_usable: bool,
    is_healthy: bool,
) -> Said:
    values: dict[str, object] = {"cell": _name(kept), "facts": _facts(score)}
    if not is_healthy:
        return Said(_BROKEN, values)
    if not is_usable:
        return Said(_WEAK, values)
    if runner_up is None:
        return Said(_ALONE, values)
    values |= {"other": _name(runner_up), "gap": _points(100 * (qualities[kept].mean - qualities[runner_up].mean))}
    if not rivals:
        return Said(_AHEAD, values)
    error = 100 * math.hypot(qualities[kept].standard_error, qualities[runner_up].standard_error)
    values |= {"error": f"{error:.0f}", "more": rivals - 1}
    return Said(_CLOSE_TO_MORE if rivals > 1 else _CLOSE, values)


def _facts(score: CellScore) -> Said:
    values: dict[str, object] = {"likeness": _percent(score.identity), "pictures": _pictures(score.identity.count)}
    if not score.obedience:
        return Said(_FACTS, values)
    return Said(_FACTS_AND_OBEDIENCE, {**values, "obedience": _percent(score.obedience)})


def _name(cell: Cell) -> Said:
    return Said(word("epoch {epoch} at strength {strength}"), {"epoch": cell[0], "strength": f"{cell[1]:g}"})


def _points(gap: float) -> Said:
    whole = round(abs(gap))
    return Said(word("1 point")) if whole == 1 else Said(word("{count} points"), {"count": whole})


def _percent(measure: Measure) -> str:
    return f"{100 * measure.mean:.0f} %"


def _pictures(count: int) -> Said:
    return Said(word("1 picture")) if count == 1 else Said(word("{count} pictures"), {"count": count})
