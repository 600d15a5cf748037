"""Findings about the set as a whole: how many, what dominates, whether mirroring is harmless."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from lora_forge.dataset.captions import split_tags
from lora_forge.dataset.checkup.colours import largest_alike
from lora_forge.dataset.checkup.finding import Finding, Light
from lora_forge.dataset.checkup.judging import FACED, Subject, unjudged
from lora_forge.dataset.checkup.photos import has_text
from lora_forge.dataset.checkup.seen import Seen
from lora_forge.dataset.checkup.thresholds import (
    ALIKE_FROM,
    COUNT_OTHER,
    COUNTS,
    DOMINATES,
    DOMINATES_FAR,
    SAME_COLOURS_LEAST,
)
from lora_forge.dataset.checkup.words import (
    BACKGROUND_BAD,
    BACKGROUND_GOOD,
    BACKGROUND_WHY,
    COUNT_FEW,
    COUNT_GOOD,
    COUNT_MANY,
    COUNT_MANY_WHY,
    COUNT_NONE,
    COUNT_WHY,
    FLIP_OFF,
    FLIP_ON,
    FLIP_TEXT,
    FLIP_WHY_FACE,
    FLIP_WHY_ON,
    FLIP_WHY_TEXT,
    NOT_FOR_KIND,
    OUTFIT_BAD,
    OUTFIT_GOOD,
    OUTFIT_WHY,
    TAGGED,
    TOO_FEW,
)
from lora_forge.dataset.words import Category, Words
from lora_forge.i18n import Said

_OUTFIT = (OUTFIT_GOOD, OUTFIT_BAD, OUTFIT_WHY)
_BACKGROUND = (BACKGROUND_GOOD, BACKGROUND_BAD, BACKGROUND_WHY)


def judge_set(subject: Subject) -> list[Finding]:
    """count, outfit, background, flip."""
    return [judge_count(len(subject.photos), subject.kind), _outfit(subject), _background(subject), _flip(subject)]


def judge_count(count: int, kind: str) -> Finding:
    """Whether there are enough photos for ``kind``; too many is no more than a remark."""
    fewest, least, most = COUNTS.get(kind, COUNT_OTHER)
    numbers = {"count": float(count), "least": float(least), "most": float(most)}
    values = {"count": count, "least": least, "most": most}
    lights: list[tuple[bool, Light, str, str]] = [
        (count < fewest, "red", COUNT_NONE, COUNT_WHY),
        (count < least, "yellow", COUNT_FEW, COUNT_WHY),
        (count > most, "green", COUNT_MANY, COUNT_MANY_WHY),
    ]
    light, title, why = next(((one, a, b) for holds, one, a, b in lights if holds), ("green", COUNT_GOOD, COUNT_WHY))
    remedies = ("add_photos",) if light != "green" else ()
    return Finding("count", light, Said(title, values), Said(why, values), (), remedies, numbers)


def _outfit(subject: Subject) -> Finding:
    """Clothes below the face; an anime character usually wears one outfit, and that is meant."""
    if subject.kind != "person":
        return unjudged("outfit", Said(NOT_FOR_KIND))
    tagged = _by_tags(subject, "outfit")
    if tagged is not None:
        return tagged
    shown = [(seen, around.torso) for seen in subject.photos if (around := seen.main_measures) and around.torso]
    if not subject.detector.finds and not shown:
        return unjudged("outfit", subject.detector.sentence)
    return _dominating("outfit", [seen for seen, _ in shown], [torso for _, torso in shown], _OUTFIT)


def _background(subject: Subject) -> Finding:
    if subject.kind == "style":
        return unjudged("background", Said(NOT_FOR_KIND))
    tagged = _by_tags(subject, "background")
    if tagged is not None:
        return tagged
    photos = list(subject.photos)
    return _dominating("background", photos, [seen.measures.border for seen in photos], _BACKGROUND)


def _dominating(id: str, photos: list[Seen], regions: list[str], words: tuple[str, str, str]) -> Finding:
    if len(photos) < ALIKE_FROM:
        return unjudged(id, Said(TOO_FEW, {"count": len(photos)}))
    return _share(id, [photos[number] for number in largest_alike(regions, SAME_COLOURS_LEAST)], len(photos), words)


def _share(id: str, alike: Sequence[Seen], total: int, words: tuple[str, str, str]) -> Finding:
    """Green below half of the photos, red from four fifths on."""
    good, bad, why = words
    share = len(alike) / total
    numbers = {"count": float(len(alike)), "total": float(total), "share": round(share, 3)}
    values = {"count": len(alike), "total": total}
    if share < DOMINATES:
        return Finding(id, "green", Said(good, values), Said(why, values), numbers=numbers)
    light: Light = "red" if share >= DOMINATES_FAR else "yellow"
    keys = tuple(seen.key for seen in alike)
    return Finding(id, light, Said(bad, values), Said(why, values), keys, ("add_photos", "trash"), numbers)


# ---------------------------------------------------------------- by tags


# What is looked for, by the dictionary's category.
_ABOUT = {"outfit": Category.CLOTHING, "background": Category.BACKGROUND}
_SAYS_LITTLE = ("outdoors", "indoors")
_TAGGED_FROM = 0.6  # of the photos must say anything about it before tags are believed over colours


def _by_tags(subject: Subject, id: str) -> Finding | None:
    """The finding by captions, where most photos are tagged for it; None where not."""
    tags = _tags_about([seen.caption for seen in subject.photos], _ABOUT[id])
    total = len(subject.photos)
    if total < ALIKE_FROM or sum(bool(found) for found in tags) < _TAGGED_FROM * total:
        return None
    # the exact tag is what dominates: "red dress" or "beach"; "dress" and "outdoors" could be anything
    is_exact = (lambda tag: " " in tag) if id == "outfit" else (lambda tag: tag not in _SAYS_LITTLE)
    counts = Counter(tag for found in tags for tag in found if is_exact(tag))
    tag = max(counts, key=lambda name: (counts[name], name)) if counts else ""
    alike = [seen for seen, found in zip(subject.photos, tags, strict=True) if tag and tag in found]
    found = _share(id, alike, total, _OUTFIT if id == "outfit" else _BACKGROUND)
    return replace(found, why=Said(TAGGED, {"why": found.why, "tag": tag})) if alike else found


def _tags_about(captions: Sequence[str], wanted: Category) -> list[set[str]]:
    """Of each caption the tags of one category."""
    split = [{tag.strip().lower().replace("_", " ") for tag in split_tags(caption)} for caption in captions]
    words = Words.load()
    known = {tag for tag in set().union(*split) if words.category(tag) is wanted}
    return [tags & known for tags in split]


# ---------------------------------------------------------------- mirroring


def _flip(subject: Subject) -> Finding:
    """Off for people and things; on for drawings and styles unless they carry writing. ``numbers["flip"]`` is it."""
    written = [seen for seen in subject.photos if has_text(seen)]
    if subject.kind in ("person", "object"):
        why = FLIP_WHY_FACE if subject.kind == "person" else FLIP_WHY_TEXT
        return Finding("flip", "green", Said(FLIP_OFF), Said(why), numbers={"flip": 0.0})
    if written and subject.kind in (*FACED, "style"):
        keys = tuple(seen.key for seen in written)
        title = Said(FLIP_TEXT, {"count": len(written)})
        return Finding("flip", "yellow", title, Said(FLIP_WHY_TEXT), keys, numbers={"flip": 0.0})
    return Finding(
        "flip", "green", Said(FLIP_ON), Said(FLIP_WHY_ON), numbers={"flip": float(subject.kind != "concept")}
    )
