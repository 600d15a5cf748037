"""What an album is asked for: a LoRA's epoch and strength, the scenes, and what stands around their words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lora_forge.config import Family
from lora_forge.dataset.project import Project
from lora_forge.dataset.tags.errors import TagError
from lora_forge.dataset.tags.texts import is_trigger
from lora_forge.dataset.traits import Traits
from lora_forge.dataset.words import Words
from lora_forge.errors import ConfigError
from lora_forge.evaluate.lora_tags import find_lora
from lora_forge.evaluate.plan import file_stem
from lora_forge.evaluate.scenes import Scene, Wording, beside, own_scenes, prompt_of, scenes_for, seed_of
from lora_forge.evaluate.xyz import style_of
from lora_forge.ports import PictureRequest
from lora_forge.work.packing import packed, unpacked

_SUBJECT_FROM = 0.5  # share of the captions that must say it


@dataclass(frozen=True)
class AlbumRequest:
    """``epoch`` 0 is the file NAME.safetensors itself. ``width``, ``height`` in pixels."""

    name: str
    kind: str
    epoch: int
    strength: float
    scenes: tuple[Scene, ...]
    wording: Wording = field(default_factory=Wording)
    seed: int = 0
    width: int = 512
    height: int = 512
    steps: int = 20
    guidance: float = 7.0
    sampler: str = "dpmpp_2m"
    clip_skip: int = 1

    @property
    def stem(self) -> str:
        """The file's name without its ending."""
        return file_stem(self.name, self.epoch) if self.epoch else self.name

    def lora(self, lora_dirs: Sequence[Path]) -> Path:
        """The LoRA's file.

        Raises:
            LoraFileError: it is not there.
        """
        return find_lora(self.stem, lora_dirs)

    def words(self, scene: Scene) -> str:
        """A scene's prompt without the LoRA."""
        return prompt_of(scene, self.wording)

    def picture(self, scene: Scene, *, has_lora: bool = True) -> PictureRequest:
        """One picture of ``scene``."""
        tag = f", <lora:{self.stem}:{self.strength:g}>" if has_lora else ""
        return PictureRequest(
            prompt=self.words(scene) + tag,
            negative_prompt=self.wording.negative,
            width=self.width,
            height=self.height,
            steps=self.steps,
            guidance=self.guidance,
            seed=seed_of(scene, self.seed),
            sampler=self.sampler,
            clip_skip=self.clip_skip,
        )

    def checked(self) -> AlbumRequest:
        """Itself.

        Raises:
            ConfigError: something is out of range.
        """
        if not self.scenes:
            raise ConfigError("No scene is chosen.", "Tick some, or write a prompt of your own.")
        if not (self.epoch >= 0 and 0 < self.strength <= 10):
            raise ConfigError(
                "Epoch {epoch} at strength {strength} can't be drawn.",
                "Choose an epoch of the LoRA, and a strength above 0 and at most 10.",
                epoch=self.epoch,
                strength=f"{self.strength:g}",
            )
        sides = (self.width, self.height)
        if min(sides) < 64 or max(sides) > 4096 or any(side % 8 for side in sides) or not 1 <= self.steps <= 150:
            raise ConfigError(
                "{width}x{height} pixels in {steps} steps can't be drawn.",
                "Sides are multiples of 8 from 64 to 4096, steps 1 to 150.",
                width=self.width,
                height=self.height,
                steps=self.steps,
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        scenes = [{**asdict(replace(one, label=None)), "label": one.label and packed(one.label)} for one in self.scenes]
        return {**asdict(replace(self, scenes=())), "scenes": scenes}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> AlbumRequest:
        """What :meth:`to_dict` gave.

        Raises:
            KeyError, TypeError: it is something else.
        """
        scenes = tuple(_scene(one) for one in plain["scenes"])
        return cls(**{**plain, "scenes": scenes, "wording": Wording(**plain["wording"])})


def _scene(plain: Mapping[str, Any]) -> Scene:
    label = None if plain["label"] is None else unpacked(plain["label"])
    return Scene(**{**plain, "label": label, "asks": tuple(plain["asks"])})


def offered(project: Project, kind: str) -> tuple[Scene, ...]:
    """The scenes on offer for a project; damaged answers of the trait assistant are as none."""
    return scenes_for(kind, _traits(project))


def request_for(
    project: Project,
    kind: str,
    family: Family,
    name: str,
    epoch: int,
    strength: float,
    scenes: Sequence[str],
    own: Sequence[str] = (),
    **more: Any,
) -> AlbumRequest:
    """A request with what suits the kind and the family; ``more`` takes its place where given.

    Raises:
        ConfigError: a scene is unknown, none is chosen, or something is out of range.
    """
    known = {one.id: one for one in offered(project, kind)}
    unknown = [one for one in scenes if one not in known]
    if unknown:
        raise ConfigError(
            "There is no scene {name!r}.", "Reload the page, or look at the list of scenes.", name=unknown[0]
        )
    wanted = set(scenes)
    words = Words.load(project.root.resolve().parent / "words.tsv")
    found = (
        *(one for one in known.values() if one.id in wanted),
        *(beside(one, _traits(project)) for one in own_scenes(own, words)),
    )
    style = style_of(kind, family)
    values: dict[str, Any] = {
        "width": style.size_px,
        "height": style.size_px,
        "guidance": style.guidance,
        "steps": usual_steps(kind),
        "clip_skip": 2 if kind == "anime" and family is Family.SD1 else 1,
        **{key: value for key, value in more.items() if value is not None},
    }
    return AlbumRequest(name, kind, epoch, strength, found, wording_of(project, kind, family), **values).checked()


def usual_steps(kind: str) -> int:
    """Sampler steps of a picture."""
    return 8 if kind.startswith("toyworld") else 20


def wording_of(project: Project, kind: str, family: Family) -> Wording:
    """What stands around a scene's words: the kind's quality words, and the project's own word for its subject."""
    style = style_of(kind, family)
    subject = "" if kind in ("style", "design", "concept", "object") else _subject(project)
    return Wording(project.trigger_word, subject, style.quality, style.negative)


def seen_tags(project: Project) -> frozenset[str]:
    """Tags of the photos' captions."""
    return frozenset(tag for tags in _captions(project) for tag in tags)


def _subject(project: Project) -> str:
    """ "1girl", or whatever most captions call who is in them."""
    captions, words = _captions(project), Words.load()
    counts = Counter(tag for tags in captions for tag in dict.fromkeys(tags) if words.category(tag) == "subject")
    return ", ".join(tag for tag, count in counts.most_common(2) if count >= _SUBJECT_FROM * len(captions))


def _captions(project: Project) -> list[list[str]]:
    """The tags of each photo, without the trigger word and without prior preservation pictures."""
    photos = [photo for photo in project.photos() if not project.group(photo.group).is_prior]
    lines = ([tag.strip() for tag in photo.caption.split(",") if tag.strip()] for photo in photos)
    return [[tag for tag in tags if not is_trigger(tag, project.trigger_word)] for tags in lines]


def _traits(project: Project) -> Traits:
    try:
        return Traits.load(project)
    except TagError:
        return Traits()
