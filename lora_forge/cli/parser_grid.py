"""Options of ``lora-forge grid``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lora_forge.presets import KINDS

SAMPLERS = ("ddim", "dpmpp_2m", "euler", "euler_a")


def add_grid(commands: Any, add: Callable[..., Any]) -> None:
    """``add`` makes a command's parser."""
    parser = add(
        commands,
        "grid",
        "grid",
        "draw the epoch x strength picture of a LoRA",
        "Every epoch across, every strength down, the same noise in each cell. In the prompt, NUM and STRENGTH stand "
        "for the epoch and the strength; without a LoRA tag in it, <lora:NAME-NUM:STRENGTH> is added at its end. The "
        "PNG carries the prompt and settings as the WebUI writes them.\n\n"
        "With --project the pictures are scored against its photos as they arrive: likeness, obedience, copying, "
        "health. Strength 0 is then drawn too, to compare with; the epoch and strength to keep are named, and what is "
        "wrong with the run, if anything is. Judges that need a model which is not there are named, and left out.",
        "  lora-forge grid --base model.safetensors --loras loras --name anna --out grid.png \\\n"
        '      --prompt "photo of ohwx woman, red dress <lora:anna-NUM:STRENGTH>"\n'
        "  lora-forge grid ... --epochs 4,6,8-10 --strengths 0,0.6,0.8,1.0 --cells cells\n"
        '  lora-forge grid ... --project anna --smart --swaps "white hair, red dress" --heat heat.png',
    )
    parser.add_argument("--base", type=Path, required=True, metavar="FILE", help="base checkpoint, .safetensors")
    parser.add_argument("--loras", type=Path, required=True, metavar="DIR", help="folder of the LoRA files")
    parser.add_argument("--name", required=True, help="name of the LoRA")
    parser.add_argument("--prompt", required=True, help="what to draw")
    parser.add_argument("--negative", default="", metavar="TEXT", help="negative prompt")
    parser.add_argument("--epochs", default="1-10", metavar="LIST", help="1-10 or 1,3,5-7 (default: 1-10)")
    parser.add_argument(
        "--strengths", default="0.1-1.0", metavar="LIST", help="0.1-1.0 or 0,0.5,1; 0 is the base (default: 0.1-1.0)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the picture, .png")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="noise of the pictures (default: 0)")
    parser.add_argument("--width", type=int, metavar="PX", help="default: the family's size")
    parser.add_argument("--height", type=int, metavar="PX", help="default: the family's size")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="sampler steps (default: 20)")
    parser.add_argument("--guidance", type=float, default=7.0, metavar="X", help="CFG scale (default: 7)")
    parser.add_argument("--clip-skip", type=int, default=1, metavar="N", help="as in the WebUI (default: 1)")
    parser.add_argument("--cells", type=Path, metavar="DIR", help="keep single pictures here; a stopped grid goes on")
    parser.add_argument(
        "--sampler",
        choices=sorted(SAMPLERS),
        default="dpmpp_2m",
        help="default: dpmpp_2m",
    )
    scored = parser.add_argument_group("scores")
    scored.add_argument("--project", type=Path, metavar="DIR", help="score against this project's photos")
    scored.add_argument("--kind", choices=list(KINDS), default="person", help="what the LoRA is of (default: person)")
    scored.add_argument(
        "--smart", action="store_true", help="coarse first, then around the best: about a third of the cells"
    )
    scored.add_argument(
        "--swaps", default="", metavar="TAGS", help="what no photo shows: a second picture a cell is asked for it"
    )
    scored.add_argument("--seeds", type=int, default=1, metavar="N", help="pictures of each (default: 1)")
    scored.add_argument("--heat", type=Path, metavar="FILE", help="maps of the scores, .png")
    scored.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="judges' models are in DIR/models (default: beside the project)",
    )
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps, xpu (default: auto)")
    parser.add_argument(
        "--precision", choices=["auto", "fp32", "bf16", "fp16"], help="default: what the device does well"
    )
