"""The files beside a LoRA that WebUIs read: NAME.json for its card, NAME.png for its picture.

Keys of the JSON as in AUTOMATIC1111's ``extensions-builtin/Lora/ui_edit_user_metadata.py`` and Forge's; a weight of 0
means to them that none was chosen.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from lora_forge.config import Family

PICTURE_PX = 768
SD_VERSIONS = {Family.SD1: "SD1", Family.SD2: "SD2", Family.SDXL: "SDXL"}


@dataclass(frozen=True)
class Card:
    """What a card inserts and shows. ``weight`` is the strength it inserts."""

    activation: str = ""
    weight: float = 1.0
    negative: str = ""
    notes: str = ""
    description: str = ""
    family: Family | None = None

    def json_bytes(self, before: dict[str, Any]) -> bytes:
        """NAME.json; keys of ``before`` that are not ours stay."""
        values = {
            **before,
            "description": self.description or before.get("description", ""),
            "sd version": SD_VERSIONS[self.family] if self.family else before.get("sd version", "Unknown"),
            "activation text": self.activation,
            "preferred weight": round(self.weight, 4),
            "negative text": self.negative,
            "notes": self.notes,
        }
        return (json.dumps(values, indent=4, ensure_ascii=False) + "\n").encode("utf-8")


def read_card(path: Path) -> dict[str, Any]:
    """What is in the JSON beside the LoRA ``path``; empty where there is none that can be read."""
    try:
        values = json.loads(path.with_name(path.stem + ".json").read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def companions(path: Path) -> Iterator[Path]:
    """The files beside a LoRA that go where it goes: NAME.json, NAME.png, NAME.preview.png, NAME.civitai.info..."""
    start = path.stem + "."
    for near in sorted(path.parent.iterdir()):
        if near.name.startswith(start) and near.name != path.name and near.is_file():
            yield near


def picture_bytes(picture: Image.Image, side_px: int = PICTURE_PX) -> bytes:
    """A PNG no larger than ``side_px``, of the pixels alone: no prompt, no date, no place, no profile."""
    plain = Image.new("RGB", picture.size, (255, 255, 255))
    plain.paste(picture.convert("RGB"))
    plain.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    plain.save(file, format="PNG", optimize=True)
    return file.getvalue()
