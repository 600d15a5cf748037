"""The options of ``lora-forge runs``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_runs(commands: Any, add: Callable[..., Any]) -> None:
    """Add the command; ``add`` makes a parser as all commands have it."""
    parser = add(
        commands,
        "runs",
        "runs",
        "list a project's runs, report on one that failed, move one to the trash",
        "A run that was cut off, by a crash or a power cut, is listed as interrupted: train ... --resume goes on with "
        "it and ends in the files it would have had. A report holds versions, settings and the last lines, and no "
        "path or name of yours.",
        "  lora-forge runs list --project anna\n"
        "  lora-forge runs report --project anna --name girl > report.txt\n"
        "  lora-forge runs remove --project anna --name girl      # to the project's trash; LoRA files stay",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    _add(actions, "list", "every run with its state, newest first")
    for name, about in (("report", "what to send when something went wrong"), ("remove", "move a run to the trash")):
        _add(actions, name, about).add_argument("--name", required=True, help="name of the run")


def _add(actions: Any, name: str, summary: str) -> Any:
    parser = actions.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.add_argument("--project", type=Path, required=True, metavar="DIR", help="the project's folder")
    for option, about in (("--json", "one JSON object per event"), ("--debug", "on failure show where in the code")):
        parser.add_argument(option, action="store_true", default=argparse.SUPPRESS, help=about)
    return parser
