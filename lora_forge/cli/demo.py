"""``lora-forge demo``."""

from __future__ import annotations

import time
from argparse import Namespace

from lora_forge.cli.console import Console
from lora_forge.demo import run_demo
from lora_forge.progress import duration


def run(args: Namespace, console: Console) -> int:
    """Run the demo and name what it made."""
    started = time.monotonic()
    made = run_demo(args.out, console, args.only_project, args.hot, args.seed)
    if console.is_json:
        console.object({
            "event": "DemoMade",
            "project": str(made.project),
            "base": str(made.base),
            "files": [str(path) for path in made.files],
            "grid": str(made.grid) if made.grid else None,
            "heat_map": str(made.heat_map) if made.heat_map else None,
            "sentence": made.sentence,
        })  # fmt: skip
        return 0
    console.result(f"project   {made.project}")
    console.result(f"base      {made.base}")
    if args.only_project:
        console.say(
            f"try it: lora-forge train --project {made.project} --base {made.base} --name test "
            f"--out {args.out / 'loras'} --preset toyworld"
        )
        return 0
    for path in made.files:
        console.result(f"LoRA      {path}")
    console.result(f"heat map  {made.heat_map}")
    console.result(f"grid      {made.grid}")
    console.result(made.sentence)
    console.say(f"The whole job took {duration(time.monotonic() - started)}.")
    return 0
