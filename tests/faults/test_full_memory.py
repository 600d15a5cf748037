"""Memory runs out at each stage, for good: what is there stays, the model is as it was, and the run can be resumed.

The errors are torch's own, from asking its allocator for an exabyte at that place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.errors import TrainingError
from lora_forge.events import LoraSaved, StateSaved, StepDone, Warned
from lora_forge.ports import BorrowedModel
from tests.faults import checks
from tests.train import tiny

LADDER_RUNGS = 3  # checkpointing, one by one, and reading from the disk; a fourth needs the photos again


class Trap:
    """Memory is full at the ``first``-th time that the trap is passed after step ``after``, and ever after."""

    def __init__(self, first: int, after: int = 0) -> None:
        self._left, self._after, self._step, self.sprung = first, after, 0, 0
        self.recorder = tiny.Recorder(self._see)

    def _see(self, event: object) -> None:
        if isinstance(event, StepDone):
            self._step = max(self._step, event.step)

    def __call__(self, *_: Any) -> None:
        self._left -= self._step >= self._after
        if self._left <= 0:
            self.sprung += 1
            torch.empty(2**60, dtype=torch.uint8)


@contextlib.contextmanager
def hooked(*handles: Any) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def at_encode(model: BorrowedModel, trap: Trap) -> Any:
    return hooked(model.vae.encoder.register_forward_pre_hook(trap))


def at_forward(model: BorrowedModel, trap: Trap) -> Any:
    return hooked(
        model.unet.mid_block.register_forward_pre_hook(lambda *_: trap() if torch.is_grad_enabled() else None)
    )


def at_backward(model: BorrowedModel, trap: Trap) -> Any:
    def caught(_: Any, __: Any, out: Any) -> None:
        if out.requires_grad:
            out.register_hook(trap)

    return hooked(model.unet.conv_out.register_forward_hook(caught))


def at_optimizer(model: BorrowedModel, trap: Trap) -> Any:
    return hooked(register_optimizer_step_pre_hook(trap))


def after_update(model: BorrowedModel, trap: Trap) -> Any:
    """The weights have moved, and the step is not counted yet: nothing may be saved of this."""
    return hooked(register_optimizer_step_post_hook(trap))


def at_save(model: BorrowedModel, trap: Trap) -> Any:
    class Copying(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function is torch.Tensor.to and (kwargs or {}).get("copy"):
                trap()
            return function(*args, **(kwargs or {}))

    return Copying()


STAGES: dict[str, tuple[Callable[[BorrowedModel, Trap], Any], int, int]] = {
    "encode": (at_encode, 2, 0),
    "forward": (at_forward, 1, 5),
    "backward": (at_backward, 1, 5),
    "optimizer": (at_optimizer, 1, 5),
    "after_update": (after_update, 1, 5),
    "save_state": (at_save, 300, 4),
    "save_lora": (at_save, 100, 6),
}


# The memory is torch's, which both stacks share; these two also cross peft, diffusers and safetensors.
ON_BOTH = ("forward", "save_lora")


@pytest.mark.parametrize(
    "stage", [pytest.param(stage, marks=[] if stage in ON_BOTH else pytest.mark.once) for stage in STAGES]
)
def test_full_memory_loses_nothing_and_can_be_resumed(
    stage: str, tmp_path: Path, model: BorrowedModel, straight: Path
) -> None:
    prepared = tiny.build_project(tmp_path / "project")
    make, first, after = STAGES[stage]
    trap = Trap(first, after)
    recorder = trap.recorder
    with make(model, trap), pytest.raises(TrainingError, match="memory is full") as caught:
        tiny.run(tmp_path, checks.SETTINGS, prepared, model, recorder)
    assert trap.sprung >= 1
    assert "then resume" in caught.value.message()
    assert len(recorder.of(Warned)) <= LADDER_RUNGS + 1
    if stage != "encode":
        assert recorder.of(StateSaved)
        assert recorder.of(LoraSaved)
    checks.assert_saved_is_right(tmp_path, straight)
    checks.finish(tmp_path, prepared, model)
    checks.assert_same_end(tmp_path, straight)


def test_a_preview_that_needs_too_much_is_said_and_the_run_goes_on(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, straight: Path
) -> None:
    trap, recorder = Trap(1), tiny.Recorder()

    def decode(*_: Any) -> None:
        trap()

    settings = checks.SETTINGS.replace(preview_every_steps=3)
    with hooked(model.vae.decoder.register_forward_pre_hook(decode)):
        assert tiny.run(tmp_path, settings, prepared, model, recorder).outcome == "done"
    assert trap.sprung >= 3
    assert any("preview" in warned.message and "goes on" in warned.message for warned in recorder.of(Warned))
    assert [event.step for event in recorder.of(StepDone)] == list(range(1, checks.STEPS + 1))
    checks.assert_same_end(tmp_path, straight)
