"""What a trait's kind and frequency say: whether it likely is part of the subject, and which traits exclude others."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from lora_forge.dataset.tags.texts import same
from lora_forge.i18n import Said, word

PART, CHANGEABLE, LEAVE = "part", "changeable", "leave"
TITLES = {
    "subject": word("Who or what"),
    "hair": word("Hair"),
    "eyes": word("Eyes"),
    "face": word("Face"),
    "body": word("Body"),
    "clothing": word("Clothing"),
    "accessory": word("Accessories"),
    "pose": word("Pose"),
    "expression": word("Expression"),
    "framing": word("Framing"),
    "background": word("Background"),
    "object": word("Objects"),
    "animal": word("Animals"),
    "style": word("Drawing style"),
    "quality": word("Quality"),
    "meta": word("About the picture"),
    "other": word("Others"),
}
# From which share of the photos on a trait is proposed as part of the subject, by type of LoRA and category. People
# keep their eyes and faces whatever a tagger sees; hair and clothes must be nearly everywhere to count as hers.
PART_FROM: Mapping[str, Mapping[str, float]] = {
    "person": {"eyes": 0.3, "face": 0.3, "body": 0.3, "hair": 0.6},
    "anime": {"eyes": 0.5, "face": 0.5, "body": 0.5, "hair": 0.5, "clothing": 0.8, "accessory": 0.8},
    "style": {"style": 0.3},
    "object": {"object": 0.6, "clothing": 0.6, "accessory": 0.6, "animal": 0.6},
    "concept": {"pose": 0.6, "framing": 0.7, "expression": 0.7},
}
_NEVER = ("subject", "quality", "meta")
_RARE = 0.1
_COLOUR_WORDS = (
    "red orange yellow blonde blond green blue aqua cyan purple violet pink black white grey gray silver brown"
)
COLOURS = frozenset(_COLOUR_WORDS.split())
_OTHERS = ("black", "blue", "green", "yellow")
_GARMENTS = (
    "dress shirt t-shirt blouse sweater hoodie jacket coat top cardigan vest kimono hanfu suit swimsuit bikini robe"
)
_WORN_ALONE = frozenset(_GARMENTS.split())
_COLOURED = re.compile(rf"^({'|'.join(sorted(COLOURS))}) (hair|eyes)$")
_MIXED = frozenset(
    {"multicolored hair", "two-tone hair", "gradient hair", "streaked hair", "colored inner hair", "split-color hair"}
    | {"heterochromia", "multicolored eyes"}
)
_SEVERAL = re.compile(r"^([2-6]\+?|multiple )(girls|boys|people|others)$|^(couple|group|crowd)$")
_SAME_COLOUR = {
    "gray": "grey",
    "silver": "grey",
    "blond": "blonde",
    "yellow": "blonde",
    "violet": "purple",
    "aqua": "blue",
}
_RIVALS: Mapping[str, tuple[str, ...]] = {
    "hair length": ("short hair", "medium hair", "long hair", "bald"),
    "mouth": ("open mouth", "closed mouth"),
    "place": ("indoors", "outdoors"),
    "time": ("day", "night"),
    "number": ("solo", "2girls", "2boys", "multiple girls", "multiple boys"),
    "angle": ("from above", "from below"),
    "frame": ("close-up", "full body"),
}
_RIVAL_OF = {tag: axis for axis, tags in _RIVALS.items() for tag in tags}


def propose(kind: str, category: str, share: float) -> tuple[str, Said]:
    """``part``, ``changeable`` or ``leave`` for a tag on ``share`` (0 to 1) of the photos, and why."""
    values = {"share": round(share * 100)}
    least = PART_FROM.get(kind, PART_FROM["person"]).get(category)
    if category in _NEVER:
        return LEAVE, Said(word("It does not describe the subject; it can stay."))
    if share < _RARE:
        return LEAVE, Said(word("On {share} % of the photos only: too rare to matter."), values)
    if least is None:
        return CHANGEABLE, Said(word("It changes from picture to picture: a prompt should decide."))
    if share >= least:
        return PART, Said(word("It is on {share} % of the photos and belongs to the subject."), values)
    return CHANGEABLE, Said(word("It is on {share} % of the photos only, so it does not always belong."), values)


def is_of_subject(kind: str, category: str) -> bool:
    """Whether traits of this category usually belong to the subject itself."""
    return category in PART_FROM.get(kind, PART_FROM["person"])


def axis_of(tag: str) -> tuple[str, str]:
    """What a tag decides and how, ("hair colour", "red"); tags that differ on one axis exclude each other."""
    name = same(tag)
    match = _COLOURED.match(name)
    if match:
        return f"{match[2]} colour", _SAME_COLOUR.get(match[1], match[1])
    axis = _RIVAL_OF.get(name, "")
    return (axis, name) if axis else ("", "")


def shows_several(tags: set[str]) -> bool:
    """Whether a photo may hold two hair colours: several people, or hair of several colours."""
    return any(_SEVERAL.match(tag) for tag in tags) or bool(tags & _MIXED)


def recoloured(tag: str, shown: Collection[str] = ()) -> str:
    """The tag in another colour that none of ``shown`` has; empty where it has no colour, or all are taken."""
    words = tag.split()
    for at, one in enumerate(words):
        if one in COLOURS:
            first = ("white", "red") if one in ("black", "red", "brown") else ("red", "white")
            others = (" ".join([*words[:at], other, *words[at + 1 :]]) for other in (*first, *_OTHERS) if other != one)
            return next((other for other in others if same(other) not in shown), "")
    return ""


def worn_of(tag: str) -> str:
    """What a tag's colour is of: "hair", "hat"; one word for all that a person wears one of at a time."""
    noun = same(tag).rpartition(" ")[2]
    return "clothes" if noun in _WORN_ALONE else noun
