"""The options of ``lora-forge checkup``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_checkup(commands: Any, add: Callable[..., Any]) -> None:
    """Add the command; ``add`` makes a parser as all commands have it."""
    parser = add(
        commands,
        "checkup",
        "checkup",
        "look at the photos as a doctor: what would spoil the LoRA, and what to do",
        "Counts and measures the photos: size, sharpness, near duplicates, faces, somebody else's face, missing "
        "views, one outfit or background everywhere, writing, extreme shapes, grey or broken files. Nothing is "
        "changed. Faces are found by insightface where a pack of its models is in --models, else by what OpenCV or "
        "scikit-image bring.",
        "  lora-forge checkup --project anna\n"
        "  lora-forge checkup --project anna --kind person --resolution 768 --models webui/models/insightface",
    )
    kinds = ("person", "anime", "style", "object", "concept")
    parser.add_argument("--project", type=Path, required=True, metavar="DIR", help="the project's folder")
    parser.add_argument("--kind", choices=kinds, default="person", help="what the LoRA is of (default: person)")
    parser.add_argument("--resolution", type=int, default=512, metavar="PX", help="training size (default: 512)")
    about_models = "folder of insightface's packs; repeatable"
    parser.add_argument("--models", type=Path, action="append", default=[], metavar="DIR", help=about_models)
