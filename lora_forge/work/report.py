"""A text to copy when something went wrong: versions, device, host, settings, the last lines; nothing personal."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from lora_forge import __version__
from lora_forge.errors import LoraForgeError
from lora_forge.i18n import say, word
from lora_forge.ports import Desk
from lora_forge.work.journal_facts import head_lines, tail_lines
from lora_forge.work.runs import RunFacts
from lora_forge.work.scrubbing import Scrubber
from lora_forge.work.settings import CONFIG_FILE

MOST_LINES = 60
_LIBRARIES = ("torch", "diffusers", "transformers", "peft", "safetensors", "gradio", "numpy", "pillow")
_MOST_STEPS = 10
_ASIDE = ("event", "time", "prompt")  # what a person wrote stays with him
_HIDDEN = ("name", "trigger_word", "preview_prompts", "schema_version")
_TITLE = word("LoRA Forge report: {name}")
_HEADS = {
    "versions": word("Versions and host"),
    "base": word("Base checkpoint and device"),
    "run": word("The run itself"),
    "settings": word("Settings of the run"),
    "log": word("Last lines of the log"),
    "error": word("The error"),
}


def report(
    run: RunFacts, state: str, log: Sequence[Mapping[str, Any]], desk: Desk | None = None, language: str = "en"
) -> str:
    """The report on ``run``. ``log``: what the board said of it, where it still knows; the journal tells the rest.
    ``desk``: None on the command line."""
    lines = tail_lines(run.folder)
    error = run.message(language)
    parts = {
        "versions": _versions(desk.name if desk else "command line"),
        "base": _base(desk, [*head_lines(run.folder), *lines]),
        "run": _facts(run, state),
        "settings": _settings(run),
        "log": _log(lines, log),
        "error": [error] if error else [],
    }
    text = say(_TITLE, language, name=run.name) + "\n"
    for key, found in parts.items():
        if found:
            text += f"\n## {say(_HEADS[key], language)}\n" + "\n".join(found) + "\n"
    roots = (run.folder, *((desk.data_root(), desk.lora_dir()) if desk else ()))
    return Scrubber(roots)(text)


def _versions(host: str) -> list[str]:
    system = f"{platform.system()} {platform.release()}, {platform.machine()}, Python {platform.python_version()}"
    libraries = [f"{name} {version}" for name in _LIBRARIES if (version := _version(name))]
    return [f"LoRA Forge {__version__}", f"Host: {host}", system, ", ".join(libraries)]


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _base(desk: Desk | None, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the host has loaded now, and what the run began with."""
    found = []
    try:
        if desk is not None:
            info = desk.info()
            found.append(f"{info.family.value}, {info.prediction_type}, sha256 {info.sha256[:16] or '?'}")
    except LoraForgeError as problem:
        found.append(str(problem))
    started = next((line for line in reversed(lines) if line.get("event") == "RunStarted"), None)
    if started is not None:
        keys = ("family", "prediction_type", "device", "precision", "photos", "steps_per_epoch", "trained_parameters")
        found.append(", ".join(f"{key} {started.get(key)}" for key in keys))
        found.append(_device(str(started.get("device"))))
    return [line for line in found if line]


def _device(name: str) -> str:
    """The card or processor and its memory, as it is now; empty where there is no such device any more."""
    try:
        import torch

        from lora_forge.model.devices import describe_device, free_memory_bytes

        device = torch.device(name)
        free = free_memory_bytes(device)
        return describe_device(device) + (f", {free / 1e9:.1f} GB free now" if free is not None else "")
    except Exception as problem:  # noqa: BLE001 - drivers raise what they like, and a report is for when all is broken
        return f"{name}: {type(problem).__name__}"


def _facts(run: RunFacts, state: str) -> list[str]:
    journal = run.journal
    return [f"{state}, step {journal.step} of {journal.total}, epoch {journal.epoch} of {run.epochs}"]


def _settings(run: RunFacts) -> list[str]:
    """The whole config where the run came as far as that, else what was asked for; prompts and words are the
    person's own and stay out."""
    try:
        values = json.loads((run.folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        values = run.asked.get("values")
    if not isinstance(values, dict):
        return []
    shown = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items() if key not in _HIDDEN]
    return [f"kind = {run.asked.get('kind') or '?'}", *shown]


def _log(lines: Sequence[Mapping[str, Any]], log: Sequence[Mapping[str, Any]]) -> list[str]:
    """The last sentences of the board; else the journal's events, of the steps only the last few."""
    if log:
        return [str(line.get("text")) for line in log][-MOST_LINES:]
    steps = [line for line in lines if line.get("event") == "StepDone"][-_MOST_STEPS:]
    kept = [line for line in lines if line.get("event") not in ("StepDone", "Progress") or line in steps]
    return [_plain(line) for line in kept][-MOST_LINES:]


def _plain(line: Mapping[str, Any]) -> str:
    facts = ", ".join(f"{key} {_short(value)}" for key, value in line.items() if key not in _ASIDE)
    return f"{line.get('event')}: {facts}"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
