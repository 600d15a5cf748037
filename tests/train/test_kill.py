"""SIGKILL at random moments: no half file under a real name, and the resumed run ends with the same bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.test_resume import assert_same, assert_same_end, files_of, newest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, which Windows does not have")
def test_killed_and_resumed_equals_a_whole_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.killed", str(tmp_path), "5"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    story = json.loads(done.stdout.splitlines()[-1])
    assert story["kills"] >= 2, story
    assert_same_end(newest(tmp_path / "straight"), newest(tmp_path / "killed"))
    assert_same(files_of(tmp_path / "straight"), files_of(tmp_path / "killed"))
    assert len(files_of(tmp_path / "killed")) == 3
