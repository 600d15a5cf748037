"""The content of project.json: reading and checking it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_forge.dataset.naming import printable
from lora_forge.errors import DatasetError

SCHEMA_VERSION = 1
CROP_MODES = ("middle", "subject", "none")
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Group:
    """Photos trained alike. ``repeats`` None takes the run's; ``is_prior``: prior preservation pictures; ``is_faces``:
    faces cut from the other photos."""

    name: str
    repeats: int | None = None
    is_prior: bool = False
    is_faces: bool = False


def checked_trigger(trigger_word: str) -> str:
    """The trigger word trimmed.

    Raises:
        DatasetError: it holds a comma or a line end, which captions are split on.
    """
    word = " ".join(trigger_word.split(" ")).strip()
    if any(char in word for char in ",\uff0c\n\r"):
        raise DatasetError(
            "The trigger word {word!r} holds a comma or a line end.", "Choose one word or phrase.", word=word
        )
    return word


def read_values(root: Path) -> dict[str, Any]:
    """The checked content of the project.json in ``root``, keys that are missing filled in.

    Raises:
        DatasetError: missing, damaged, or from a newer program.
    """
    path = root / "project.json"
    try:
        values = json.loads(path.read_bytes().decode("utf-8-sig", errors="surrogateescape"))
    except FileNotFoundError as cause:
        raise DatasetError(
            "{root} is not a project: it has no project.json.",
            "Make one by importing photos: lora-forge import SOURCE --project {root}",
            root=root,
        ) from cause
    except (OSError, ValueError) as cause:
        raise DatasetError("{path} can't be read: {cause}.", "Repair it.", path=path, cause=cause) from cause
    problem = _problem(values)
    if problem:
        raise DatasetError("{path} is not a project file: {problem}.", "Repair it.", path=path, problem=problem)
    return {
        "trigger_word": "",
        "groups": [],
        "faces": {},
        "edits": {},
        "cuts": [],
        "crop_mode": CROP_MODES[0],
        **values,
    }


def _problem(values: Any) -> str:
    """What is wrong with the content of a project.json; empty when nothing is. Unknown keys are kept, not refused:
    a newer program or a person may have put them there."""
    if not isinstance(values, dict):
        return "it holds no object"
    version = values.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        return f"its version is {version}, this program knows {SCHEMA_VERSION}; update LoRA Forge"
    try:
        if not isinstance(values.get("trigger_word", ""), str):
            return "trigger_word is not text"
        for group in values.get("groups", []):
            parse_group(group)
        for box in values.get("faces", {}).values():
            parse_box(box)
    except (TypeError, ValueError, KeyError, AttributeError) as cause:
        return f"{printable(str(cause))} in groups or faces"
    return _problem_of_edits(values)


def _problem_of_edits(values: dict[str, Any]) -> str:
    try:
        for edit in values.get("edits", {}).values():
            _ = str(edit["key"]), int(edit["size_bytes"]), int(edit["mtime_ns"])
            for box in (edit.get("face"), edit.get("crop")):
                _ = box and parse_box(box)
        for cut in values.get("cuts", []):
            parse_box(cut["face"])
            _ = parse_box(cut["box"]), [str(cut[name]) for name in ("key", "sha256", "source", "source_sha256")]
    except (TypeError, ValueError, KeyError, AttributeError) as cause:
        return f"{printable(str(cause))} in edits or cuts"
    mode = values.get("crop_mode", CROP_MODES[0])
    return "" if mode in CROP_MODES else f"crop_mode is {printable(str(mode))}"


def parse_group(plain: dict[str, Any]) -> Group:
    """A group from its JSON object.

    Raises:
        ValueError, KeyError: it does not describe one.
    """
    repeats, is_prior, is_faces = plain.get("repeats"), plain.get("is_prior", False), plain.get("is_faces", False)
    if repeats is not None and (not isinstance(repeats, int) or isinstance(repeats, bool) or repeats < 1):
        raise ValueError(f"repeats {repeats!r}")
    if not isinstance(is_prior, bool) or not isinstance(is_faces, bool) or not isinstance(plain["name"], str):
        raise ValueError(f"group {plain!r}")
    return Group(plain["name"], repeats, is_prior, is_faces)


def parse_box(box: Any) -> Box:
    """A box from its JSON list.

    Raises:
        ValueError, TypeError: it does not describe one.
    """
    x, y, width, height = (int(number) for number in box)
    if width < 1 or height < 1:
        raise ValueError(f"box {box!r}")
    return x, y, width, height
