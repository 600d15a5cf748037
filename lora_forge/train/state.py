"""What a run needs to go on as if it had never stopped, on disk.

Files are ``state/step-00000123.safetensors``; the newest two stay. No random state is among it: every draw is a
function of the step.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lora_forge.errors import TrainingError
from lora_forge.events import Emit, Warned
from lora_forge.i18n import word
from lora_forge.i18n.reasons import reason
from lora_forge.train.tensor_file import DamagedFileError, load_tree, save_tree

VERSION = 1
KEPT = 2
PATTERN = "step-*.safetensors"
_GOING_BACK = word("The state {file} can't be read ({cause}); going back to the one before.")


@dataclass(frozen=True)
class RunState:
    """Everything after ``step`` steps.

    ``weights``: float32 adapters by name. ``optimizer``: its state_dict. ``ema``: the averages in the order of the
    parameters, or None. ``scaler``: (scale, calm steps). ``window``: mse of the last epoch's steps. ``fingerprints``:
    what the run was made from (see `fingerprints`). ``started_at``: Unix seconds. ``skipped``: steps skipped in a row.
    ``total``: the step that the run was to end at (0: an older program did not say). ``ends``: steps at which it was
    done before it was made longer, where its learning rate falls (see `schedules`).
    """

    step: int
    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    ema: list[Tensor] | None
    scaler: tuple[float, int]
    window: list[float]
    fingerprints: dict[str, Any]
    started_at: float
    skipped: int = 0
    total: int = 0
    ends: list[int] = field(default_factory=list)
    version: int = VERSION


def ends_of(state: RunState | None, total: int) -> tuple[int, ...]:
    """The ends of the run that ``state`` is of and that is to end at ``total`` now: its own, and where it was done."""
    if state is None:
        return ()
    own = [*state.ends, *([state.step] if state.step == state.total else [])]
    return tuple(sorted({end for end in own if end < total}))


def state_path(state_dir: Path, step: int) -> Path:
    """The file of one step."""
    return state_dir / f"step-{step:08d}.safetensors"


def save_state(state_dir: Path, state: RunState) -> Path:
    """Write atomically, then drop all but the newest two.

    Raises:
        TrainingError: the disk is full or read-only; what was there before stays.
    """
    path = state_path(state_dir, state.step)
    fields = {one.name: getattr(state, one.name) for one in dataclasses.fields(state)}
    try:
        save_tree(path, fields)
        for old in sorted(state_dir.glob(PATTERN))[:-KEPT]:
            old.unlink(missing_ok=True)
    except OSError as cause:
        raise TrainingError(
            "The state of step {step} could not be saved in {folder}: {cause}.",
            "Make room on the disk, then resume.",
            step=state.step,
            folder=state_dir,
            cause=reason(cause),
        ) from cause
    return path


def load_newest(state_dir: Path, emit: Emit) -> RunState | None:
    """The newest whole state; None when there is no state file at all.

    A damaged file is set aside under another name and reported through ``emit``.

    Raises:
        TrainingError: there are state files, but none is whole.
    """
    paths = sorted(state_dir.glob(PATTERN), reverse=True)
    for path in paths:
        try:
            return _read(path)
        except (DamagedFileError, OSError) as cause:
            path.replace(path.with_suffix(".damaged"))
            emit(Warned(_GOING_BACK, {"file": path.name, "cause": cause}))
    if paths:
        raise TrainingError("No state in {folder} is whole.", "Start the run again without resuming.", folder=state_dir)
    return None


def _read(path: Path) -> RunState:
    fields = load_tree(path)
    if not isinstance(fields, dict) or fields.get("version") != VERSION:
        raise DamagedFileError(f"{path.name}: not a state of version {VERSION}")
    return RunState(**fields)
