"""What the judges need to know of a project's photos; what a model saw in them is remembered by content."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL.Image import Image

from lora_forge.dataset.captions import split_tags
from lora_forge.dataset.checkup.judging import FACED
from lora_forge.dataset.checkup.people import likeness_to_others, with_subject_first
from lora_forge.dataset.checkup.report import own_photos
from lora_forge.dataset.checkup.seen import Seen, Watcher
from lora_forge.dataset.checkup.thresholds import SAME_PERSON_LEAST, STRANGER_FACES_LEAST
from lora_forge.dataset.faces.face import Detector
from lora_forge.dataset.images import UnreadableImageError, read_image, read_small
from lora_forge.dataset.project import Photo, Project
from lora_forge.dataset.taggers.labels import Label
from lora_forge.dataset.taggers.picking import Scored
from lora_forge.dataset.taggers.scores import Contents, ScoreCache
from lora_forge.dataset.tags.texts import same
from lora_forge.dataset.trait_rules import PART, PART_FROM, propose
from lora_forge.dataset.traits import Traits
from lora_forge.dataset.words import Words
from lora_forge.evaluate.judges.likeness import Reference, apart
from lora_forge.evaluate.judges.readers import Chances, TagReader
from lora_forge.evaluate.judges.tags import TraitLikeness, VectorLikeness, shares_of
from lora_forge.ports import GaveUpError
from lora_forge.work.judge_models import Way

_SMALL_PX = 256
_EVERY = 0.9
"""Share of the photos that show what they are all of."""
_SAYS_NOTHING = ("subject", "quality", "meta")
"""Kinds of tags by which no set of photos differs from another."""

Advance = Callable[[], None]
"""Called after each photo; raises GaveUpError where a stop was asked for."""


@dataclass(frozen=True)
class Likenesses:
    """``own``: each photo's likeness to the others, by key. ``usual``: its mean. ``outliers``: unlike the rest."""

    own: Mapping[str, float]
    usual: float | None
    outliers: tuple[str, ...] = ()


@dataclass(frozen=True)
class FaceSight:
    """``reference``: None where the detector can't tell who it is. ``found_share``: photos with a face, 0 to 1."""

    reference: Reference | None
    found_share: float
    likenesses: Likenesses


@dataclass(frozen=True)
class TagSight:
    """``likeness``: what identity is told by, None for faces. ``way``: by traits, or by all tags where the set has no
    traits. ``due``: what every photo is of ("1girl"). ``traits``: those that are looked for."""

    likeness: TraitLikeness | VectorLikeness | None
    way: Way
    due: tuple[str, ...]
    traits: tuple[str, ...]
    likenesses: Likenesses

    @classmethod
    def of(cls, project: Project, kind: str, way: Way, seen: Mapping[str, Chances]) -> TagSight:
        """From what the tagger saw in the photos, by key."""
        photos, words = list(seen.values()), Words.load()
        usual = [
            tag for tag, share in shares_of(photos).items() if share >= _EVERY and words.category(tag) == "subject"
        ]
        due = tuple(usual) if kind in FACED else ()
        if way == "faces" or not photos:
            return cls(None, way, due, (), Likenesses({}, None))
        by_traits = TraitLikeness(photos, _traits(project, kind, photos, words)) if way == "traits" else None
        if by_traits is not None and by_traits.shown:
            return cls(by_traits, "traits", due, tuple(by_traits.shown), _of(seen, by_traits.own, by_traits.usual))
        ignored = {tag for photo in photos for tag in photo if words.category(tag) in _SAYS_NOTHING}
        by_tags = VectorLikeness(photos, ignored)
        return cls(by_tags, "tags", due, (), _of(seen, by_tags.own, by_tags.usual))


def _traits(project: Project, kind: str, photos: Sequence[Chances], words: Words) -> list[str]:
    """What the person said belongs to the subject; else what would be proposed for tags this frequent, without those
    that the captions still name."""
    said = Traits.load(project).parts
    if said:
        return list(said)
    kind = kind if kind in PART_FROM else "anime"
    shares = shares_of(photos)
    proposed = sorted(tag for tag, share in shares.items() if propose(kind, words.category(tag), share)[0] == PART)
    captions = [frozenset(map(same, split_tags(photo.caption))) for photo in own_photos(project)]
    named = {tag: sum(tag in caption for caption in captions) / len(captions) for tag in proposed}
    return [tag for tag in proposed if named[tag] < shares[tag] / 2] or proposed


def _of(seen: Mapping[str, Chances], own: Sequence[float], usual: float | None) -> Likenesses:
    keys = tuple(seen)
    return Likenesses(dict(zip(keys, own, strict=True)), usual, tuple(keys[number] for number in apart(own)))


def small_photos(photos: Sequence[Photo], advance: Advance) -> list[Image]:
    """Those that can be read, as training sees them (cut by hand), at most 256 px; the toy world's as they are."""
    found = []
    for photo in photos:
        try:
            found.append(_small(photo))
        except (UnreadableImageError, OSError):
            continue
        finally:
            advance()
    return found


def _small(photo: Photo) -> Image:
    crop = photo.crop
    if crop is None:
        return read_small(photo.path, _SMALL_PX)[0]
    image = read_image(photo.path)
    x, y, width, height = crop
    image = image.crop((max(x, 0), max(y, 0), min(x + width, image.width), min(y + height, image.height)))
    image.thumbnail((_SMALL_PX, _SMALL_PX))
    return image


def see_faces(project: Project, photos: Sequence[Photo], detector: Detector, advance: Advance) -> FaceSight:
    """The faces of the photos, as the checkup finds and remembers them.

    Raises:
        MissingPartError: the detector fails.
        OSError: the project's folder can't be written.
    """
    watcher, seen = Watcher(project, detector), list[Seen]()
    try:
        for photo in photos:
            seen.append(watcher.look(photo))
            advance()
    finally:
        watcher.save()
    readable = with_subject_first([one for one in seen if one.problem is None])
    share = sum(one.main is not None for one in readable) / len(readable) if readable else 0.0
    known = [(one.key, one.main.embedding) for one in readable if one.main and one.main.embedding is not None]
    if not detector.identifies or not known:
        return FaceSight(None, share, Likenesses({}, None))
    vectors = np.stack([embedding for _, embedding in known])
    strangers: list[int] = []
    if len(known) >= STRANGER_FACES_LEAST:
        values = likeness_to_others(vectors)
        strangers = [number for number, value in enumerate(values) if value < SAME_PERSON_LEAST]
    reference = Reference(vectors, strangers)
    keys = [key for key, _ in known]
    own = dict(zip(keys, reference.own.tolist(), strict=True))
    return FaceSight(reference, share, Likenesses(own, reference.usual, tuple(keys[one] for one in strangers)))


def see_tags(project: Project, keys: Sequence[str], reader: TagReader, advance: Advance) -> dict[str, Chances]:
    """What the tagger sees in each photo that can be read, by key.

    Raises:
        LoraForgeError: the tagger fails.
        OSError: the project's folder can't be written.
    """
    contents, cache = Contents(project), ScoreCache(project, reader.fingerprint)
    found: dict[str, Chances] = {}
    try:
        for key in keys:
            scored = _scored(project, key, reader, contents, cache)
            if scored is not None:
                found[key] = reader.chances(scored)
            advance()
    finally:
        contents.save()
    return found


def _scored(
    project: Project, key: str, reader: TagReader, contents: Contents, cache: ScoreCache
) -> Sequence[Scored] | None:
    try:
        content = contents.of(key)
        kept = cache.get(content)
        if kept is not None:
            return kept
        image = read_image(project.images_dir / key)
    except (UnreadableImageError, OSError):
        return None
    scored = reader.read([image])[0]
    labels: Sequence[Label] = [one.label for one in scored]
    return cache.put(content, labels, np.array([one.score for one in scored], dtype=np.float32))


def counting(advance: Advance, should_stop: Callable[[], bool]) -> Advance:
    """``advance``, and a look whether to stop.

    Raises:
        GaveUpError: when called, if so.
    """

    def step() -> None:
        advance()
        if should_stop():
            raise GaveUpError

    return step
