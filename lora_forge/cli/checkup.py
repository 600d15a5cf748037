"""``lora-forge checkup``."""

from __future__ import annotations

from argparse import Namespace

from lora_forge.cli.console import Console
from lora_forge.dataset import checkup
from lora_forge.dataset.project import Project
from lora_forge.events import CommandBox

_MARKS = {"green": "ok ", "yellow": "!  ", "red": "!! "}
_MOST_NAMES = 8


def run(args: Namespace, console: Console) -> int:
    """Print the findings; 0 whatever they are, since looking worked."""
    project = Project.load(args.project)
    report = checkup.run(project, args.kind, args.resolution, console, CommandBox(), models_dirs=args.models)
    assert report is not None  # nobody sends a stop
    if console.is_json:
        console.object({"event": "CheckedUp", **report.told(project)})
        return 0
    console.result(str(report.detector.sentence))
    for finding in report.findings:
        console.result(f"{_MARKS[finding.light] if finding.is_judged else '-  '}{finding.title}")
        if finding.light != "green" or not finding.is_judged:
            console.result(f"     {finding.why}")
        for start in range(0, len(finding.photos[:_MOST_NAMES]), 4):
            console.result(f"     {', '.join(finding.photos[start : min(start + 4, _MOST_NAMES)])}")
        if len(finding.photos) > _MOST_NAMES:
            console.result(f"     and {len(finding.photos) - _MOST_NAMES} more")
    return 0
