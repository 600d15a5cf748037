"""The options of ``lora-forge keep`` and ``lora-forge lora``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_keep(commands: Any, add: Callable[..., Any]) -> None:
    """Add the command; ``add`` makes a parser as all commands have it."""
    parser = add(
        commands,
        "keep",
        "keep",
        "keep one epoch as a file of its own; the others go to the archive",
        "Writes NEW.safetensors with its card (NEW.json, NEW.png) into the folder of the LoRA files, and moves every "
        "numbered file of the run with what lies beside it to DIR/archive. --undo brings them back, byte for byte. "
        "With --bake strength 1 of the new file draws what the chosen strength drew.",
        "  lora-forge keep --project data/anna --loras loras --name girl --epoch 6 --strength 0.8 --bake\n"
        "  lora-forge keep --project data/anna --loras loras --list\n"
        "  lora-forge keep --project data/anna --loras loras --undo girl-20261123-001530",
    )
    parser.add_argument("--project", type=Path, required=True, metavar="DIR", help="the project's folder")
    parser.add_argument("--loras", type=Path, required=True, metavar="DIR", help="folder of the LoRA files")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--name", help="name of the LoRA, without a number")
    action.add_argument("--list", action="store_true", help="what is in the archive")
    action.add_argument("--undo", metavar="ID", help="bring back what an earlier keep put away")
    action.add_argument("--finish", metavar="ID", help="finish a keep or an undo that was cut off")
    parser.add_argument("--epoch", type=int, metavar="N", help="the epoch to keep")
    parser.add_argument("--strength", type=float, default=1.0, metavar="X", help="the strength chosen (default: 1)")
    parser.add_argument("--new-name", metavar="NEW", help="default: the name without a number, or its next version")
    parser.add_argument("--bake", action="store_true", help="bake the strength in")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="picture of the card")
    parser.add_argument("--activation", metavar="TEXT", help="default: the trigger word, and what every photo had")
    parser.add_argument("--weight", type=float, metavar="X", help="default: 1 when baked, else the strength")
    parser.add_argument("--negative", default="", metavar="TEXT", help="negative prompt of the card")
    parser.add_argument("--notes", default="", metavar="TEXT", help="notes of the card")


def add_lora(commands: Any, add: Callable[..., Any]) -> None:
    """Add the command."""
    parser = add(
        commands,
        "lora",
        "lora",
        "read what a LoRA file says, lower its rank, merge two",
        "Works on single files of any trainer. A new file is written beside the (first) old one under a name of its "
        "own; nothing is overwritten. How far a new file is off is said, as a share of the whole.",
        "  lora-forge lora facts girl.safetensors\n"
        "  lora-forge lora resize girl.safetensors --rank 8\n"
        "  lora-forge lora resize girl.safetensors --keep 0.95 --new-name girl_small\n"
        "  lora-forge lora merge girl.safetensors dress.safetensors --strengths 0.8 0.6 --rank 32",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    _add(actions, "facts", "kind, family, rank, words of the captions, settings").add_argument("file", type=Path)
    resize = _add(actions, "resize", "a copy of a lower rank")
    resize.add_argument("file", type=Path)
    size = resize.add_mutually_exclusive_group(required=True)
    size.add_argument("--rank", type=int, metavar="N", help="rank of every layer")
    size.add_argument("--keep", type=float, metavar="SHARE", help="the least rank that keeps this share (0 to 1)")
    resize.add_argument("--new-name", metavar="NEW")
    merge = _add(actions, "merge", "two as one")
    merge.add_argument("file", type=Path)
    merge.add_argument("other", type=Path)
    merge.add_argument("--strengths", type=float, nargs=2, default=[1.0, 1.0], metavar=("A", "B"))
    merge.add_argument("--rank", type=int, metavar="N", help="default: the ranks lie side by side, which is exact")
    merge.add_argument("--new-name", metavar="NEW")


def _add(actions: Any, name: str, summary: str) -> Any:
    parser = actions.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    for option, about in (("--json", "one JSON object per event"), ("--debug", "on failure show where in the code")):
        parser.add_argument(option, action="store_true", default=argparse.SUPPRESS, help=about)
    return parser
