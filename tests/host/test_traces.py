from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from lora_forge.host import traces
from lora_forge.ports import Traces


def net() -> nn.Module:
    """A layer, a norm with a buffer, a half-precision layer."""
    return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Conv2d(1, 1, 1).half()).requires_grad_(False).eval()


def changed(change: Callable[[nn.Module], object]) -> tuple[str, ...]:
    """Names of the marks that ``change`` moves."""
    module = net()
    before = Traces(traces.module_marks("UNet", module))
    change(module)
    return before.differences(Traces(traces.module_marks("UNet", module)))


CHANGES: dict[str, tuple[Callable[[nn.Module], object], tuple[str, ...]]] = {
    "nothing": (lambda m: m.eval(), ()),
    "last bit": (lambda m: m[2].weight.data.view(torch.int16).bitwise_xor_(1), ("UNet: weights",)),
    "buffer": (lambda m: m[1].running_mean.add_(1), ("UNet: weights",)),
    "dtype": (lambda m: m[0].half(), ("UNet: weights", "UNet: dtypes")),
    "mode": (lambda m: m[1].train(), ("UNet: modes",)),
    "layer": (lambda m: m.add_module("0", nn.Identity()), None),
    "gradient": (lambda m: m[0].requires_grad_(True), ("UNet: gradients",)),
    "hook": (lambda m: m[0].register_forward_hook(print), ("UNet: hooks",)),
    "forward": (lambda m: setattr(m[0], "forward", print), ("UNet: forwards",)),
}  # type: ignore[dict-item]


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_moves_its_mark(name: str) -> None:
    change, expected = CHANGES[name]
    if expected is None:
        assert changed(change)
    else:
        assert changed(change) == expected


def test_originals_stand_in_for_what_is_merged_now() -> None:
    module = net()
    before = traces.module_marks("UNet", module)
    kept = module.get_parameter("0.weight").clone()
    module.get_parameter("0.weight").data.add_(1)
    assert traces.module_marks("UNet", module)["UNet: weights"] != before["UNet: weights"]
    assert traces.module_marks("UNet", module, {"0.weight": kept}) == before


def test_large_and_odd_tensors_are_hashed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """In chunks; not contiguous, of no dimension, of inference mode, without elements."""
    with torch.inference_mode():
        inference = torch.arange(5.0)
    odd = {"a": torch.arange(30.0).reshape(5, 6).t(), "b": torch.tensor(1.5), "c": inference, "d": torch.zeros(0, 3)}
    whole = traces.weights_mark(odd)
    monkeypatch.setattr(traces, "_CHUNK_BYTES", 7)
    assert traces.weights_mark(odd) == whole
    odd["a"] = odd["a"].clone()
    odd["a"][5, 4] += 1
    assert traces.weights_mark(odd) != whole


def test_flags_and_torchs_generators_come_back() -> None:
    before = Traces({**traces.flag_marks(), **traces.generator_marks()})
    with contextlib.suppress(ZeroDivisionError), traces.kept_flags():
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_float32_matmul_precision("medium")
        torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
        torch.backends.cudnn.deterministic = not torch.backends.cudnn.deterministic
        torch.backends.cuda.enable_flash_sdp(not torch.backends.cuda.flash_sdp_enabled())
        torch.use_deterministic_algorithms(True)
        torch.rand(1)
        during = Traces({**traces.flag_marks(), **traces.generator_marks()})
        raise ZeroDivisionError
    assert len(before.differences(during)) >= 8
    assert {**traces.flag_marks(), **traces.generator_marks()} == before.marks


def test_the_generators_of_python_and_numpy_are_watched_and_not_put_back() -> None:
    before = Traces(traces.generator_marks())
    with traces.kept_flags():
        random.random()
        np.random.rand()
    assert before.differences(Traces(traces.generator_marks())) == ("random: numpy", "random: python")


def test_a_layer_patched_for_the_whole_program_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Traces(traces.flag_marks())
    monkeypatch.setattr(nn.Linear, "forward", lambda self, value: value)
    assert before.differences(Traces(traces.flag_marks())) == ("torch: layers' forward",)
