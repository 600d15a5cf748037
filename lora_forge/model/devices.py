"""Where tensors live. The only module that names a kind of accelerator; ROCm shows itself as CUDA, as torch does."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lora_forge.config import Precision
from lora_forge.errors import ConfigError

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_PROC = Path("/proc/self")
_PEAK_LOOK_S = 0.01


@dataclass(frozen=True)
class Device:
    """``name``: what the device setting takes. ``description``: what a person knows it by."""

    name: str
    description: str


def list_devices() -> list[Device]:
    """Every device torch offers here, the one ``auto`` takes first."""
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if _has_xpu():
        names += [f"xpu:{i}" for i in range(torch.xpu.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [Device(name, describe_device(torch.device(name))) for name in [*names, "cpu"]]


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name (``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ``xpu``).

    Raises:
        ConfigError: torch doesn't have it here.
    """
    offered = list_devices()
    if name == "auto":
        return torch.device(offered[0].name)
    matches = [device.name for device in offered if name in (device.name, device.name.split(":")[0])]
    if not matches:
        raise ConfigError(
            "There is no device {name!r} here.",
            "torch offers: {offered}.",
            name=name,
            offered=", ".join(device.name for device in offered),
        )
    return torch.device(matches[0])


def pick_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype of the base weights: what was asked for, or with ``auto`` what the device does well.

    Raises:
        ConfigError: the device would do it badly (fp16 on a CPU is 13 to 60 times slower than fp32) or not at all.
    """
    if precision == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16 if _does_bf16_well(device) else torch.float16
    dtype = _DTYPES[precision]
    if dtype is torch.float16 and device.type == "cpu":
        raise ConfigError(
            "fp16 on a CPU is 13 to 60 times slower than fp32.",
            "Set precision to auto, fp32 or bf16.",
        )
    if dtype is torch.bfloat16 and device.type in ("cuda", "mps") and not _does_bf16_well(device):
        raise ConfigError(
            "{device} doesn't compute in bf16, it imitates it.",
            "Set precision to auto or fp16.",
            device=describe_device(device),
        )
    return dtype


def _does_bf16_well(device: torch.device) -> bool:
    if device.type == "xpu":
        return True
    if device.type != "cuda":
        return False
    if torch.version.hip:  # RDNA3 and later, and the accelerators from MI200 on
        architecture = str(getattr(torch.cuda.get_device_properties(device), "gcnArchName", ""))
        return re.match(r"gfx(90a|94|95|11|12)", architecture) is not None
    return torch.cuda.get_device_capability(device)[0] >= 8


def has_nccl() -> bool:
    """Whether torch can add up tensors of several NVIDIA or AMD cards (not on Windows)."""
    return torch.distributed.is_available() and torch.distributed.is_nccl_available()


def make_current(name: str) -> None:
    """Let this process's own work go to the card of that name, so that nothing lands on another by default."""
    if ":" in name:
        device = torch.device(name)
        backend(device).set_device(device)


def needs_grad_scaler(dtype: torch.dtype) -> bool:
    """Gradients in fp16 underflow without loss scaling; bf16 and fp32 have the range."""
    return dtype is torch.float16


def describe_device(device: torch.device) -> str:
    """Name and memory, as a person knows them."""
    if device.type in ("cuda", "xpu"):
        found = backend(device).get_device_properties(device)
        kind = "ROCm" if torch.version.hip else device.type.upper()
        return f"{found.name} ({kind}, {found.total_memory / 2**30:.0f} GiB)"
    if device.type == "mps":
        return "Apple GPU (MPS)"
    return f"CPU ({os.cpu_count()} cores, {torch.get_num_threads()} threads)"


def short_name(device: torch.device) -> str:
    """What a person calls it: the card's own name, or CPU, MPS."""
    if device.type in ("cuda", "xpu"):
        return str(backend(device).get_device_properties(device).name)
    return device.type.upper()


def free_memory_bytes(device: torch.device) -> int | None:
    """Memory a new tensor could take on ``device``, torch's own cache included; None where it can't be told."""
    if device.type in ("cuda", "xpu"):
        card = backend(device)
        cached = card.memory_reserved(device) - card.memory_allocated(device)
        if hasattr(card, "mem_get_info"):
            return int(card.mem_get_info(device)[0] + cached)
        return int(card.get_device_properties(device).total_memory - card.memory_allocated(device))
    if device.type == "mps":
        limit = getattr(torch.mps, "recommended_max_memory", None)
        return int(limit() - torch.mps.driver_allocated_memory()) if limit else None
    return _free_ram_bytes()


def peak_memory_bytes(device: torch.device) -> int | None:
    """Most memory in use since :func:`reset_peak`: by torch on the card, by the process on a CPU; None if unknown."""
    if device.type in ("cuda", "xpu"):
        return int(backend(device).max_memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    return _status_bytes("VmHWM") or _resident_bytes()


def used_memory_bytes(device: torch.device) -> int | None:
    """Memory in use now, counted as :func:`peak_memory_bytes` does."""
    if device.type in ("cuda", "xpu"):
        return int(backend(device).memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    return _resident_bytes()


def total_memory_bytes(device: torch.device) -> int | None:
    """All the memory there is on ``device``, whoever uses it; None where it can't be told."""
    if device.type in ("cuda", "xpu"):
        return int(backend(device).get_device_properties(device).total_memory)
    if device.type == "mps":
        limit = getattr(torch.mps, "recommended_max_memory", None)
        return int(limit()) if limit else None
    if sys.platform == "win32":
        return _ram_bytes_windows()[1]
    try:
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return None


def reset_peak(device: torch.device) -> bool:
    """Start a new :func:`peak_memory_bytes`; False where the system can't."""
    if device.type in ("cuda", "xpu"):
        backend(device).reset_peak_memory_stats(device)
        return True
    if device.type == "cpu":
        with contextlib.suppress(OSError):
            (_PROC / "clear_refs").write_text("5")
            return True
    return False


class PeakWatch:
    """The most memory in use while this context is open; where the system keeps no peak that can be reset (Windows,
    macOS), a thread looks a hundred times a second."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._most, self._ends = device, 0, threading.Event()
        self._thread: threading.Thread | None = None
        self._read = peak_memory_bytes

    def __enter__(self) -> PeakWatch:
        if not reset_peak(self._device):
            self._read = used_memory_bytes
            self._look()
            self._thread = threading.Thread(target=self._sample, name="lora-forge-peak", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._ends.set()
            self._thread.join()
        self._look()

    @property
    def bytes(self) -> int | None:
        """The peak, once the context is left; None where nothing can be told."""
        return self._most or None

    def _look(self) -> None:
        self._most = max(self._most, self._read(self._device) or 0)

    def _sample(self) -> None:
        while not self._ends.wait(_PEAK_LOOK_S):
            self._look()


def peak_since_last(device: torch.device) -> Callable[[], int | None]:
    """A reader that gives the peak since its last reading, or since now: :func:`peak_memory_bytes`, reset each time."""
    reset_peak(device)

    def read() -> int | None:
        found = peak_memory_bytes(device)
        reset_peak(device)
        return found

    return read


def empty_cache(device: torch.device) -> None:
    """Hand unused memory back: torch's cache to the card, on a CPU the heap's free pages to the system (where its C
    library can). Not for every step, it is slow."""
    if device.type in ("cuda", "xpu"):
        backend(device).empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    elif sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # musl has none
            ctypes.CDLL(None).malloc_trim(0)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given; a CPU always has."""
    if device.type in ("cuda", "xpu"):
        backend(device).synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def put(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """``tensor`` on ``device``; from the CPU to a CUDA card without waiting for what the card is still doing.

    A copy out of ordinary memory waits for the card; one out of page-locked memory is queued like any other work, and
    torch keeps that memory until the copy is made.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def fetch(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Begin to copy ``tensor`` to the CPU; what is given back waits for that copy and hands it out.

    On a CUDA card it waits for this copy alone, not for work that the card was given afterwards, and any thread may
    wait. Elsewhere the copy is made at once; a tensor on the CPU is handed out itself.
    """
    if tensor.device.type != "cuda":
        ready = tensor.cpu()
        return lambda: ready
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    copy.copy_(tensor, non_blocking=True)
    is_made = torch.cuda.Event()
    is_made.record(torch.cuda.current_stream(tensor.device))

    def wait() -> torch.Tensor:
        is_made.synchronize()
        return copy

    return wait


def generator_states() -> dict[str, list[torch.Tensor]]:
    """States of torch's global generators: ``torch`` (the CPU's), and of each kind of card that is in use."""
    states = {"torch": [torch.get_rng_state()]}
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state_all()
    if _has_xpu() and torch.xpu.is_initialized():
        states["xpu"] = torch.xpu.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = [torch.mps.get_rng_state()]
    return states


def set_generator_states(states: Mapping[str, list[torch.Tensor]]) -> None:
    """Put back what :func:`generator_states` gave."""
    torch.set_rng_state(states["torch"][0])
    for kind in ("cuda", "xpu"):
        if kind in states:
            getattr(torch, kind).set_rng_state_all(states[kind])
    if "mps" in states:
        torch.mps.set_rng_state(states["mps"][0])


def _attribute(owner: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    return (lambda: getattr(owner, name)), (lambda value: setattr(owner, name, value))


GLOBAL_FLAGS: Mapping[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "deterministic": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    "cudnn enabled": _attribute(torch.backends.cudnn, "enabled"),
    "cudnn benchmark": _attribute(torch.backends.cudnn, "benchmark"),
    "cudnn deterministic": _attribute(torch.backends.cudnn, "deterministic"),
    "cudnn tf32": _attribute(torch.backends.cudnn, "allow_tf32"),
    "matmul tf32": _attribute(torch.backends.cuda.matmul, "allow_tf32"),
    "flash attention": (torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.enable_flash_sdp),
    "lean attention": (torch.backends.cuda.mem_efficient_sdp_enabled, torch.backends.cuda.enable_mem_efficient_sdp),
    "plain attention": (torch.backends.cuda.math_sdp_enabled, torch.backends.cuda.enable_math_sdp),
}
"""Name -> (how to read it, how to set it) of torch's switches that are global, none of them a thread's own."""


def backend(device: torch.device) -> Any:
    return getattr(torch, device.type)


def _has_xpu() -> bool:
    return hasattr(torch, "xpu") and torch.xpu.is_available()


def _free_ram_bytes() -> int | None:
    if sys.platform == "win32":
        return _ram_bytes_windows()[0]
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"MemAvailable:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else None


def _ram_bytes_windows() -> tuple[int | None, int | None]:
    """Free and in all."""

    class Status(ctypes.Structure):
        _fields_ = [  # the layout of MEMORYSTATUSEX
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *[(name, ctypes.c_ulonglong) for name in ("total", "free", "t_page", "f_page", "t_virt", "f_virt", "ext")],
        ]

    status = Status()
    status.length = ctypes.sizeof(Status)
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - absent elsewhere, so not for the type checker
    return (int(status.free), int(status.total)) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else (None, None)


def _resident_bytes() -> int | None:
    """Memory this process has in RAM now."""
    with contextlib.suppress(OSError, AttributeError, ValueError):
        if sys.platform == "win32":
            return _resident_bytes_windows()
        if sys.platform == "darwin":
            return _resident_bytes_mac()
    return _status_bytes("VmRSS")


def _resident_bytes_windows() -> int | None:
    class Counters(ctypes.Structure):
        _fields_ = [  # the layout of PROCESS_MEMORY_COUNTERS
            ("length", ctypes.c_ulong),
            ("faults", ctypes.c_ulong),
            *[(name, ctypes.c_size_t) for name in ("peak", "now", "a", "b", "c", "d", "e", "f")],
        ]

    counters = Counters()
    counters.length = ctypes.sizeof(Counters)
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - absent elsewhere, so not for the type checker
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    is_told = kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), counters.length)
    return int(counters.now) if is_told else None


def _resident_bytes_mac() -> int | None:
    """By ``proc_pidinfo``: of PROC_PIDTASKINFO's 96 bytes the second eight are the resident size."""
    found = (ctypes.c_uint64 * 12)()
    library = ctypes.CDLL("/usr/lib/libproc.dylib")
    size = library.proc_pidinfo(os.getpid(), 4, ctypes.c_uint64(0), ctypes.byref(found), ctypes.sizeof(found))
    return int(found[1]) if size == ctypes.sizeof(found) else None


def _status_bytes(field: str) -> int | None:
    try:
        text = (_PROC / "status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else None
