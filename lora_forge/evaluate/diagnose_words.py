"""A diagnosis in words, and the numbers it rests on as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lora_forge.evaluate.quality import FREE_COPYING
from lora_forge.evaluate.recommend import Recommendation
from lora_forge.evaluate.recommend_words import cell_name, percent, points
from lora_forge.evaluate.scores import Cell
from lora_forge.evaluate.symptoms import Symptoms
from lora_forge.i18n import Said, some_of, word

if TYPE_CHECKING:
    from lora_forge.evaluate.diagnose import PhotoFacts

_SENTENCES: Mapping[str, str] = {
    "good": word("The run is good: {cell} is alike and does as it is told."),
    "underfit": word("Not alike enough: the run has not learned enough yet."),
    "copying": word("Copying: where it is alike, it draws the photos again."),
    "ruined": word("Trained too far: likeness, obedience or clean pictures are lost again in {spoiled} of the cells."),
    "mixed": word("Mixed: where it is alike it does not do as it is told, and where it does it is not alike."),
    "bad_photos": word("Bad photos: mend the set first, then train again."),
    "unknown": word("How the run went can't be told without a judge of the likeness."),
}
_GOOD_UNTOLD = word("The run looks good: {cell} is alike.")
_USABLE = word("What can be used all the same: {cell}.")

_KEPT = word(
    "Likeness of {cell}: {share}; without the LoRA {base}, and 100 % is as alike as the photos are to each other."
)
_KEPT_ALONE = word("Likeness of {cell}: {share}; 100 % is as alike as the photos are to each other.")
_OVER_EPOCHS = word("Over the epochs the likeness at strengths from {strength} goes from {first} to {last}.")
_RISING = word("In the last epochs it still rises, by {points} an epoch.")
_FALLING = word("In the last epochs it falls, by {points} an epoch.")
_OVER_STRENGTHS = word(
    "Over the strengths the likeness of epoch {epoch} goes from {first} at {low} to {last} at {high}."
)
_OBEDIENCE = word("Obedience of {cell}: {share} of what the checkpoint does without the LoRA.")
_NO_OBEDIENCE = word("Whether it does as it is told could not be measured.")
_DEAF = word("{count} of {total} cells at strengths from {strength} show less than half of what was asked for.")
_ALIKE_DEAF = word("Of {alike} cells that are alike {count} show less than half of what was asked for.")
_LOST = word(
    "{count} of {total} cells at strengths from {strength} are broken, or less alike than earlier epochs were."
)
_SPOILED_FROM = word("From epoch {epoch} on most cells are spoiled.")
_COPYING = word("Copying of {cell}: {share} of the way from a picture of its own to one of the photos.")
_ALIKE_COPIED = word("Of {alike} cells that are alike {count} are more a photo than a picture of their own.")
_HEALTH = word("Clean pictures of {cell}: {share}.")
_USUAL = word("The photos are {share} alike to each other.")
_OUTLIERS = word("{count} of {total} photos are unlike the others: {names}.")
_BLURRED = word("{count} of {total} photos are blurred: {names}.")

_LEAST_SLOPE = 0.01


def sentence(kind: str, found: Symptoms, recommendation: Recommendation) -> Said:
    """What kind of run it was, in one sentence; after it what is still good, where a run went too far."""
    cell = cell_name(found.kept)
    is_untold = kind == "good" and "obedience" not in found.scores
    said = Said(_GOOD_UNTOLD if is_untold else _SENTENCES[kind], {"cell": cell, "spoiled": percent(found.spoiled)})
    if kind in ("good", "unknown", "underfit") or not recommendation.is_usable:
        return said
    return Said(word("{sentence} {more}"), {"sentence": said, "more": Said(_USABLE, {"cell": cell})})


def evidence(kind: str, found: Symptoms, photos: PhotoFacts | None, blurred: Sequence[str]) -> tuple[Said, ...]:
    """Sentences with numbers: the photos first where they are what is wrong."""
    about_set = _photos(photos, blurred, kind == "bad_photos")
    about_run = [*_likeness(found), *_obedience(found), *_copying(found), *_health(found)]
    return tuple([*about_set, *about_run] if kind == "bad_photos" else [*about_run, *about_set])


def _likeness(found: Symptoms) -> list[Said]:
    if found.identity is None:
        return []
    values = {"cell": cell_name(found.kept), "share": percent(found.identity)}
    said = [Said(_KEPT_ALONE, values)]
    if found.base is not None:
        said = [Said(_KEPT, {**values, "base": percent(found.base)})]
    course = found.course()
    if len(course) > 1:
        shares = {"first": percent(course[0][1]), "last": percent(course[-1][1])}
        said.append(Said(_OVER_EPOCHS, {"strength": _least_working(found), **shares}))
        if abs(found.slope) >= _LEAST_SLOPE:
            template = _RISING if found.slope > 0 else _FALLING
            said.append(Said(template, {"points": points(100 * abs(found.slope))}))
    identity, epoch = found.scores["identity"], found.kept[0]
    strengths = sorted(strength for at, strength in identity if at == epoch)
    if len(strengths) > 1:
        low, high = strengths[0], strengths[-1]
        values = {"first": percent(identity[epoch, low]), "last": percent(identity[epoch, high])}
        said.append(Said(_OVER_STRENGTHS, {"epoch": epoch, "low": f"{low:g}", "high": f"{high:g}", **values}))
    return said


def _obedience(found: Symptoms) -> list[Said]:
    share = found.at("obedience")
    if share is None:
        return [Said(_NO_OBEDIENCE)]
    said = [Said(_OBEDIENCE, {"cell": cell_name(found.kept), "share": percent(share)})]
    if found.deaf_cells:
        said.append(_counted(_DEAF, found.deaf_cells, found))
    if found.alike_deaf:
        said.append(Said(_ALIKE_DEAF, {"alike": len(found.alike), "count": len(found.alike_deaf)}))
    return said


def _copying(found: Symptoms) -> list[Said]:
    share, said = found.at("copying"), []
    if share is not None and share > FREE_COPYING:
        said.append(Said(_COPYING, {"cell": cell_name(found.kept), "share": percent(share)}))
    if found.alike_copied:
        said.append(Said(_ALIKE_COPIED, {"alike": len(found.alike), "count": len(found.alike_copied)}))
    return said


def _health(found: Symptoms) -> list[Said]:
    share, said = found.at("health"), []
    if share is not None and share < 0.95:
        said.append(Said(_HEALTH, {"cell": cell_name(found.kept), "share": percent(share)}))
    if found.lost_cells:
        said.append(_counted(_LOST, found.lost_cells, found))
    if found.spoiled_from:
        said.append(Said(_SPOILED_FROM, {"epoch": found.spoiled_from}))
    return said


def _photos(photos: PhotoFacts | None, blurred: Sequence[str], is_wrong: bool) -> list[Said]:
    if photos is None:
        return []
    said = []
    if is_wrong and photos.leave_one_out is not None:
        said.append(Said(_USUAL, {"share": percent(photos.leave_one_out)}))
    for template, names in ((_OUTLIERS, photos.outliers), (_BLURRED, blurred)):
        if names:
            values = {"count": len(names), "total": photos.count, "names": some_of(list(names))}
            said.append(Said(template, values))
    return said


def _counted(template: str, cells: Sequence[Cell], found: Symptoms) -> Said:
    values = {"count": len(cells), "total": len(found.working), "strength": _least_working(found)}
    return Said(template, values)


def _least_working(found: Symptoms) -> str:
    return f"{min(strength for _, strength in found.working):g}"
