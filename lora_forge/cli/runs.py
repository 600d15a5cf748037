"""``lora-forge runs``."""

from __future__ import annotations

import time
from argparse import Namespace

from lora_forge.cli.console import Console
from lora_forge.dataset.project import Project
from lora_forge.work.report import report
from lora_forge.work.runs import RESUMABLE, RunFacts, find_run, remove_run, runs_of


def run(args: Namespace, console: Console) -> int:
    """Do what the action says."""
    project = Project.load(args.project)
    actions = {"list": _list, "report": _report, "remove": _remove}
    return actions[args.action](project, args, console)


def _list(project: Project, args: Namespace, console: Console) -> int:
    for one in runs_of(project):
        if console.is_json:
            console.object({"event": "Run", **_facts(one)})
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.began_at)) if one.began_at else "?"
        figures = f"step {one.journal.step} of {one.journal.total or '?'}"
        console.result(f"{one.name}  {one.state}  {figures}  {began}")
        if one.message("en"):
            console.result(f"  {one.message('en')}")
        if one.state in RESUMABLE and one.has_config:
            console.say(f"  to go on: the command it was started with, and --resume (--name {one.name})")
    return 0


def _facts(one: RunFacts) -> dict[str, object]:
    journal = one.journal
    return {
        "name": one.name,
        "state": one.state,
        "step": journal.step,
        "total": journal.total,
        "epochs": one.epochs,
        "started_at": one.began_at,
        "ended_at": one.ended_at,
        "window_mse": journal.window_mse,
        "validation_loss": journal.validation_loss,
        "message": one.message("en"),
        "can_resume": one.state in RESUMABLE,
    }


def _report(project: Project, args: Namespace, console: Console) -> int:
    one = find_run(project, args.name)
    text = report(one, one.state, ())
    console.object({"event": "Report", "text": text}) if console.is_json else console.result(text.rstrip())
    return 0


def _remove(project: Project, args: Namespace, console: Console) -> int:
    place = remove_run(project, args.name)
    console.object({"event": "Removed", "name": args.name}) if console.is_json else None
    console.result(f"{args.name} is in {place}; its LoRA files are where they were")
    return 0
