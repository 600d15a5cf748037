"""Judges in words: who is at work for a score, what is missing, and how to get it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lora_forge.evaluate.scores import SCORES, ScoreName
from lora_forge.i18n import Said, Text, say, some_of, word
from lora_forge.work.judge_models import FACE_PACK, FaceRoom, TaggerChoice, Way
from lora_forge.work.tagging import TOY_ID

_OURS, _INSTALLED_PACK, _INSTALLED_TAGGER = (
    word("LoRA Forge, needs no model"), word("the face pack on this machine"), word("the tagger on this machine"),
)  # fmt: skip
_BUNDLED, _HOSTS = word("bundled"), word("the WebUI's own")
_STRUCTURE, _STATISTICS = word("Structure"), word("Statistics")
DONE = word("{count} photos looked at by the judges.")
NO_PHOTOS = word("No photo of the set can be read, so whether a picture copies one can't be told.")
NOTHING_SHARED = word(
    "The photos are too few, or have too little in common for the tagger, so likeness can't be told: use at least 3 "
    "that show the same."
)
TOO_FEW_FACES = word("Fewer than {least} photos have a face to compare with, so likeness can't be told.")
_FACES = word("The face in each picture is compared with those in the photos; without a face it is no likeness at all.")
_TRAITS = word("It looks for the traits that belong to the subject, as clearly as the photos show them.")
_THESE = word("It looks for {tags}, as clearly as the photos show them.")
_TAGS = word("Everything it sees in a picture is compared with what it sees in the photos; coarse, but even.")
_SWAPS = word("It looks for what the prompt changes, in the pictures and in those without the LoRA.")
_COPIES = word("Edges and shapes of each picture are compared with every photo, shifted and mirrored too.")
_CLEAN = word("Brightness, edges, smoothness and colours of each picture stand beside those of the photos.")
_NO_PACK = word("No face model is on this machine, so likeness can't be told: download a face pack.")
_NO_LIBRARY = word("The library {part} is not installed, so likeness can't be told: install it.")
_FAILED = word("{cause} So likeness can't be told.")
_NO_TAGGER = word("No tagger is on this machine, so it can't be told: download one.")
_NO_RUNTIME = word("The library {part} is not installed, so no tagger can look: install it.")
_TAGGER_FAILED = word("{cause} So the tagger can't look.")


@dataclass(frozen=True)
class Used:
    """A judge at work for ``score``. ``source``: whose it is. ``sentence``: how it judges."""

    score: ScoreName
    name: Said
    source: Said
    sentence: Said

    def to_json(self, language: str) -> dict[str, Any]:
        """For a page."""
        facts = SCORES[self.score]
        return {
            "score": self.score,
            "title": say(facts.title, language),
            "name": self.name.text(language),
            "source": self.source.text(language),
            "unit": facts.unit,
            "range": list(facts.range),
            "sentence": self.sentence.text(language),
        }


@dataclass(frozen=True)
class Missing:
    """A score that can't be told. ``item``: what to download for it (:mod:`lora_forge.downloads`), or empty.
    ``part``: the library to install for it (:mod:`lora_forge.parts`), or empty."""

    score: ScoreName
    sentence: Said
    item: str = ""
    part: str = ""

    def to_json(self, language: str) -> dict[str, Any]:
        """For a page."""
        return {
            "score": self.score,
            "title": say(SCORES[self.score].title, language),
            "sentence": self.sentence.text(language),
            "item": self.item,
            "part": self.part,
        }


MODEL_FREE = (
    Used("copying", Said(_STRUCTURE), Said(_OURS), Said(_COPIES)),
    Used("health", Said(_STATISTICS), Said(_OURS), Said(_CLEAN)),
)
"""Those that are always there."""


def faces_used(name: Said) -> Used:
    """Likeness by faces."""
    return Used("identity", name, Said(_INSTALLED_PACK), Said(_FACES))


def faces_missing(room: FaceRoom, cause: Text | None = None) -> Missing:
    """Likeness by faces that can't be told; ``cause``: why, where all seemed to be there."""
    if cause:
        return Missing("identity", Said(_FAILED, {"cause": cause}), "" if room.pack else FACE_PACK, room.part)
    if not room.pack:
        return Missing("identity", Said(_NO_PACK), FACE_PACK, room.part)
    return Missing("identity", Said(_NO_LIBRARY, {"part": room.part}), "", room.part)


def tagger_used(score: ScoreName, way: Way, name: Said, source: Said, traits: Sequence[str] = ()) -> Used:
    """A tagger at work; ``traits``: what it looks for, where that is known."""
    if score == "obedience":
        return Used(score, name, source, Said(_SWAPS))
    if way == "traits":
        tags = some_of(list(traits), 6) if traits else None
        return Used(score, name, source, Said(_TRAITS) if tags is None else Said(_THESE, {"tags": tags}))
    return Used(score, name, source, Said(_TAGS))


def tagger_missing(score: ScoreName, item: str, part: str, cause: Text | None = None) -> Missing:
    """A score that a tagger would tell; ``cause``: why this one can't."""
    if cause:
        return Missing(score, Said(_TAGGER_FAILED, {"cause": cause}), item, part)
    if item:
        return Missing(score, Said(_NO_TAGGER), item, part)
    return Missing(score, Said(_NO_RUNTIME, {"part": part}), item, part)


def tagger_source(tagger: TaggerChoice) -> str:
    """Whose it is."""
    if not tagger.is_scoring:
        return _HOSTS
    return _BUNDLED if tagger.offer.id == TOY_ID else _INSTALLED_TAGGER
