"""What must hold after any fault: all that was said to be saved is right, and the end is the one it would have had."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any

from torch import Tensor

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.host.traces import module_marks
from lora_forge.lora_file.writer import load_lora
from lora_forge.ports import BorrowedModel
from lora_forge.train.journal import read_journal
from lora_forge.train.state import RunState
from lora_forge.train.tensor_file import load_tree
from tests.train import tiny

SETTINGS = tiny.config(epochs=3, state_every_steps=2, ema_decay=0.9, rank_dropout=0.2)
STEPS = 9


def weight_bytes(path: Path) -> bytes:
    """Everything behind a LoRA file's header; the file must read as a LoRA."""
    load_lora(path)
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def loras(where: Path) -> dict[str, bytes]:
    """The weights of every LoRA file in ``where/out``, by name."""
    return {path.name: weight_bytes(path) for path in sorted((where / "out").glob("*.safetensors"))}


def states(where: Path) -> dict[int, RunState]:
    """Every state that has a real name, by its step; each must be whole."""
    return {
        int(path.stem.removeprefix("step-")): RunState(**load_tree(path))
        for path in sorted((where / "run" / "state").glob("step-*.safetensors"))
    }


def bits(value: Any) -> Any:
    """``value`` with tensors as hashes of their bytes, so that it can be compared as a whole."""
    if isinstance(value, Tensor):
        raw = value.detach().cpu().contiguous().reshape(-1).numpy().tobytes()
        return (tuple(value.shape), str(value.dtype), hashlib.sha256(raw).hexdigest())
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [bits(item) for item in value]
    return value


def state_bits(state: RunState) -> dict[str, Any]:
    """All of a state but the hour it was begun at."""
    return {
        field.name: bits(getattr(state, field.name))
        for field in dataclasses.fields(state)
        if field.name != "started_at"
    }


def steps_of(where: Path) -> dict[int, tuple[Any, ...]]:
    """The figures of each step in the journal that was not skipped; one done again must have come to the same."""
    found: dict[int, tuple[Any, ...]] = {}
    for line in read_journal(where / "run"):
        if line["event"] == "StepDone" and not line["is_skipped"]:
            figures = tuple(line[key] for key in ("loss", "mse", "window_mse", "learning_rate", "epoch"))
            assert found.setdefault(line["step"], figures) == figures, line["step"]
    return found


@functools.lru_cache(maxsize=4)
def expected(straight: Path) -> tuple[dict[str, bytes], dict[int, dict[str, Any]], dict[int, tuple[Any, ...]]]:
    """The weights, states and figures of a run that nothing happened to."""
    return loras(straight), {step: state_bits(state) for step, state in states(straight).items()}, steps_of(straight)


def assert_saved_is_right(where: Path, straight: Path) -> None:
    """Each file under a real name is whole and as the uninterrupted run's; each that was told of is there."""
    files, _, figures = expected(straight)
    found = loras(where)
    for name, content in found.items():
        assert content == files[name], name
    for line in read_journal(where / "run"):
        if line["event"] == "LoraSaved":
            assert Path(line["path"]).name in found, line
    told = [line["step"] for line in read_journal(where / "run") if line["event"] == "StateSaved"]
    kept = states(where)
    assert max(told, default=0) <= max(kept, default=0)
    for step, state in kept.items():
        assert state.window[-1] == figures[step][1], step


def assert_same_end(where: Path, straight: Path) -> None:
    """The same bytes of weights in every file, the same last state, the same figures on the way; no leavings."""
    files, last_states, figures = expected(straight)
    assert loras(where) == files
    mine = states(where)
    assert max(mine) == max(last_states)  # killed before the oldest of three was dropped, a run leaves one more
    for step, other in last_states.items():
        assert state_bits(mine[step]) == other, step
    assert steps_of(where) == figures
    assert leavings(where) == []


def leavings(where: Path) -> list[str]:
    """Hidden temporary files and locks in the folders of a run that is over."""
    hidden = [path for folder in ("out", "run") for path in (where / folder).rglob(".*")]
    return sorted(str(path.relative_to(where)) for path in hidden if path.name != ".lock")


def marks(model: BorrowedModel) -> dict[str, str]:
    """Weights, types, modes, gradients, hooks and forwards of all that was lent."""
    networks = {"unet": model.unet, "vae": model.vae, "te": model.text_towers[0].module}
    return {name: mark for part, network in networks.items() for name, mark in module_marks(part, network).items()}


def finish(where: Path, prepared: PreparedSet, model: BorrowedModel, recorder: Any = None) -> None:
    """Resume to the end."""
    assert tiny.run(where, SETTINGS, prepared, model, recorder, resume=True).outcome == "done"
