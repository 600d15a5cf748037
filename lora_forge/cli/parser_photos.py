"""The options of ``lora-forge photos``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_photos(commands: Any, add: Callable[..., Any]) -> None:
    """Add the command; ``add`` makes a parser as all commands have it."""
    parser = add(
        commands,
        "photos",
        "photos",
        "list photos, take them out and back, crop by hand, find faces and prepare",
        "A photo's KEY is its place within images/: GROUP/NAME.jpg. Nothing is deleted: what is taken out lies in the "
        "project's trash/ and comes back with its caption. A crop or face set by hand is remembered by the picture's "
        "content and beats what is found.",
        "  lora-forge photos list --project anna\n"
        "  lora-forge photos trash --project anna photos/blurred.jpg photos/stranger.jpg\n"
        "  lora-forge photos restore --project anna                     # what went last\n"
        "  lora-forge photos crop --project anna photos/a.jpg --box 100,0,800,1200\n"
        "  lora-forge photos process --project anna --resolution 768 --faces --face-repeats 5",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    _add(actions, "list", "every photo with its size and what was set by hand, and the trash")
    trash = _add(actions, "trash", "move photos to the trash, with the faces cut from them")
    trash.add_argument("keys", nargs="*", metavar="KEY", help="GROUP/NAME.jpg")
    trash.add_argument("--group", metavar="NAME", help="all photos of this group")
    restore = _add(actions, "restore", "bring photos back from the trash")
    restore.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="as listed (default: what went last)")
    crop = _add(actions, "crop", "set by hand what part of a photo is kept, or where its face is")
    crop.add_argument("key", metavar="KEY", help="GROUP/NAME.jpg")
    crop.add_argument("--box", type=_box, metavar="X,Y,W,H", help="in px of the upright photo (default: forget it)")
    crop.add_argument("--face", action="store_true", help="the box is the face, not the part to keep")
    _add_process(_add(actions, "process", "find faces, cut the extra face set, bring everything to training size"))


def _add(actions: Any, name: str, summary: str) -> Any:
    parser = actions.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.add_argument("--project", type=Path, required=True, metavar="DIR", help="the project's folder")
    for option, about in (("--json", "one JSON object per event"), ("--debug", "on failure show where in the code")):
        parser.add_argument(option, action="store_true", default=argparse.SUPPRESS, help=about)
    return parser


def _add_process(parser: Any) -> None:
    parser.add_argument("--resolution", type=int, default=512, metavar="PX", help="training size (default: 512)")
    parser.add_argument("--no-buckets", action="store_true", help="crop every photo to a square")
    parser.add_argument(
        "--crop",
        choices=["subject", "middle", "none"],
        default="subject",
        help="around the faces (default), the middle, or as little as the sizes allow",
    )
    parser.add_argument("--faces", action="store_true", help="cut faces at full size into a group of their own")
    parser.add_argument(
        "--padding", type=float, default=0.5, metavar="X", help="around a face, in faces (default: 0.5)"
    )
    parser.add_argument("--face-repeats", type=int, metavar="N", help="how often a face is seen per epoch")
    parser.add_argument("--kind", choices=["person", "anime"], default="person", help="what faces to look for")
    parser.add_argument(
        "--models",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder of insightface's packs; repeatable",
    )


def _box(text: str) -> tuple[int, int, int, int]:
    """``X,Y,W,H`` as numbers."""
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError as cause:
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y,W,H in whole px") from cause
    if min(x, y) < 0 or min(width, height) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} lies outside the photo or has no area")
    return x, y, width, height
