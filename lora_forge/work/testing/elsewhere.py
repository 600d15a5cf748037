"""A test as others run it: the host's own X/Y/Z plot, and our command line."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from lora_forge.evaluate.plan import GridPlan
from lora_forge.evaluate.xyz import axes_of, check_files, csv_line, infotext, range_text
from lora_forge.ports import Desk
from lora_forge.work.testing.request import TestRequest, strengths_text


def plain_plan(request: TestRequest) -> GridPlan:
    """The grid as the host's plot draws it: the plain prompt, and no row without the LoRA, which would be drawn once
    for every epoch."""
    plan = request.plan()
    return dataclasses.replace(plan, strengths=request.strengths, swap_prompt="", swaps=())


def infotext_of(desk: Desk, request: TestRequest) -> dict[str, Any]:
    """``{"text", "expected": {"prompt", "x", "y"}}``: the text to paste, and what txt2img's fields hold after it.

    Raises:
        ConfigError: their plot can't do that prompt.
        LoraFileError: a file is missing.
    """
    plan = plain_plan(request)
    check_files(plan, desk.lora_dir())
    axes = axes_of(plan)
    expected = {"prompt": axes.prompt, "x": csv_line(axes.x), "y": csv_line(axes.y)}
    return {"text": infotext(plan), "expected": expected}


def command_of(desk: Desk, request: TestRequest) -> str:
    """The test as a line for a terminal."""
    find = getattr(desk, "base_path", None)  # a WebUI has no need of it: it draws itself
    base: Path | None = find() if find is not None else None
    words = ["lora-forge", "grid", "--base", str(base or f"{desk.loaded()}.safetensors")]
    words += ["--loras", str(desk.lora_dir()), "--name", request.name, "--out", f"{request.name}.png"]
    words += ["--prompt", request.plan().prompt, "--negative", request.negative]
    words += ["--epochs", range_text(request.epochs), "--strengths", strengths_text((0.0, *request.strengths))]
    words += ["--seed", str(request.seeds[0]), "--seeds", str(len(request.seeds)), "--steps", str(request.steps)]
    words += ["--guidance", f"{request.guidance:g}", "--sampler", request.sampler]
    words += ["--width", str(request.width), "--height", str(request.height), "--clip-skip", str(request.clip_skip)]
    words += ["--project", str(request.project), "--kind", request.kind]
    words += ["--swaps", ", ".join(request.swaps)] if request.swaps else []
    words += ["--smart"] if request.mode == "smart" else []
    return shlex.join(words)
