from __future__ import annotations

import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import lora_forge
from lora_forge.errors import ConfigError
from lora_forge.model import devices

CPU = torch.device("cpu")


def test_a_cpu_is_always_offered_last() -> None:
    offered = devices.list_devices()
    assert offered[-1].name == "cpu"
    assert "cores" in offered[-1].description
    assert devices.pick_device("cpu") == CPU
    assert str(devices.pick_device("auto")) == offered[0].name


def test_an_absent_device_is_refused_with_what_is_there() -> None:
    with pytest.raises(ConfigError, match=r"no device 'cuda:9' here\. torch offers: .*cpu"):
        devices.pick_device("cuda:9")


def test_precision_on_a_cpu() -> None:
    assert devices.pick_dtype("auto", CPU) is torch.float32
    assert devices.pick_dtype("bf16", CPU) is torch.bfloat16
    with pytest.raises(ConfigError, match="13 to 60 times slower"):
        devices.pick_dtype("fp16", CPU)


@pytest.mark.parametrize(
    ("capability", "hip", "architecture", "expected"),
    [
        ((8, 6), None, "", torch.bfloat16),
        ((7, 5), None, "", torch.float16),
        ((9, 0), "6.2", "gfx90a:sramecc+:xnack-", torch.bfloat16),
        ((11, 0), "6.2", "gfx1100", torch.bfloat16),
        ((10, 3), "6.2", "gfx1030", torch.float16),
    ],
)
def test_auto_takes_bf16_only_where_the_card_computes_in_it(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    hip: str | None,
    architecture: str,
    expected: torch.dtype,
) -> None:
    facts = SimpleNamespace(gcnArchName=architecture, name="a card", total_memory=8 * 2**30)
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: facts)
    card = torch.device("cuda", 0)
    assert devices.pick_dtype("auto", card) is expected
    assert devices.pick_dtype("fp16", card) is torch.float16
    assert devices.describe_device(card) == f"a card ({'ROCm' if hip else 'CUDA'}, 8 GiB)"
    if expected is torch.float16:
        with pytest.raises(ConfigError, match="imitates it"):
            devices.pick_dtype("bf16", card)


def test_other_accelerators() -> None:
    assert devices.pick_dtype("auto", torch.device("mps")) is torch.float16
    assert devices.pick_dtype("auto", torch.device("xpu")) is torch.bfloat16
    assert devices.needs_grad_scaler(torch.float16)
    assert not devices.needs_grad_scaler(torch.bfloat16)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_of_a_cpu_is_the_process_and_the_machine() -> None:
    devices.reset_peak(CPU)
    before = devices.peak_memory_bytes(CPU)
    block = torch.ones(64 * 2**20, dtype=torch.uint8)
    after = devices.peak_memory_bytes(CPU)
    assert before is not None
    assert after is not None
    assert after - before > 32 * 2**20
    free = devices.free_memory_bytes(CPU)
    assert free is not None
    assert free > block.numel()
    devices.empty_cache(CPU)
    devices.synchronize(CPU)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("keeps_a_peak", [True, False])
def test_a_watch_sees_the_peak_of_what_happens_within_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, keeps_a_peak: bool
) -> None:
    """With the system's own peak, and by looking again and again where it keeps none that can be reset."""
    if not keeps_a_peak:
        (tmp_path / "status").symlink_to("/proc/self/status")
        (tmp_path / "clear_refs").mkdir()
        monkeypatch.setattr(devices, "_PROC", tmp_path)
    before = devices.used_memory_bytes(CPU)
    assert before is not None
    with devices.PeakWatch(CPU) as watch:
        block = torch.ones(96 * 2**20, dtype=torch.uint8)
        time.sleep(0.2)
        del block
    with devices.PeakWatch(CPU) as later:
        pass
    assert watch.bytes is not None
    assert later.bytes is not None
    assert watch.bytes - before > 64 * 2**20
    assert watch.bytes - later.bytes > 64 * 2**20
    total = devices.total_memory_bytes(CPU)
    assert total is not None
    assert total > watch.bytes


def test_no_other_module_names_an_accelerator() -> None:
    """cuda, mps and xpu are words of devices.py alone; elsewhere only help texts say them."""
    package = Path(lora_forge.__file__).parent
    named: dict[str, Any] = {}
    for path in package.rglob("*.py"):
        found = re.findall(r"torch\.(?:cuda|mps|xpu|backends)\b|is_cuda\b|\.cuda\(", path.read_text(encoding="utf-8"))
        if found and path.name != "devices.py":
            named[str(path.relative_to(package))] = found
    assert named == {}
