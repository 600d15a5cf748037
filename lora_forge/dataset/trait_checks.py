"""What does not fit together in a set's tags, each with what could be done about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from lora_forge.dataset.project import Project
from lora_forge.dataset.tags.book import book_of
from lora_forge.dataset.tags.texts import same
from lora_forge.dataset.trait_rules import CHANGEABLE, PART, axis_of, is_of_subject, shows_several
from lora_forge.dataset.traits import Survey, Trait, Traits, subject_files
from lora_forge.i18n import Said, word

_Where = Mapping[str, Mapping[str, None]]
_PARTLY_FROM, _PARTLY_TO = 0.2, 0.9
_FEWEST = 2
# One of these may be worn or shown instead of another; hair, eyes and a body are there whatever the photo.
_IN_TURN = ("clothing", "accessory", "pose", "framing", "expression")
_OF_THE_SUBJECT = ("hair colour", "eyes colour", "hair length")


@dataclass(frozen=True)
class Fix:
    """One way out: an ``operation`` for ``keys``, as the tags/edit route takes it, or ``answers`` for the assistant."""

    id: str
    label: Said
    operation: Mapping[str, Any] | None = None
    keys: tuple[str, ...] | None = None
    answers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contradiction:
    """``photos``: keys of those it is about."""

    id: str
    sentence: Said
    photos: tuple[str, ...]
    fixes: tuple[Fix, ...]


def contradictions(project: Project, kind: str, seen: Survey) -> list[Contradiction]:
    """All of them: on one photo, between photos, on a part of the photos, and what was deleted and is there again.

    Raises:
        TagError: as :func:`lora_forge.dataset.traits.survey`.
    """
    files = subject_files(book_of(project))
    tags = {key: {same(tag) for tag in file.caption.tags} for key, file in files.items()}
    named: defaultdict[str, dict[str, None]] = defaultdict(dict)  # an ordered set each
    for key, there in tags.items():
        for name in there:
            named[name][key] = None
    where = {trait.tag: named.get(same(trait.tag), {}) for trait in seen.traits}
    deleted = set(map(same, Traits.load(project).parts))
    traits = [trait for trait in seen.traits if same(trait.tag) not in deleted]
    again = [trait for trait in seen.traits if same(trait.tag) in deleted and where[trait.tag]]
    differing = _between_photos(traits, where)
    settled = {axis_of(one.id.partition(":")[2].partition("|")[0])[0] for one in differing}
    return [
        *_on_one_photo(traits, where, tags),
        *differing,
        *_on_some(kind, [trait for trait in traits if axis_of(trait.tag)[0] not in settled], where, tags),
        *(_there_again(trait, tuple(where[trait.tag])) for trait in again),
    ]


def _on_one_photo(traits: Sequence[Trait], where: _Where, tags: Mapping[str, set[str]]) -> list[Contradiction]:
    found = []
    for one, other in _rivals(traits):
        photos = tuple(key for key in where[one.tag] if key in where[other.tag] and not shows_several(tags[key]))
        if photos:
            values = {"one": one.tag, "other": other.tag, "count": len(photos)}
            sentence = Said(word("{one} and {other} are both on {count} photos, and can't both be true."), values)
            fixes = tuple(
                Fix(f"keep:{kept.tag}", Said(word("Keep {tag} there"), {"tag": kept.tag}),
                    {"kind": "remove", "tags": [gone.tag]}, photos)
                for kept, gone in ((one, other), (other, one))
            )  # fmt: skip
            found.append(Contradiction(f"two:{one.tag}|{other.tag}", sentence, photos, fixes))
    return found


def _between_photos(traits: Sequence[Trait], where: _Where) -> list[Contradiction]:
    found = []
    for one, other in _rivals(traits):
        if axis_of(one.tag)[0] not in _OF_THE_SUBJECT or CHANGEABLE in (one.answer, other.answer):
            continue
        most, least = sorted((one, other), key=lambda trait: -trait.count)
        photos = tuple(key for key in where[least.tag] if key not in where[most.tag])
        alone = [key for key in where[most.tag] if key not in where[least.tag]]
        if min(len(photos), len(alone)) < _FEWEST:
            continue
        values = {"one": most.tag, "ones": len(alone), "other": least.tag, "others": len(photos)}
        sentence = Said(word("{ones} photos say {one}, {others} others say {other}."), values)
        replace = {"kind": "replace", "find": least.tag, "to": most.tag, "mode": "tag"}
        fixes = (
            Fix(f"rename:{least.tag}", Said(word("Say {tag} on all of them"), {"tag": most.tag}), replace, photos),
            Fix("changeable", Said(word("It changes: keep both tags")),
                answers={most.tag: CHANGEABLE, least.tag: CHANGEABLE}),
        )  # fmt: skip
        found.append(Contradiction(f"differ:{most.tag}|{least.tag}", sentence, photos, fixes))
    return found


def _on_some(kind: str, traits: Sequence[Trait], where: _Where, tags: Mapping[str, set[str]]) -> list[Contradiction]:
    found = []
    for trait in traits:
        if not is_of_subject(kind, trait.category) or trait.answer == CHANGEABLE:
            continue
        if not _PARTLY_FROM <= trait.share < _PARTLY_TO or trait.count < _FEWEST:
            continue
        missing = tuple(key for key in tags if key not in where[trait.tag])
        if trait.category in _IN_TURN:
            others = [where[other.tag] for other in traits if other.category == trait.category and other is not trait]
            missing = tuple(key for key in missing if not any(key in photos for photos in others))
            if len(missing) < _FEWEST:
                continue
        values = {"tag": trait.tag, "share": round(trait.share * 100), "count": trait.count, "total": len(tags)}
        sentence = Said(word("{tag} is on {share} % of the photos only, {count} of {total}."), values)
        name = {"tag": trait.tag}
        fixes = (
            Fix("complete", Said(word("Add {tag} to the others"), name), {"kind": "add", "tags": [trait.tag]}, missing),
            Fix(
                "part",
                Said(word("{tag} is part of the subject: delete it everywhere"), name),
                answers={trait.tag: PART},
            ),
            Fix("changeable", Said(word("{tag} changes: leave it as it is"), name), answers={trait.tag: CHANGEABLE}),
        )
        found.append(Contradiction(f"some:{trait.tag}", sentence, missing, fixes))
    return found


def _there_again(trait: Trait, photos: tuple[str, ...]) -> Contradiction:
    values = {"tag": trait.tag, "count": len(photos)}
    sentence = Said(word("{tag} is part of the subject, and {count} photos still say it."), values)
    fixes = (
        Fix("remove", Said(word("Delete {tag} there too"), {"tag": trait.tag}), answers={trait.tag: PART}),
        Fix("changeable", Said(word("{tag} changes: leave it as it is"), {"tag": trait.tag}),
            answers={trait.tag: CHANGEABLE}),
    )  # fmt: skip
    return Contradiction(f"again:{trait.tag}", sentence, photos, fixes)


def _rivals(traits: Sequence[Trait]) -> list[tuple[Trait, Trait]]:
    axes: defaultdict[str, list[Trait]] = defaultdict(list)
    for trait in traits:
        if axis_of(trait.tag)[0]:
            axes[axis_of(trait.tag)[0]].append(trait)
    pairs = [pair for tags in axes.values() for pair in combinations(tags, 2)]
    return [(one, other) for one, other in pairs if axis_of(one.tag)[1] != axis_of(other.tag)[1]]
