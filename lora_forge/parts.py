"""Libraries beside the host: which are there, missing or broken, why they matter, and how to get them.

Standard library alone and no import of ours: ``install.py`` loads this file by its path inside a host's installer,
where nothing else of LoRA Forge may be imported. Nothing that is installed is ever changed: only what is absent is
added, with ``--no-deps`` and a pinned release, so no resolver can move what the host pins.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

State = Literal["present", "missing", "broken"]
Level = Literal["host", "needed", "optional"]

ASK_S = 600
PROBE_S = 180
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Library:
    """One library we may use. ``name`` is what pip calls it; ``flavours`` are other names that bring its module.

    ``level``: "host" comes with the host and is never installed by us; without a "needed" one nothing trains; without
    an "optional" one everything but ``needed_for`` works.
    """

    name: str
    module: str
    level: Level
    needed_for: str
    why: str
    flavours: tuple[str, ...] = ()


_HOST_WHY = "The checkpoint itself runs on it; LoRA Forge takes it as it is and never installs or changes it."
_FACES_WHY = "Without it faces are not found or compared; everything else works."

LIBRARIES = (
    Library("diffusers", "diffusers", "needed", "training", "It holds the model code that training runs on."),
    Library("peft", "peft", "needed", "training", "It puts the LoRA into the model and takes it out again."),
    *(
        Library(name, {"pillow": "PIL"}.get(name, name), "host", "training", _HOST_WHY)
        for name in ("torch", "transformers", "accelerate", "safetensors", "numpy", "pillow")
    ),
    Library("insightface", "insightface", "optional", "faces", _FACES_WHY),
    Library("onnx", "onnx", "optional", "faces", _FACES_WHY),
    Library(
        "onnxruntime",
        "onnxruntime",
        "optional",
        "faces",
        "Without it faces are not found and tags are not proposed; everything else works.",
        # They share one folder; a second one would overwrite the first.
        tuple(f"onnxruntime-{kind}" for kind in ("gpu", "directml", "openvino", "rocm", "migraphx")),
    ),
    Library("pillow-heif", "pillow_heif", "optional", "HEIC photos", "Without it HEIC photos of phones can't be read."),
    Library("pillow-avif-plugin", "pillow_avif", "optional", "AVIF photos", "Without it AVIF photos can't be read."),
    Library(
        "prodigyopt", "prodigyopt", "optional", "optimizer=prodigy", "Without it the optimizer prodigy is not there."
    ),
    Library(
        "lion-pytorch", "lion_pytorch", "optional", "optimizer=lion", "Without it the optimizer lion is not there."
    ),
    Library(
        "schedulefree",
        "schedulefree",
        "optional",
        "optimizer=schedule_free",
        "Without it the optimizer schedule_free is not there.",
    ),
    Library(
        "bitsandbytes",
        "bitsandbytes",
        "optional",
        "optimizer=adamw8bit",
        "Without it the optimizer adamw8bit (NVIDIA cards) is not there.",
    ),
)
NEEDED = tuple(library.name for library in LIBRARIES if library.level == "needed")
_BY_NAME = {library.name: library for library in LIBRARIES}

PRESS = "Press Install: it is added, and nothing that is already installed changes."
REPAIR = (
    "Something else installed a release that does not fit, and LoRA Forge changes no installed library. "
    "Close the WebUI, run this command, and start it again:"
)
HOST_REMEDY = "Let the WebUI install its own requirements again: start it once without --skip-install."


@dataclass(frozen=True)
class Part:
    """What is known of one library.

    ``why``, ``remedy`` and ``needed_for`` are fixed English sentences (keys of a catalogue); ``detail`` is the raw
    line of what went wrong, ``command`` what a person can run by hand; both may be empty.
    """

    name: str
    needed_for: str
    state: State
    version: str
    why: str
    remedy: str = ""
    detail: str = ""
    command: str = ""
    is_needed: bool = False
    can_install: bool = False


# ---------------------------------------------------------------- looking


def examine(*, imports: bool = False) -> list[Part]:
    """Every library's state, needed ones first.

    By default only names and versions are looked at (milliseconds, nothing is imported). ``imports`` also imports the
    needed and the optional ones in a process of their own (seconds): the one way to know that a release really fits.
    """
    parts = [_look(library) for library in LIBRARIES if not _is_superfluous(library)]
    return _import_elsewhere(parts) if imports else parts


def missing(names: Iterable[str] = NEEDED) -> list[str]:
    """Those of ``names`` of which neither the module nor any trace of an installation is there."""
    return [name for name in names if not _has_module(_BY_NAME[name].module) and _installed(_BY_NAME[name]) is None]


def _is_superfluous(library: Library) -> bool:
    return library.name == "pillow-avif-plugin" and _release("pillow") >= (11, 3)  # reads AVIF itself


def _look(library: Library) -> Part:
    version = _installed(library)
    if not _has_module(library.module):
        state: State = "missing" if version is None else "broken"
        return _part(library, state, version or "", "" if version is None else "Its files are gone.")
    trouble = _known_trouble(library.name)
    return _part(library, "broken" if trouble else "present", version or "", trouble)


def _part(library: Library, state: State, version: str, detail: str = "") -> Part:
    part = Part(library.name, library.needed_for, state, version, library.why, is_needed=library.level != "optional")
    if state == "present":
        return part
    if library.level == "host":
        return replace(part, remedy=HOST_REMEDY, detail=detail)
    command = _quoted([sys.executable, "-m", "pip", "install", "--no-deps", *requirements([library.name])])
    is_missing = state == "missing"
    return replace(part, remedy=PRESS if is_missing else REPAIR, detail=detail, command=command, can_install=is_missing)


def _quoted(words: list[str]) -> str:
    return " ".join(f'"{word}"' if re.search(r"[\s<>=]", word) else word for word in words)


def _has_module(module: str) -> bool:
    """Whether a module of that name could be imported; a folder that an uninstall left behind is none."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):  # loaded by somebody without a spec, or torn
        return module in sys.modules
    return spec is not None and spec.origin is not None


def _installed(library: Library) -> str | None:
    """The version that an installer has written down, or None."""
    versions = (_version(name) for name in (library.name, *library.flavours))
    return next((version for version in versions if version is not None), None)


def _version(name: str) -> str | None:
    from importlib import metadata  # a third of install.py's time when all is there, and then not needed

    try:
        return metadata.version(name) or ""
    except metadata.PackageNotFoundError:
        return None


def _release(name: str) -> tuple[int, ...]:
    """``(1, 26, 2)`` for numpy 1.26.2+cu; empty when it is not installed."""
    text = re.split(r"[+a-zA-Z]", _version(name) or "")[0]
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _is_older(name: str, *release: int) -> bool:
    """Whether ``name`` is installed and older than ``release``."""
    return () < _release(name) < release


def _known_trouble(name: str) -> str:
    """What is known to fail without importing it; diffusers imports peft, so a bad peft breaks both."""
    if name == "diffusers" and _is_older("diffusers", 0, 29):
        return "It is older than 0.29, which has other converters."
    if name == "diffusers" and _release("diffusers") >= (0, 36) and _is_older("torch", 2, 3):
        return "From 0.36 on it needs torch 2.3 or newer."
    if name not in ("peft", "diffusers"):
        return ""
    if _release("peft") >= (0, 14) and _is_older("transformers", 4, 43):
        return f"peft {_text_of('peft')} needs a newer transformers than {_text_of('transformers')}."
    if _release("peft") >= (0, 15) and _is_older("accelerate", 0, 32):
        return f"peft {_text_of('peft')} needs a newer accelerate than {_text_of('accelerate')}."
    return ""


def _text_of(name: str) -> str:
    return ".".join(map(str, _release(name)))


# What is imported, in this order; lazy packages import nothing until a name is asked for. diffusers goes first: with a
# broken peft it fails as it does in real use, and passes once half a peft lies in sys.modules.
_IMPORTS = {
    "diffusers": "from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel",
    "peft": "from peft import LoraConfig, inject_adapter_in_model",
}
_PROBE = """
import json, sys, warnings
sys.path[:] = [folder for folder in sys.path if folder]  # not the folder we happen to start in
warnings.simplefilter("ignore")
for name, code in json.loads(sys.argv[1]):
    print("\\n@lora-forge@" + json.dumps(["begin", name, ""]), flush=True)
    try:
        exec(code, {})
        words = ""
    except BaseException as problem:
        lines = str(problem).strip().splitlines() or [type(problem).__name__]
        words = lines[-1 if lines[0].endswith(":") else 0]
    print("\\n@lora-forge@" + json.dumps(["end", name, words]), flush=True)
"""


def _import_elsewhere(parts: list[Part]) -> list[Part]:
    """``parts`` with those broken that do not import; never in this process, where half an import would stay."""
    asked = [part.name for part in parts if part.state == "present" and _BY_NAME[part.name].level != "host"]
    if not asked:
        return parts
    order = sorted(asked, key=lambda name: list(_IMPORTS).index(name) if name in _IMPORTS else len(_IMPORTS))
    code = [(name, _IMPORTS.get(name, f"import {_BY_NAME[name].module}")) for name in order]
    problems = _problems(_run_probe(json.dumps(code)))
    return [
        _part(_BY_NAME[part.name], "broken", part.version, problems[part.name]) if problems.get(part.name) else part
        for part in parts
    ]


def _run_probe(code: str) -> str:
    """What the probe printed, as far as it came."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", _PROBE, code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
        creationflags=_no_window(),
    )
    try:
        return process.communicate(timeout=PROBE_S)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0].decode("utf-8", "replace") + '\n@lora-forge@["slow", "", ""]\n'


def _problems(printed: str) -> dict[str, str]:
    """Name -> what went wrong there ("" for nothing); one that took the process down with it counts as broken."""
    found: dict[str, str] = {}
    is_slow = False
    for line in printed.splitlines():
        if not line.startswith("@lora-forge@"):
            continue  # libraries print what they like
        what, name, words = json.loads(line.removeprefix("@lora-forge@"))
        is_slow = is_slow or what == "slow"
        if name:
            found[name] = "Importing it ends Python." if what == "begin" else words
    if is_slow and found:  # a busy machine is no proof
        found[list(found)[-1]] = ""
    return found


# ---------------------------------------------------------------- pins

# Which release goes with which host is measured, not resolved: pip's own metadata lets every broken pair through.
# Old: transformers < 4.48, accelerate < 1.0, numpy < 2 or torch < 2.3 (AUTOMATIC1111, Forge, reForge, Forge Classic).
_OLD = {"diffusers": "==0.31.0", "peft": "==0.13.2", "onnx": "==1.17.0", "onnxruntime": "==1.23.2"}
# Seen to work together on transformers 4.48.1 with accelerate 1.2.1, 4.57.6 (Forge Neo) and 5.23.0; diffusers 0.42.1
# does not go with huggingface_hub 0.36, which every transformers 4 asks for.
_NEW = {"diffusers": "==0.37.1", "peft": "==0.21.2", "onnx": ">=1.17,<=1.23.2", "onnxruntime": ">=1.23.2,<=1.31.1"}
_EITHER = {
    "insightface": "==2.1",
    "pillow-avif-plugin": ">=1.4.3,<1.6",
    "prodigyopt": "==1.1.2",
    "lion-pytorch": ">=0.2,<0.3",
    "schedulefree": ">=1.4,<2",
}
_OLD_BELOW = {"transformers": (4, 48), "accelerate": (1,), "numpy": (2,), "torch": (2, 3)}


def is_old_stack() -> bool:
    """Whether anything the host pins is too old for current releases."""
    return any(_is_older(name, *release) for name, release in _OLD_BELOW.items())


def pins() -> Mapping[str, str]:
    """Library -> the releases that fit this environment, as pip writes them."""
    heif = "==0.16.0" if _is_older("pillow", 11, 1) else ">=1.0,<2"
    bits = "==0.45.5" if _is_older("torch", 2, 4) else "==0.50.2"
    return {**_EITHER, "pillow-heif": heif, "bitsandbytes": bits, **(_OLD if is_old_stack() else _NEW)}


def requirements(names: Iterable[str]) -> list[str]:
    """``["diffusers==0.31.0", ...]`` for libraries we may install.

    Raises:
        KeyError: we never install this one.
    """
    fitting = pins()
    return [name + fitting[name] for name in names]


# ---------------------------------------------------------------- installing


@dataclass(frozen=True)
class Outcome:
    """What came of an installation, in one line."""

    is_done: bool
    sentence: str


def install(names: Iterable[str]) -> str:
    """Add those of ``names`` that are missing; returns one sentence on what came of it. Blocks for up to minutes.

    Call :func:`examine` afterwards: it tells what is there now.

    Raises:
        KeyError: one of ``names`` is not ours to install.
    """
    return add(names).sentence


def add(names: Iterable[str], limit_s: float = ASK_S) -> Outcome:
    """:func:`install`, saying also whether everything asked for is there now."""
    asked = list(dict.fromkeys(names))
    requirements(asked)
    absent = missing(asked)
    if not absent:
        return Outcome(True, f"{', '.join(asked)}: already there, nothing was changed.")
    if importlib.util.find_spec("pip") is None:
        words = f"This Python has no pip; run: {_quoted([sys.executable, '-m', 'ensurepip'])}"
        return Outcome(False, words)
    if not _LOCK.acquire(blocking=False):
        return Outcome(False, "An installation is already running.")
    try:
        return _add(absent, limit_s)
    finally:
        _LOCK.release()


def pip_command(names: Iterable[str]) -> list[str]:
    """The pip call that adds ``names`` and can change nothing else; the host's own INDEX_URL is obeyed as it does."""
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--no-warn-script-location", "--timeout", "20", "--retries", "1"]
    index = os.environ.get("INDEX_URL", "")
    return command + (["--index-url", index] if index else []) + requirements(names)


def _add(absent: list[str], limit_s: float) -> Outcome:
    wanted = ", ".join(requirements(absent))
    try:
        done = subprocess.run(
            pip_command(absent),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit_s,
            check=False,
            creationflags=_no_window(),
        )
    except subprocess.TimeoutExpired:
        return Outcome(False, f"{wanted} could not be installed: pip took over {limit_s:.0f} s.")
    except OSError as problem:
        return Outcome(False, f"{wanted} could not be installed: {problem}.")
    if done.returncode:
        reason = _reason(done.stdout.decode("utf-8", "replace"))
        return Outcome(False, f"{wanted} could not be installed: {reason}")
    importlib.invalidate_caches()
    unseen = [name for name in absent if not _has_module(_BY_NAME[name].module)]
    if unseen:
        return Outcome(False, f"Installed {wanted}, but this Python does not see {', '.join(unseen)} before a restart.")
    return Outcome(True, f"Installed {wanted}; nothing else was changed.")


_OFFLINE = ("connection", "name resolution", "getaddrinfo", "timed out", "proxyerror", "sslerror", "unreachable")


def _reason(printed: str) -> str:
    """One sentence for what pip printed."""
    low = printed.lower()
    if "no space left" in low:
        return "the disk is full."
    if any(word in low for word in _OFFLINE):
        return "the package index can't be reached."
    if "no matching distribution" in low:
        version = ".".join(map(str, sys.version_info[:2]))
        return f"the package index has no ready-made build for Python {version} on this machine."
    errors = [line for line in printed.splitlines() if line.startswith("ERROR")] or printed.splitlines()[-1:]
    return "".join(errors[:1]).removeprefix("ERROR:").strip()[:200] or "pip said nothing."


def _no_window() -> int:
    """On Windows a console program would flash a window."""
    return int(getattr(subprocess, "CREATE_NO_WINDOW", 0))
