"""The options of ``lora-forge rounds``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_rounds(commands: Any, add: Callable[..., Any]) -> None:
    """Add the command; ``add`` makes a parser as all commands have it."""
    parser = add(
        commands,
        "rounds",
        "rounds",
        "a project's runs beside each other with what their tests said, and what to do next",
        "What to do next is said with its numbers: more or fewer repeats in a new run, four more epochs of the same "
        "run, an earlier epoch, or which photos to look at. It follows from the newest test, or from --test. The "
        "advice is carried out by lora-forge train: a new run with --repeats, or the same with --resume and more "
        "--epochs. The epochs that are added to a run that was done are a cycle of their own: a learning rate that "
        "falls begins at its full height again and falls to their end.",
        "  lora-forge rounds --project anna\n"
        "  lora-forge rounds --project anna --test girl-20261123-001500 --json\n"
        "  lora-forge train ... --name girl --resume --epochs 14      # four more epochs, no restart",
    )
    parser.add_argument("--project", type=Path, required=True, metavar="DIR", help="the project's folder")
    parser.add_argument("--test", default="", metavar="ID", help="the test to go by (default: the newest)")
