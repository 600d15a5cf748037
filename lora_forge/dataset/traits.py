"""The trait assistant (保留 / 可变): which tags become part of the subject, and which stay open to the prompt.

The rule: a trait whose tag is **deleted** becomes part of the subject, since the trigger word is then the only word it
can hang on; a trait whose tag is **kept** stays changeable. Answers are kept in the project's traits.json, with the
photos a tag was deleted from, so that a change of mind brings it back there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lora_forge.dataset.project import Project
from lora_forge.dataset.tags.book import Change, TagBook, book_of
from lora_forge.dataset.tags.errors import TagError
from lora_forge.dataset.tags.journal import Label
from lora_forge.dataset.tags.shelf import CaptionFile
from lora_forge.dataset.tags.texts import Caption, is_trigger, lock_of, same, with_tags
from lora_forge.dataset.trait_rules import CHANGEABLE, LEAVE, PART, TITLES, propose, recoloured, worn_of
from lora_forge.i18n import Said, Several, some_of, word

FILE = "traits.json"
ANSWERS = (PART, CHANGEABLE, LEAVE)
_SHOWN = 6


class Dictionary(Protocol):
    """What is asked of the dictionary."""

    def zh(self, tag: str) -> str: ...

    def category(self, tag: str) -> str: ...


@dataclass(frozen=True)
class Traits:
    """``answers``: ``part``, ``changeable`` or ``leave`` by tag. ``removed``: keys of the photos that had a tag that is
    now part of the subject. ``kind``: the type of LoRA they were given for."""

    answers: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kind: str = ""

    @classmethod
    def load(cls, project: Project) -> Traits:
        """The answers in a project; none where there are none yet.

        Raises:
            TagError: traits.json is there and can't be read.
        """
        return cls.read(project.root)

    @classmethod
    def read(cls, root: Path) -> Traits:
        """As :meth:`load`, by the project's folder."""
        path = root / FILE
        try:
            plain = json.loads(path.read_bytes().decode("utf-8-sig"))
            answers = {str(tag): str(one) for tag, one in plain["answers"].items() if one in ANSWERS}
            removed = {str(tag): tuple(map(str, keys)) for tag, keys in plain.get("removed", {}).items()}
            return cls(answers, removed, str(plain.get("kind", "")))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
            raise TagError(
                "{path} can't be read: {cause}.", "Repair it, or move it away.", path=FILE, cause=cause
            ) from cause

    @property
    def changeable(self) -> tuple[str, ...]:
        """Tags that a prompt should be able to change: what previews and scores ask for."""
        return tuple(tag for tag, answer in self.answers.items() if answer == CHANGEABLE)

    @property
    def parts(self) -> tuple[str, ...]:
        """Tags that belong to the subject, deleted from the captions."""
        return tuple(tag for tag, answer in self.answers.items() if answer == PART)

    def swaps(self, most: int = 3) -> tuple[str, ...]:
        """Changeable traits in another colour, which no photo shows: what a prompt must be able to ask for. Of things
        that are worn one at a time there is one."""
        shown = {same(tag) for tag in self.answers}
        found: dict[str, str] = {}
        for tag in self.changeable:
            other = recoloured(tag, shown)
            if other:
                found.setdefault(worn_of(tag), other)
        return tuple(found.values())[:most]

    def text(self) -> str:
        """The content of traits.json."""
        plain = {
            "version": 1,
            "kind": self.kind,
            "answers": dict(sorted(self.answers.items())),
            "removed": {tag: sorted(keys) for tag, keys in sorted(self.removed.items())},
        }
        return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Trait:
    """One tag of the set. ``share``: of the photos, 0 to 1. ``answer``: None until the person has said."""

    tag: str
    category: str
    count: int
    share: float
    proposal: str
    why: Said
    answer: str | None

    @property
    def decision(self) -> str:
        """What the person said, or else what we propose."""
        return self.answer or self.proposal


@dataclass(frozen=True)
class Survey:
    """All traits of a set; ``groups`` by category in the order of the titles."""

    groups: tuple[tuple[str, tuple[Trait, ...]], ...]
    sentence: Said | Several
    examples: tuple[str, str]
    notes: tuple[Said, Said]
    photos: int

    @property
    def traits(self) -> tuple[Trait, ...]:
        return tuple(trait for _, traits in self.groups for trait in traits)


def subject_files(book: TagBook) -> dict[str, CaptionFile]:
    """Captions by key without prior preservation pictures and without sentences."""
    return {
        key: file
        for key, file in book.files().items()
        if not book.is_prior(file) and not file.caption.is_prose and file.problem is None
    }


def survey(project: Project, kind: str, dictionary: Dictionary) -> Survey:
    """Look at the tags of a project's photos.

    Raises:
        TagError: the photos can't be listed, or traits.json not be read.
    """
    book = book_of(project)
    traits, files = Traits.load(project), subject_files(book)
    counts: dict[str, int] = {}
    spelled: dict[str, str] = {}
    for file in files.values():
        lock = lock_of(file.caption.tags, project.trigger_word)
        for tag in dict.fromkeys(file.caption.tags[lock:]):
            if not is_trigger(tag, project.trigger_word):
                name = same(tag)
                spelled.setdefault(name, tag)
                counts[name] = counts.get(name, 0) + 1
    for tag in traits.parts:  # deleted ones are shown too, with the photos they were on
        name = same(tag)
        spelled.setdefault(name, tag)
        counts[name] = counts.get(name, 0) + len(set(traits.removed.get(tag, ())) & files.keys())
    answers = {same(tag): answer for tag, answer in traits.answers.items()}
    found: dict[str, list[Trait]] = {title: [] for title in TITLES}
    for name, count in counts.items():
        category, share = str(dictionary.category(spelled[name])), count / max(1, len(files))
        proposal, why = propose(kind, category, share)
        one = Trait(spelled[name], category, count, share, proposal, why, answers.get(name))
        found.setdefault(category, []).append(one)
    groups = tuple(
        (category, tuple(sorted(traits, key=lambda one: (-one.count, one.tag))))
        for category, traits in found.items()
        if traits
    )
    every = [trait for _, traits in groups for trait in traits]
    examples, notes = _examples(every, project.trigger_word)
    return Survey(groups, _sentence(every, project.trigger_word), examples, notes, len(files))


def answer(
    book: TagBook,
    answers: Mapping[str, str],
    complete: Sequence[str] = (),
    kind: str = "",
    base: int | None = None,
    client: str = "",
) -> Change:
    """Keep ``answers`` and edit all captions accordingly, as one step of undo; ``complete``: tags to add where missing.

    Raises:
        ConflictError: somebody else changed a caption since ``base``.
        TagError: an answer is none, or the captions can't be written; all is as before.
    """
    for tag, one in answers.items():
        if one not in ANSWERS or not tag.strip() or "," in tag:
            raise TagError("{tag}: {answer!r} is no answer.", "Say part, changeable or leave.", tag=tag, answer=one)
    book.refresh()
    seen = book.revision
    old = Traits.read(book.root)
    new = {**{tag: one for tag, one in old.answers.items() if same(tag) not in set(map(same, answers))}, **answers}
    parts = {same(tag): tag for tag, one in new.items() if one == PART}
    back = {same(tag): (tag, keys) for tag, keys in old.removed.items() if same(tag) not in parts}
    removed: dict[str, set[str]] = {tag: set(old.removed.get(tag, ())) for tag in parts.values()}
    missing = [tag for tag in complete if same(tag) not in parts]
    captions: dict[str, str] = {}
    for key, file in subject_files(book).items():
        tags = _answered(key, file.caption, book.trigger_of(file), parts, back, missing, removed)
        if tags != file.caption.tags:
            captions[key] = with_tags(file.caption, tags)
    kept = Traits(new, {tag: tuple(keys) for tag, keys in removed.items() if keys}, kind or old.kind)
    label: Label = (word("Traits: {parts} part of the subject, {changeable} changeable"),
             {"parts": len(kept.parts), "changeable": len(kept.changeable)})  # fmt: skip
    return book.write(captions, label, seen if base is None else min(base, seen), client, {FILE: kept.text()})


def _answered(
    key: str,
    caption: Caption,
    trigger_word: str,
    parts: Mapping[str, str],
    back: Mapping[str, tuple[str, tuple[str, ...]]],
    missing: Iterable[str],
    removed: Mapping[str, set[str]],
) -> tuple[str, ...]:
    """One caption's tags after the answers; what is taken out is noted in ``removed``."""
    lock = lock_of(caption.tags, trigger_word)
    kept = list(caption.tags[:lock])
    for tag in caption.tags[lock:]:
        if same(tag) in parts and not is_trigger(tag, trigger_word):
            removed[parts[same(tag)]].add(key)
        else:
            kept.append(tag)
    there = set(map(same, kept))
    wanted = [tag for name, (tag, keys) in back.items() if key in keys]
    for tag in (*wanted, *missing):
        if same(tag) not in there:
            there.add(same(tag))
            kept.append(tag)
    return tuple(kept)


def _sentence(traits: Sequence[Trait], trigger_word: str) -> Said | Several:
    parts = _names([trait.tag for trait in traits if trait.decision == PART])
    open_ = _names([trait.tag for trait in traits if trait.decision == CHANGEABLE])
    subject = trigger_word or Said(word("the subject"))
    said: list[Said] = []
    if parts is not None:
        template = word("Deleted from the captions, {tags} will always come with {subject}, whatever the prompt says.")
        said.append(Said(template, {"tags": parts, "subject": subject}))
    if open_ is not None:
        said.append(Said(word("Kept in the captions, {tags} stay for the prompt to decide."), {"tags": open_}))
    return Several(tuple(said), " ") if said else Said(word("Nothing will change: no tag is part of the subject."))


def _names(tags: Sequence[str]) -> Said | Several | None:
    return some_of(tags, _SHOWN) if tags else None


def _examples(traits: Sequence[Trait], trigger_word: str) -> tuple[tuple[str, str], tuple[Said, Said]]:
    """Two prompts: one that says nothing of the subject's own traits, one that changes what is changeable."""
    subject = trigger_word or "ohwx"
    parts = [trait.tag for trait in traits if trait.decision == PART]
    open_ = sorted((trait for trait in traits if trait.decision == CHANGEABLE), key=lambda one: -one.count)
    swapped = next(((trait.tag, recoloured(trait.tag)) for trait in open_ if recoloured(trait.tag)), None)
    first = ", ".join([subject, *(trait.tag for trait in open_[:2])])
    second = ", ".join([subject, swapped[1] if swapped else "white hair, red dress"])
    own = _names(parts)
    if own is None:
        note = Said(word("Nothing comes along unasked: every trait has its tag."))
    else:
        note = Said(word("{tags} come along although nobody asked for them."), {"tags": own})
    if swapped:
        obeys = Said(
            word("{new} instead of {old}: the LoRA obeys, as the tag was kept."), {"new": swapped[1], "old": swapped[0]}
        )
    else:
        obeys = Said(word("Whether it obeys shows in such a prompt."))
    return (first, second), (note, obeys)
