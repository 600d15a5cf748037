"""Long work on a thread of its own, and what a page may know of it. The work itself is handed in."""

from __future__ import annotations

from lora_forge.jobs.board import JobBoard
from lora_forge.jobs.failures import JobError

__all__ = ["JobBoard", "JobError", "board", "chores"]

_BOARD = JobBoard()
_CHORES = JobBoard()


def board() -> JobBoard:
    """The one board of this process. It outlives the host's Reload UI: this package is imported once."""
    return _BOARD


def chores() -> JobBoard:
    """The board of what goes on beside a run and leaves the checkpoint alone: looking at photos, tagging, downloads."""
    return _CHORES
