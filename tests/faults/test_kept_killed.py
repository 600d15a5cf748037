"""kill -9 at every moment of keeping and undoing: finished or undone afterwards, every byte is where it belongs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.faults.programs import run_program

pytestmark = [
    pytest.mark.slow,
    pytest.mark.once,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, which Windows does not have"),
]


def test_on_one_disk(tmp_path: Path) -> None:
    story = run_program("kept", str(tmp_path), str(tmp_path), "3")
    assert story["keep"] > 50, story
    assert story["undo"] > 40, story
    assert min(story["nothing"], story["keep_finished"], story["keep_undone"]) > 5, story


def test_from_one_disk_to_another(tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one disk here")
    with tempfile.TemporaryDirectory(dir=other) as far:
        story = run_program("kept", str(tmp_path), far, "4")
    assert story["keep"] > 100, story
    assert min(story["keep_finished"], story["keep_undone"]) > 10, story
