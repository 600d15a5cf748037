"""What a run settles before its first step, and says of it."""

from __future__ import annotations

from pathlib import Path

from lora_forge.config import BaseStorage, TrainConfig
from lora_forge.config import load as load_config
from lora_forge.events import Emit, StageDone, Warned
from lora_forge.i18n import word
from lora_forge.model.memory import checkpointing
from lora_forge.model.recast import is_in_fp8
from lora_forge.ports import BorrowedModel
from lora_forge.train.folders import CONFIG_FILE
from lora_forge.train.optimizers import is_self_scheduled
from lora_forge.train.saving import precision_of
from lora_forge.train.state import RunState

_ANOTHER_END = word(
    "The run was planned for {before} epochs and now has {now}: "
    "from here on its learning rate ({schedule}) is that of the new length."
)
_LONGER = word(
    "The run was done after {before} epochs and goes on to {now}: the epochs that are added are a cycle of their own, "
    "the learning rate ({schedule}) begins at its full height again and falls to their end."
)
_OWN_SCHEDULE = word("The optimizer {optimizer} schedules itself: {schedule} is not used.")
_OTHER_PRECISION = word("The checkpoint is lent in {used}: the run computes in that, not {asked}.")

_CHECKPOINTED = word(
    "Gradient checkpointing is on: without it about {needed} GB beside the checkpoint are needed, {free} GB are free."
)
_NOT_CHECKPOINTED = word(
    "Gradient checkpointing is off: about {needed} GB beside the checkpoint are needed, {free} GB are free."
)
_NOT_IN_FP8 = word(
    "base_storage=fp8 is left out: a WebUI's checkpoint lies in memory as the WebUI wants it. For 8 bits use its own "
    'setting: "FP8 weight" in AUTOMATIC1111, "Diffusion in Low Bits" (float8) in Forge.'
)
_GB = 1e9


def decide_checkpointing(model: BorrowedModel, config: TrainConfig, emit: Emit) -> bool:
    """As the settings say, or by the memory that is free now, and then said."""
    found = checkpointing(model, config)
    if config.gradient_checkpointing == "auto":
        free = "?" if found.free_bytes is None else f"{found.free_bytes / _GB:.1f}"
        values = {"needed": f"{found.needed_bytes / _GB:.1f}", "free": free}
        emit(StageDone("prepare", _CHECKPOINTED if found.is_on else _NOT_CHECKPOINTED, values))
    return found.is_on


def base_storage(model: BorrowedModel, config: TrainConfig, emit: Emit) -> BaseStorage:
    """How the base lies in memory; asked for in eight bits, a host's own stays as it lends it, and that is said.

    A host may hold it in eight bits by itself: the file says so too.
    """
    is_small = is_in_fp8(model.unet)
    if config.base_storage == "fp8" and not is_small:
        emit(Warned(_NOT_IN_FP8))
    return "fp8" if is_small else "as_lent"


def warn_of_another_end(config: TrainConfig, run_dir: Path, state: RunState | None, emit: Emit) -> None:
    """A schedule that falls over the run falls otherwise when the run's length changes."""
    if state is None or config.schedule == "constant" or not (run_dir / CONFIG_FILE).exists():
        return
    before = load_config(run_dir / CONFIG_FILE)
    if (before.epochs, before.max_steps) != (config.epochs, config.max_steps):
        values = {"before": before.epochs, "now": config.epochs, "schedule": config.schedule}
        if state.step == state.total and config.epochs > before.epochs:
            emit(StageDone("prepare", _LONGER, values))
        else:
            emit(Warned(_ANOTHER_END, values))


def warn_of_unused(model: BorrowedModel, config: TrainConfig, emit: Emit) -> None:
    """Settings that the optimizer or the loan leaves no room for."""
    if is_self_scheduled(config) and config.schedule != "constant":
        emit(Warned(_OWN_SCHEDULE, {"optimizer": config.optimizer, "schedule": config.schedule}))
    used = precision_of(model.dtype)
    if config.precision not in ("auto", used):
        emit(Warned(_OTHER_PRECISION, {"used": used, "asked": config.precision}))
