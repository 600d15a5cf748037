"""``lora-forge demo``."""

from __future__ import annotations

import os
import shlex
import time
from argparse import Namespace
from typing import TYPE_CHECKING

from lora_forge.cli.console import Console
from lora_forge.progress import duration

if TYPE_CHECKING:
    from lora_forge.demo import DemoResult


def run(args: Namespace, console: Console) -> int:
    """Run the demo and name what it made."""
    # Read when torch is imported, below. The toy world's layers are too small to share: a second thread gains little
    # on a free machine, and on a busy one the two spin waiting for each other (seen: ten times slower).
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if args.only_project:
        return _only_project(args, console)
    from lora_forge.demo import NAME, demo_config, demo_plan, run_demo

    started = time.monotonic()
    config, plan = demo_config(args.hot, args.seed), demo_plan(args.seed)
    try:
        made = run_demo(args.out, console, config, plan, config.name.removeprefix(NAME))
    except KeyboardInterrupt:
        console.error("interrupted; the same command goes on where it stopped")
        return 130
    if console.is_json:
        console.object(_as_object(made))
        return 0
    console.result(f"project   {made.project}")
    console.result(f"base      {made.base}")
    for path in made.files:
        console.result(f"LoRA      {path}")
    console.result(f"heat map  {made.heat_map}")
    console.result(f"grid      {made.grid}")
    console.result(made.sentence)
    console.say(f"The whole job took {duration(time.monotonic() - started)}.")
    return 0


def _only_project(args: Namespace, console: Console) -> int:
    from lora_forge.demo import write_project

    project, base = write_project(args.out)
    if console.is_json:
        console.object({"event": "ProjectMade", "project": str(project.root), "base": str(base)})
    console.result(f"project   {project.root}")
    console.result(f"base      {base}")
    words = ["lora-forge", "train", "--project", str(project.root), "--base", str(base)]
    console.say(f"next: {shlex.join([*words, '--name', 'test', '--out', str(args.out / 'loras')])}")
    return 0


def _as_object(made: DemoResult) -> dict[str, object]:
    return {
        "event": "DemoMade",
        "project": str(made.project),
        "base": str(made.base),
        "files": [str(path) for path in made.files],
        "grid": str(made.grid),
        "heat_map": str(made.heat_map),
        "sentence": made.sentence,
    }
