"""The options of ``lora-forge album``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_album(commands: Any, add: Callable[..., Any]) -> None:
    """Add the command; ``add`` makes a parser as all commands have it."""
    parser = add(
        commands,
        "album",
        "album",
        "generalisation test: nine scenes that no photo shows, judged, as one picture to share",
        "Draws one picture a scene with the LoRA, looks whether it is alike and shows what was asked, and says pass "
        "or not yet. Scenes come from the project's changeable traits and a list of the kind of LoRA. Pictures and "
        "scores are kept in PROJECT/albums; Ctrl-C stops after the picture, --resume goes on.",
        "  lora-forge album --project anna --base model.safetensors --loras loras --name anna --epoch 7 \\\n"
        "      --strength 0.8 --out anna.png\n"
        '  lora-forge album ... --scene eiffel --scene hanfu --own "riding a horse, castle"\n'
        "  lora-forge album ... --list                 # the scenes on offer\n"
        "  lora-forge album ... --resume anna-20260102-090000",
    )
    parser.add_argument("--project", type=Path, required=True, metavar="DIR", help="the project's folder")
    parser.add_argument("--base", type=Path, metavar="FILE", help="base checkpoint, .safetensors")
    parser.add_argument("--loras", type=Path, metavar="DIR", help="folder of the LoRA files")
    parser.add_argument("--name", default="", help="name of the LoRA")
    parser.add_argument("--epoch", type=int, default=0, metavar="N", help="default: the file NAME.safetensors itself")
    parser.add_argument("--strength", type=float, default=0.8, metavar="X", help="default: 0.8")
    parser.add_argument("--kind", default="person", metavar="KIND", help="kind of LoRA (default: person)")
    parser.add_argument(
        "--scene", action="append", default=[], metavar="ID", help="a scene; repeatable (default: the usual nine)"
    )
    parser.add_argument("--own", action="append", default=[], metavar="TEXT", help="a prompt of your own; repeatable")
    parser.add_argument("--list", action="store_true", help="print the scenes on offer and leave")
    parser.add_argument("--resume", metavar="ID", help="go on with an album that was stopped")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the picture to share, .png")
    parser.add_argument("--no-photos", action="store_true", help="leave real photos out of it")
    parser.add_argument("--language", choices=["en", "zh"], default="en", help="of the picture (default: en)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="noise of the pictures (default: 0)")
    parser.add_argument("--steps", type=int, metavar="N", help="sampler steps (default: 20)")
    parser.add_argument("--width", type=int, metavar="PX", help="default: the family's size")
    parser.add_argument("--height", type=int, metavar="PX", help="default: the family's size")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="judges are in DIR/models (default: the folder the project lies in)"
    )
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps, xpu (default: auto)")
