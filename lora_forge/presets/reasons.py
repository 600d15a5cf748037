"""Why each default is what it is, in words that can be said; the reasons themselves stand in ``reason_table.py``."""

from __future__ import annotations

from dataclasses import dataclass

from lora_forge.config import Family, TrainConfig
from lora_forge.i18n import Said, Several
from lora_forge.presets.fields import keys
from lora_forge.presets.kinds import ABOUT
from lora_forge.presets.reason_table import COMMON, PREPARED, SOURCES, SPECIAL, TOY, TRAITS, Reason
from lora_forge.presets.table import preset

_SIZES = ("resolution_px", "use_buckets", "bucket_step_px", "bucket_min_px", "bucket_max_px")


@dataclass(frozen=True)
class Why:
    """The reason of one default, in words that can be said."""

    key: str
    sentence: Said
    source: Several


def reason_for(key: str, kind: str, family: Family) -> Reason:
    """Why the setting ``key`` of the preset is what it is."""
    if ABOUT[kind].is_toy:
        return Reason(TOY, ("toy",)) if key in preset(kind, family) else COMMON[key]
    for place in ((kind, family.value, key), (kind, "", key), ("", family.value, key)):
        if place in SPECIAL:
            return SPECIAL[place]
    return COMMON[key]


def reasons(kind: str, family: Family, defaults: TrainConfig, photos: int) -> list[Why]:
    """The reason of every default, in the form's order. ``defaults``: the proposed run's; what of them is not the
    preset's own is the project's."""
    of_preset = preset(kind, family, photos)
    facts = {
        "photos": photos,
        "repeats": defaults.repeats,
        "pictures": ABOUT[kind].pictures,
        "steps": defaults.preview_every_steps,
    }
    found = []
    for key in keys():
        reason = reason_for(key, kind, family)
        plain = getattr(defaults, key)
        if key in _SIZES and plain != of_preset.get(key, getattr(TrainConfig(), key)):
            reason = Reason(PREPARED, ("here",))
        if key == "preview_prompts" and plain and list(plain) != of_preset.get(key):
            reason = Reason(TRAITS, ("tutorial",))
        source = Several(tuple(Said(SOURCES[one]) for one in reason.sources))
        found.append(Why(key, Said(reason.sentence, facts), source))
    return found
