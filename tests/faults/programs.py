"""Starting the programs of this folder, which need a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run_program(name: str, *arguments: str, before: tuple[str, ...] = ()) -> dict[str, Any]:
    """The JSON object that ``tests.faults.NAME`` printed last; a failure comes with all it said."""
    done = subprocess.run(
        [*before, sys.executable, "-m", f"tests.faults.{name}", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    story: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return story
