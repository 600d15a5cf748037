"""``lora-forge rounds``."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from lora_forge.cli.console import Console
from lora_forge.dataset.project import Project
from lora_forge.work.round_rows import told


def run(args: Namespace, console: Console) -> int:
    """The rounds, oldest first, then the advice."""
    found = told(Project.load(args.project), args.test, "en")
    if console.is_json:
        console.object({"event": "Rounds", **found})
        return 0
    for one in found["rounds"]:
        console.result(_line(one))
    if not found["rounds"]:
        console.result("no run yet")
    advice = found["advice"]
    if advice is None:
        console.result("no test has told a cell yet: lora-forge grid --project ...")
        return 0
    console.result(f"\n{found['name']}: {advice['sentence']}")
    for sentence in advice["evidence"]:
        console.result(f"  {sentence}")
    for choice in advice["choices"]:
        _choice(choice, console)
    return 0


def _line(one: dict[str, Any]) -> str:
    made = f"{one['name']}  repeats {one['repeats']}, {one['epochs']} epochs, {one['steps']} steps"
    if one["quality"] is None:
        return f"{made}  not tested"
    return f"{made}  {100 * one['quality']:.0f} % in epoch {one['epoch']} at strength {one['strength']:g}"


def _choice(choice: dict[str, Any], console: Console) -> None:
    mark = "->" if choice["is_advised"] else "  "
    console.result(f"{mark} {choice['label']}: {choice['sentence']}")
    if choice["note"]:
        console.result(f"     {choice['note']}")
    for key in choice["photos"]:
        console.result(f"     {key}: {choice['reasons'][key]}")
