"""What the form says of each setting a person may change: its group, label and effects. The sentence itself and the
range stand in :mod:`lora_forge.config`, once for ``--help-settings`` and the page."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_forge.config import TrainConfig
from lora_forge.i18n import say, word
from lora_forge.presets.notes import GROUPS, Note

KNOBS = ("repeats", "epochs", "resolution_px")
NO_FIELDS = ("schema_version", "name", "trigger_word")  # ours, and what the form asks beside its fields

_CHOICES: Mapping[str, str] = {
    "adamw": "AdamW",
    "adamw8bit": "AdamW 8-bit",
    "adafactor": "Adafactor",
    "lion": "Lion",
    "prodigy": "Prodigy",
    "schedule_free": "Schedule-Free",
    "constant": word("Constant"),
    "linear": word("Linear"),
    "cosine": word("Cosine"),
    "cosine_with_restarts": word("Cosine with restarts"),
    "polynomial": word("Polynomial"),
    "auto": word("Automatic"),
    "on": word("On"),
    "off": word("Off"),
    "as_lent": word("As loaded"),
    "fp8": word("8 bits (fp8)"),
    "epsilon": word("Noise (epsilon)"),
    "v_prediction": word("Velocity (v)"),
    "attention": word("Attention"),
    "feed_forward": word("Feed-forward"),
    "projection": word("Projections"),
}
_STEPS: Mapping[str, float] = {
    "resolution_px": 64,
    "bucket_step_px": 8,
    "bucket_min_px": 64,
    "bucket_max_px": 64,
    "tag_dropout": 0.05,
    "caption_dropout": 0.05,
    "rank_dropout": 0.05,
    "outside_weight": 0.05,
    "prior_weight": 0.1,
    "noise_offset": 0.01,
    "max_norm": 0.1,
    "alpha": 1,
    "conv_alpha": 1,
    "lora_plus_ratio": 1,
    "min_snr_gamma": 0.5,
    "max_grad_norm": 0.1,
    "preview_share": 0.05,
    "preview_guidance": 0.5,
}


@dataclass(frozen=True)
class Shape:
    """What widget a setting wants. ``least``, ``most``, ``step``: None where there is no such bound."""

    kind: str
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    step: float | None = None


def keys() -> tuple[str, ...]:
    """Every setting of the form, in its order."""
    return tuple(note.key for _, _, notes in GROUPS for note in notes)


def shape_of(key: str) -> Shape:
    """The widget of the setting ``key``: int, float, bool, choice, choices, text or texts."""
    field, hint = _FIELDS[key], typing.get_type_hints(TrainConfig)[key]
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(typing.get_args(hint)[0])
        return Shape("choices", inner) if inner else Shape("texts")
    if typing.get_origin(hint) is typing.Literal:
        return Shape("choice", typing.get_args(hint))
    if hint in (int, float):
        step = _STEPS.get(key, 1 if hint is int else None)
        bounds = (field.metadata["least"], field.metadata["most"])
        least, most = (value if math.isfinite(value) else None for value in bounds)
        return Shape("int" if hint is int else "float", (), least, most, step)
    return Shape("bool" if hint is bool else "text")


def described(language: str) -> list[dict[str, Any]]:
    """Groups with their fields, in words of ``language``, ready for JSON."""
    return [
        {"id": group, "title": say(title, language), "fields": [_field(note, language) for note in notes]}
        for group, title, notes in GROUPS
    ]


def label_of(key: str, language: str = "en") -> str:
    """What the form calls the setting; the key itself where it is none of the form's."""
    return next((say(note.label, language) for _, _, notes in GROUPS for note in notes if note.key == key), key)


def _field(note: Note, language: str) -> dict[str, Any]:
    shape = shape_of(note.key)
    effects = {"quality": note.quality, "time": note.time, "memory": note.memory}
    return {
        "key": note.key,
        "label": say(note.label, language),
        "help": say(_FIELDS[note.key].metadata["help"], language),
        "effect": {name: say(text, language) if text else "" for name, text in effects.items()},
        "kind": shape.kind,
        "choices": [{"value": one, "label": say(_CHOICES.get(one, one), language)} for one in shape.choices],
        "least": shape.least,
        "most": shape.most,
        "step": shape.step,
    }


_FIELDS = {field.name: field for field in dataclasses.fields(TrainConfig)}
