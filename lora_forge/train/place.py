"""The folders of a run while it is at work: free, its own, and what the disk refuses said plainly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from lora_forge.config import TrainConfig
from lora_forge.errors import TrainingError
from lora_forge.events import Emit
from lora_forge.i18n.reasons import reason
from lora_forge.lora_file.names import check_name
from lora_forge.train import descent
from lora_forge.train.claim import claimed
from lora_forge.train.folders import CONFIG_FILE, clear_killed, name_held
from lora_forge.train.journal import Journal
from lora_forge.train.ranks import Ranks
from lora_forge.train.saving import STATE_DIR
from lora_forge.train.state import PATTERN


@contextlib.contextmanager
def place_held(
    config: TrainConfig, run_dir: Path, out_dir: Path, emit: Emit, resume: bool, ranks: Ranks
) -> Iterator[Emit]:
    """Hold the run's folders, free and tidy, and give what writes its journal; by the writer for all processes."""
    if not ranks.is_writer:
        ranks.go_on()
        yield emit
        return
    _check_free(config, run_dir, out_dir, resume)
    with (
        disk_said_plainly(run_dir),
        claimed(run_dir),
        name_held(out_dir, config.name),
        Journal(run_dir, emit) as journal,
    ):
        _check_free(config, run_dir, out_dir, resume)  # another program may have had it until just now
        clear_killed(run_dir, out_dir, config.name)
        if not resume:
            descent.forget(run_dir)
        ranks.go_on()
        yield journal


def _check_free(config: TrainConfig, run_dir: Path, out_dir: Path, resume: bool) -> None:
    _check_run_dir(run_dir, resume)
    check_name(config.name, out_dir, is_resuming=resume)


def _check_run_dir(run_dir: Path, resume: bool) -> None:
    has_state = any((run_dir / STATE_DIR).glob(PATTERN))
    if has_state and not resume:
        raise TrainingError(
            "{run_dir} holds a run already.", "Resume it, or choose another name or folder.", run_dir=run_dir
        )
    if resume and not has_state and not (run_dir / CONFIG_FILE).exists():
        raise TrainingError("There is no run to resume in {run_dir}.", "Start it without resuming.", run_dir=run_dir)


@contextlib.contextmanager
def disk_said_plainly(run_dir: Path) -> Iterator[None]:
    """What the system refuses and nobody nearer has words for."""
    try:
        yield
    except OSError as cause:
        raise TrainingError(
            "The disk refused {path}: {cause}. What was saved before stays good.",
            "Make room or give this program the right to write there, then resume the run, or start it again.",
            path=cause.filename2 or cause.filename or run_dir,
            cause=reason(cause),
        ) from cause
