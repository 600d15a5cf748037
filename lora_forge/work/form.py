"""The Train form as one answer: kinds, fields in words, defaults with reasons, and what a person said before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lora_forge.config import Family, TrainConfig
from lora_forge.dataset.project import Project
from lora_forge.dataset.tags import TagError
from lora_forge.dataset.traits import Traits
from lora_forge.i18n import say
from lora_forge.ports import Desk
from lora_forge.presets import ABOUT
from lora_forge.presets.fields import KNOBS, described
from lora_forge.presets.reasons import reasons
from lora_forge.presets.user import Presets
from lora_forge.work.drafts import load_draft
from lora_forge.work.proposing import propose_name, suggest_trigger, visits_of
from lora_forge.work.settings import USUAL_PHOTOS, proposed_config


def form(
    desk: Desk, project: Project, kind: str = "", language: str = "en", taken: Iterable[str] = ()
) -> dict[str, Any]:
    """What the Train step shows for ``project`` on the loaded checkpoint, ready for JSON.

    ``kind`` left out: that of the draft, or of the traits' answers, or a person. ``taken``: names of runs that
    wait or go on. ``name`` is the draft's, or its next version where that is used by now.

    Raises:
        CheckpointError: nothing that can be trained on is loaded.
        ConfigError: there is no such kind.
        DatasetError: the project's photos can't be listed.
    """
    family = desk.info().family
    draft = load_draft(project)
    kind = kind or (draft.kind if draft else "") or _kind_of_traits(project)
    name = propose_name(project, desk.lora_dir(), draft.name if draft else "", taken)
    visits = visits_of(project)
    defaults = proposed_config(project, name, kind, family, {})
    return {
        "project": project.root.name,
        "photos": visits.photos,
        "family": family.value,
        "kind": kind,
        "kinds": _kinds(language, has_toys="toyworld" in desk.loaded() or ABOUT[kind].is_toy),
        "name": name,
        "trigger_word": project.trigger_word or suggest_trigger(name),
        "defaults": defaults.to_dict(),
        "knobs": list(KNOBS),
        "groups": described(language),
        "why": _why(kind, family, defaults, visits.photos or USUAL_PHOTOS, language),
        "draft": draft.plain() if draft else None,
        "presets": [
            {"name": one.name, "kind": one.kind, "changed": len(one.values)}
            for one in Presets(desk.data_root()).every()
        ],
    }


def _why(kind: str, family: Family, defaults: TrainConfig, photos: int, language: str) -> list[dict[str, str]]:
    return [
        {"key": why.key, "sentence": why.sentence.text(language), "source": why.source.text(language)}
        for why in reasons(kind, family, defaults, photos)
    ]


def _kinds(language: str, has_toys: bool) -> list[dict[str, str]]:
    return [
        {"id": kind, "label": say(about.label, language), "sentence": say(about.sentence, language)}
        for kind, about in ABOUT.items()
        if has_toys or not about.is_toy
    ]


def _kind_of_traits(project: Project) -> str:
    try:
        kind = Traits.load(project).kind
    except TagError:
        kind = ""
    return kind if kind in ABOUT else "person"
