"""One line of the report: a light, a sentence, the photos, what to do; and how it is kept as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lora_forge.i18n import Said, Several, word

Light = Literal["green", "yellow", "red"]

REMEDIES = {
    "trash": word("Move these photos to the trash"),
    "keep_best": word("Keep the best of each, the rest to the trash"),
    "crop_to_face": word("Crop to the face"),
    "mark_face": word("Mark the face by hand"),
    "lower_resolution": word("Train at a lower resolution"),
    "add_photos": word("Add photos"),
}
ACTING = ("trash", "keep_best", "crop_to_face")
"""Remedies that :func:`lora_forge.dataset.checkup.apply` performs; the others are for the page or the person."""


@dataclass(frozen=True)
class Finding:
    """``photos``: keys it names, in order. ``groups``: photos that belong together, the best one first.

    ``is_judged`` False: this set or this detector does not allow a judgement; the light is green then and ``why``
    says so. ``numbers``: figures for a page or a program.
    """

    id: str
    light: Light
    title: Said
    why: Said
    photos: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    groups: tuple[tuple[str, ...], ...] = ()
    is_judged: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain values, texts as templates, so that any language can be said later."""
        return {
            "id": self.id,
            "light": self.light,
            "title": pack(self.title),
            "why": pack(self.why),
            "photos": list(self.photos),
            "remedies": list(self.remedies),
            "numbers": dict(self.numbers),
            "groups": [list(group) for group in self.groups],
            "is_judged": self.is_judged,
        }

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Finding:
        """What :meth:`to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        title, why = unpack(plain["title"]), unpack(plain["why"])
        if not isinstance(title, Said) or not isinstance(why, Said) or plain["light"] not in ("green", "yellow", "red"):
            raise ValueError(plain["id"])
        return cls(
            str(plain["id"]),
            plain["light"],
            title,
            why,
            tuple(plain["photos"]),
            tuple(name for name in plain["remedies"] if name in REMEDIES),
            dict(plain["numbers"]),
            tuple(tuple(group) for group in plain["groups"]),
            bool(plain["is_judged"]),
        )

    def told(self, language: str = "en") -> dict[str, Any]:
        """What a page shows, in ``language``."""
        return {
            "id": self.id,
            "light": self.light,
            "title": self.title.text(language),
            "why": self.why.text(language),
            "photos": list(self.photos),
            "remedies": [
                {"id": name, "label": Said(REMEDIES[name]).text(language), "acts": name in ACTING}
                for name in self.remedies
            ],
            "numbers": dict(self.numbers),
            "groups": [list(group) for group in self.groups],
            "is_judged": self.is_judged,
        }


def pack(value: object) -> Any:
    """A text, or a value in one, as plain JSON."""
    if isinstance(value, Said):
        return {"said": value.template, "values": {name: pack(inner) for name, inner in value.values.items()}}
    if isinstance(value, Several):
        return {"several": [pack(part) for part in value.parts], "between": value.between}
    return value if isinstance(value, (int, float, str)) else str(value)


def unpack(plain: Any) -> object:
    """What :func:`pack` was given.

    Raises:
        KeyError, TypeError, AttributeError: it is something else.
    """
    if isinstance(plain, dict) and "said" in plain:
        return Said(str(plain["said"]), {name: unpack(inner) for name, inner in plain["values"].items()})
    if isinstance(plain, dict):
        return Several(tuple(unpack(part) for part in plain["several"]), str(plain["between"]))
    if not isinstance(plain, (int, float, str)):
        raise TypeError(type(plain).__name__)
    return plain
