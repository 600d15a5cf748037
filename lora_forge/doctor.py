"""What is installed, which devices there are, what would work on them, what is missing and how to get it.

Nothing is changed and nothing fetched.
"""

from __future__ import annotations

import importlib
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path

from lora_forge import __version__
from lora_forge.progress import size
from lora_forge.toyworld import checkpoint_path

NEEDED = ("torch", "diffusers", "peft", "transformers", "accelerate", "safetensors", "numpy", "pillow", "tqdm")
OPTIONAL = {
    "gradio": "the page in the browser (lora-forge ui)",
    "pillow-heif": "reading HEIC photos of phones",
    "bitsandbytes": "optimizer=adamw8bit (NVIDIA)",
    "prodigyopt": "optimizer=prodigy",
    "lion-pytorch": "optimizer=lion",
    "schedulefree": "optimizer=schedule_free",
}
PIP = f"{sys.executable} -m pip install"
LEAST_FREE_BYTES = 5_000_000_000


class State(str, Enum):
    """How good a finding is."""

    GOOD = "good"
    OPTIONAL = "optional"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``remedy`` is empty when nothing needs doing."""

    section: str
    name: str
    state: State
    text: str
    remedy: str = ""


def examine(folder: Path) -> list[Finding]:
    """Everything worth knowing before training in ``folder``."""
    findings = [_python()]
    findings += [_needed(name) for name in NEEDED]
    findings += [_optional(name, use) for name, use in OPTIONAL.items()]
    if all(finding.state is State.GOOD for finding in findings[: 1 + len(NEEDED)]):
        findings += _devices()
        findings += _image_formats()
    findings += [_disk(folder), _toyworld()]
    return findings


def _python() -> Finding:
    version = platform.python_version()
    text = f"{version} on {platform.system()} {platform.machine()}, LoRA Forge {__version__}"
    return Finding("Program", "Python", State.GOOD, text)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _needed(name: str) -> Finding:
    version = _version(name)
    remedy = f"{PIP} {name}, or start through standalone.py, which installs it beside itself."
    if version is None:
        return Finding("Program", name, State.BAD, "is not installed", remedy)
    try:
        importlib.import_module({"pillow": "PIL"}.get(name, name))
    except (ImportError, OSError, RuntimeError) as problem:  # how a half-fitting library shows itself
        reason = str(problem).strip().splitlines() or [type(problem).__name__]
        return Finding("Program", name, State.BAD, f"{version} does not start: {reason[0]}", remedy)
    return Finding("Program", name, State.GOOD, version)


def _optional(name: str, use: str) -> Finding:
    version = _version(name)
    if version is None:
        return Finding("Optional", name, State.OPTIONAL, f"not installed: {use}", f"{PIP} {name}")
    return Finding("Optional", name, State.GOOD, f"{version}: {use}")


def _devices() -> Iterator[Finding]:
    import torch

    from lora_forge.model import devices

    for number, offered in enumerate(devices.list_devices()):
        device = torch.device(offered.name)
        dtype = str(devices.pick_dtype("auto", device)).removeprefix("torch.")
        free = devices.free_memory_bytes(device)
        parts = [offered.description, f"trains in {dtype}"]
        if free is not None:
            parts.append(f"{size(free)} free")
        if not number:
            parts.append("used unless --device says otherwise")
        yield Finding("Devices", offered.name, State.GOOD, ", ".join(parts))
        if device.type == "cpu" and not number:
            yield _cpu_only(torch.__version__)


def _cpu_only(version: str) -> Finding:
    remedy = ""
    if shutil.which("nvidia-smi"):
        remedy = "There is an NVIDIA driver: install torch's CUDA build (TORCH_INDEX_URL; see standalone.py --help)."
    text = f"torch {version} finds none: fine for the toy world, slow for anything real"
    return Finding("Devices", "graphics card", State.OPTIONAL, text, remedy)


def _image_formats() -> Iterator[Finding]:
    from PIL import features

    for name, is_there in (("WebP", features.check("webp")), ("AVIF", _reads_avif())):
        text = "photos can be read" if is_there else "photos can't be read"
        remedy = "" if is_there else f"{PIP} -U pillow" if name == "WebP" else f"{PIP} pillow-avif-plugin"
        yield Finding("Photos", name, State.GOOD if is_there else State.OPTIONAL, text, remedy)


def _reads_avif() -> bool:
    from PIL import Image

    Image.init()
    return "AVIF" in Image.OPEN or _version("pillow-avif-plugin") is not None


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        remedy = "Ten SDXL files of rank 32 take about 2 GB, the latent cache more: free some or work elsewhere."
        return Finding("Files", "disk", State.BAD, f"only {size(free)} free in {folder}", remedy)
    return Finding("Files", "disk", State.GOOD, f"{size(free)} free in {folder}")


def _toyworld() -> Finding:
    path = checkpoint_path()
    if not path.is_file():
        remedy = "Get the package again, or build it: python -m lora_forge.toyworld.build"
        return Finding("Files", "toy world", State.OPTIONAL, f"{path} is not there: the demo can't run", remedy)
    return Finding("Files", "toy world", State.GOOD, f"bundled ({size(path.stat().st_size)}): lora-forge demo")
