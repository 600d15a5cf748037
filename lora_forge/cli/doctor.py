"""``lora-forge doctor``."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from pathlib import Path

from lora_forge.cli.console import Console
from lora_forge.doctor import State, examine

_MARKS = {State.GOOD: "ok ", State.OPTIONAL: "-  ", State.BAD: "!! "}


def run(_args: Namespace, console: Console) -> int:
    """Print the findings; 0 whatever they are, since looking worked."""
    findings = examine(Path.cwd())
    if console.is_json:
        found = [{**dataclasses.asdict(finding), "state": finding.state.value} for finding in findings]
        console.object({"event": "Examined", "findings": found})
        return 0
    width = max(len(finding.name) for finding in findings)
    section = ""
    for finding in findings:
        if finding.section != section:
            section = finding.section
            console.result(f"{section}:")
        console.result(f"  {_MARKS[finding.state]}{finding.name:{width}}  {finding.text}")
        if finding.remedy:
            console.result(f"     {'':{width}}  -> {finding.remedy}")
    bad = sum(finding.state is State.BAD for finding in findings)
    console.result(f"{bad} things are missing (!!)." if bad else "Ready to train.")
    return 0
