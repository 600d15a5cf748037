"""The options of ``lora-forge trial``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_trial(commands: Any, add: Callable[..., Any]) -> None:
    """Add the command; ``add`` makes a parser as all commands have it."""
    parser = add(
        commands,
        "trial",
        "trial",
        "test firing: does a run fit the memory, and how fast is it",
        "Takes two real steps at the largest shape with the full batch and draws one preview, and measures them. "
        "Nothing is trained or saved. Where the memory is full it says at which stage, and what to lower. Settings as "
        "for train. Exit code 1 when it does not fit.",
        "  lora-forge trial --project anna --base model.safetensors --preset person\n"
        "  lora-forge trial --project anna --base model.safetensors --resolution 768 --set batch_size=4",
    )
    parser.set_defaults(name="trial", trigger=None, seed=None)
    parser.add_argument("--project", type=Path, required=True, metavar="DIR", help="the project's folder")
    parser.add_argument("--base", type=Path, required=True, metavar="FILE", help="base checkpoint, .safetensors")
    parser.add_argument("--preset", metavar="KIND", help="kind of LoRA (default: person)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings of an earlier run (its config.json)")
    knobs = parser.add_argument_group("settings (each is also a --set)")
    knobs.add_argument("--epochs", metavar="N", help="passes over the photos (default: the preset's)")
    knobs.add_argument("--repeats", metavar="N", help="how often a photo is seen per epoch (default: by photo count)")
    knobs.add_argument("--rank", metavar="N", help="inner size of the LoRA")
    knobs.add_argument("--resolution", metavar="PX", help="training size (default: as prepared, else by the base)")
    knobs.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps, xpu (default: auto)")
    knobs.add_argument(
        "--precision", choices=["auto", "fp32", "bf16", "fp16"], help="default: what the device does well"
    )
    knobs.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments", help="any setting; repeatable"
    )
