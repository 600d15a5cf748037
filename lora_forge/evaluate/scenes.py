"""Which scenes the generalisation test offers for a project, which it takes, and the picture each asks for."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lora_forge.dataset.tags.texts import same
from lora_forge.dataset.trait_rules import COLOURS, axis_of
from lora_forge.dataset.traits import Traits
from lora_forge.evaluate.scene_lists import FROM_PHOTOS, GROUPS, OWN, SCENES, Scene
from lora_forge.i18n import Several
from lora_forge.seeds import stable_seed

__all__ = [
    "GROUPS",
    "Scene",
    "Wording",
    "chosen",
    "label_of",
    "own_scenes",
    "prompt_of",
    "scenes_for",
    "seed_of",
    "tag_of",
]

COUNT = 9
MOST_OWN = 12
_MOST_SWAPS = 6
_MOST_DEFAULT_SWAPS = 3
_TRAIT = "trait:"


class Dictionary(Protocol):
    """What is asked of the dictionary."""

    def zh(self, tag: str) -> str: ...


@dataclass(frozen=True)
class Wording:
    """What stands around a scene's words: ``quality`` first, then the trigger word and what the ``subject`` is
    ("1girl"), as the captions say it; ``negative`` is the negative prompt."""

    trigger_word: str = ""
    subject: str = ""
    quality: str = ""
    negative: str = ""


def scenes_for(kind: str, traits: Traits) -> tuple[Scene, ...]:
    """All scenes on offer: the project's changeable traits in another colour, then the kind's list.

    A scene that asks for the opposite of a trait that is part of the subject says so in ``contradicts``.
    """
    swaps = [Scene(_TRAIT + tag, FROM_PHOTOS, None, tag, (tag,)) for tag in traits.swaps(_MOST_SWAPS)]
    known = [*swaps, *SCENES.get(kind, SCENES["person"])]
    return tuple(beside(one, traits) for one in known)


def beside(scene: Scene, traits: Traits) -> Scene:
    """``scene`` with what it ``contradicts``."""
    return dataclasses.replace(scene, contradicts=_contradicted(scene.asks, traits.parts))


def chosen(scenes: Sequence[Scene], seen: Collection[str] = ()) -> tuple[str, ...]:
    """Ids of the nine that make the test: up to three from the photos' own tags, then the list in its order.

    What contradicts the subject itself is left out; what the photos show anyway (``seen``: their tags) comes last, and
    nothing is asked for twice.
    """
    shown = set(map(same, seen))
    able = [one for one in scenes if not one.contradicts]
    swaps = [one for one in able if one.group == FROM_PHOTOS][:_MOST_DEFAULT_SWAPS]
    listed = [one for one in able if one.group != FROM_PHOTOS]
    new = [one for one in listed if not set(map(same, one.asks)) <= shown]
    taken: dict[frozenset[str], str] = {}
    for one in [*swaps, *new, *listed]:
        taken.setdefault(frozenset(map(same, one.asks)), one.id)
    wanted = set(list(taken.values())[:COUNT])
    return tuple(one.id for one in scenes if one.id in wanted)


def own_scenes(prompts: Iterable[str], dictionary: Dictionary) -> tuple[Scene, ...]:
    """A person's own prompts as scenes; they ask for those of their words that are tags of the ``dictionary``."""
    kept = list(dict.fromkeys(" ".join(prompt.split()) for prompt in prompts if prompt.strip()))[:MOST_OWN]
    return tuple(_own_scene(prompt, dictionary) for prompt in kept)


def _own_scene(prompt: str, dictionary: Dictionary) -> Scene:
    words = dict.fromkeys(same(part) for part in prompt.split(","))
    return Scene(f"{OWN}:{prompt}", OWN, None, prompt, tuple(one for one in words if one and dictionary.zh(one)))


def prompt_of(scene: Scene, wording: Wording) -> str:
    """The whole prompt without any LoRA tag; the trigger word stands once, and a scene of another style without the
    usual quality words."""
    has_trigger = wording.trigger_word and wording.trigger_word.casefold() in scene.prompt.casefold()
    words = (
        "" if scene.is_other_style else wording.quality,
        "" if has_trigger else wording.trigger_word,
        "" if has_trigger else wording.subject,
        scene.prompt,
    )
    parts: dict[str, str] = {}
    for part in ", ".join(words).split(","):  # nothing twice: a person may write "1girl" too
        parts.setdefault(same(part), part.strip())
    return ", ".join(part for part in parts.values() if part)


def seed_of(scene: Scene, seed: int) -> int:
    """The noise of a scene, 0 to 2^31: the same for every LoRA and every choice of scenes, so that two LoRAs can be
    held against each other picture by picture."""
    return stable_seed("album", scene.id, seed) % 2**31


def label_of(scene: Scene, language: str, dictionary: Dictionary) -> str:
    """What to call a scene: its own label, or its tags in ``language``; of a person's own its prompt."""
    if scene.label is not None:
        return scene.label.text(language)
    if scene.group == OWN:
        return scene.prompt
    return str(Several(tuple(tag_of(tag, language, dictionary) for tag in scene.asks)).text(language))


def tag_of(tag: str, language: str, dictionary: Dictionary) -> str:
    """The tag as a page shows it."""
    return (dictionary.zh(tag) if language == "zh" else "") or tag


def _contradicted(asks: Iterable[str], parts: Iterable[str]) -> str:
    """The first of ``parts`` that excludes something asked for: another hair colour, the same garment in another."""
    for part in parts:
        for tag in asks:
            (axis, value), (own_axis, own_value) = axis_of(tag), axis_of(part)
            if axis and axis == own_axis and value != own_value:
                return part
            if _thing(tag) and _thing(tag) == _thing(part) and same(tag) != same(part):
                return part
    return ""


def _thing(tag: str) -> str:
    """The thing of a coloured tag: ``dress`` of ``black dress``; empty where no colour is named."""
    colour, _, thing = same(tag).partition(" ")
    return thing if colour in COLOURS else ""
