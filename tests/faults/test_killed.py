"""kill -9 at exact moments of every step and within every kind of write: what was saved is right, the end the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults import checks
from tests.faults.programs import run_program


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, which Windows does not have")
def test_killed_anywhere_nothing_is_lost_and_the_end_is_the_same(tmp_path: Path) -> None:
    story = run_program("killed", str(tmp_path), "7")
    assert len(story["points"]) >= 22, story
    assert set(story["steps"]) == set(range(checks.STEPS + 1)), story
    assert story["in_write"] == [0, 4, 3, 6, 9], story
    (refused,) = story["one_run"]
    assert "Another run is at work in" in refused or "holds a run already" in refused
    (refused,) = story["one_name"]
    assert "Another run is writing tiny in" in refused or "exists already" in refused
