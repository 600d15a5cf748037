"""NaN where it can come from: a pass, a gradient, the weights, the latents. Nothing saved ever holds one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_forge.errors import TrainingError
from lora_forge.events import RunEnded, StepDone
from lora_forge.ports import BorrowedModel
from lora_forge.train.tensor_file import load_tree, save_tree
from tests.faults import checks
from tests.faults.test_full_memory import hooked
from tests.train import tiny

EVERY_STEP = checks.SETTINGS.replace(state_every_steps=1)


def assert_finite(where: Path) -> None:
    """``weight_bytes`` refuses a LoRA with NaN; a state's tensors are looked at one by one."""
    checks.loras(where)
    for state in checks.states(where).values():
        inner = [value for entry in state.optimizer["state"].values() for value in entry.values()]
        for value in (*state.weights.values(), *(state.ema or ()), *inner):
            assert not isinstance(value, torch.Tensor) or bool(torch.isfinite(value).all())


def poisoned_pass(step: dict[str, int], bad: int) -> Any:
    def poison(_: Any, __: Any, out: Any) -> Any:
        return out * math.nan if torch.is_grad_enabled() and step["now"] + 1 == bad else out

    return poison


def poisoned_gradient(step: dict[str, int], bad: int) -> Any:
    def poison(_: Any, __: Any, out: Any) -> None:
        if out.requires_grad and step["now"] + 1 == bad:
            out.register_hook(lambda gradient: gradient * math.nan)

    return poison


@pytest.mark.parametrize("poisoned", [poisoned_pass, poisoned_gradient])
def test_a_step_with_nan_is_skipped_and_leaves_everything_as_it_was(
    poisoned: Any, tmp_path: Path, prepared: Any, model: BorrowedModel, straight: Path
) -> None:
    step, seen = {"now": 0}, dict[int, Any]()

    def look(event: Any) -> None:
        if isinstance(event, StepDone):
            step["now"] = event.step
        if isinstance(event, StepDone) and event.step in (5, 6):
            seen[event.step] = checks.states(tmp_path)[event.step - 1]

    recorder = tiny.Recorder(look)
    with hooked(model.unet.conv_out.register_forward_hook(poisoned(step, 5))):
        assert tiny.run(tmp_path, EVERY_STEP, prepared, model, recorder).outcome == "done"
    assert [event.step for event in recorder.of(StepDone) if event.is_skipped] == [5]
    for part in ("weights", "ema", "window"):
        assert checks.bits(getattr(seen[5], part)) == checks.bits(getattr(seen[6], part)), part
    assert checks.bits(seen[5].optimizer["state"]) == checks.bits(seen[6].optimizer["state"])
    assert_finite(tmp_path)
    first = "tiny-000001.safetensors"
    assert checks.loras(tmp_path)[first] == checks.expected(straight)[0][first]


def test_weights_that_are_nan_are_not_saved_and_the_last_state_gives_the_end_it_would_have_had(
    tmp_path: Path, prepared: Any, model: BorrowedModel, straight: Path
) -> None:
    def look(event: Any) -> None:
        if isinstance(event, StepDone) and event.step == 5:
            with torch.no_grad():
                next(p for p in model.unet.parameters() if p.requires_grad).fill_(math.nan)

    recorder = tiny.Recorder(look)
    with pytest.raises(TrainingError, match=r"no longer finite .* nothing was saved.*Resume from the last state"):
        tiny.run(tmp_path, checks.SETTINGS, prepared, model, recorder)
    assert recorder.of(RunEnded)[0].outcome == "failed"
    assert_finite(tmp_path)
    assert max(checks.states(tmp_path)) == 4
    checks.assert_saved_is_right(tmp_path, straight)
    checks.finish(tmp_path, prepared, model)
    checks.assert_same_end(tmp_path, straight)


def test_nan_in_the_cache_is_computed_anew(tmp_path: Path, model: BorrowedModel, straight: Path) -> None:
    prepared = tiny.build_project(tmp_path / "project")
    settings = checks.SETTINGS.replace(encode_ahead="on")
    tiny.run(tmp_path / "first", settings, prepared, model)
    for path in (tmp_path / "project" / "cache").rglob("*.safetensors"):
        save_tree(path, {name: tensor * math.nan for name, tensor in load_tree(path).items()})
    assert tiny.run(tmp_path, settings, prepared, model).outcome == "done"
    checks.assert_same_end(tmp_path, straight)
    for path in (tmp_path / "project" / "cache").rglob("*.safetensors"):
        assert all(bool(torch.isfinite(tensor).all()) for tensor in load_tree(path).values())
