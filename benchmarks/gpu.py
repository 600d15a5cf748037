"""python benchmarks/gpu.py --sd1 sd15.safetensors --sdxl sdxl.safetensors [--kohya DIR --kohya-python EXE]

Training speed and memory on a graphics card: SD1.5 at 512 px with and without gradient checkpointing, SDXL at 1024 px
with it; rank 32, batch 1, UNet only, AdamW, bf16; beside kohya sd-scripts on the same card when its checkout is given.

Checkpoints come from ``full_size.py`` (random weights cost the same as trained ones). Steps a second are wall time
between step lines, the first ones left out. Memory is that of the whole card as ``nvidia-smi`` says, less what was in
use before the start (contexts and caching allocators included, for both alike), so let nothing else use the card.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from meter import Measured, clean_environment, gigabytes, watch
from trainers import (
    ROOT,
    Kohya,
    Task,
    kohya_command,
    ours_command,
    prepare_ours,
    step_pattern,
    stop_if_failed,
    write_inputs,
)

WARM_UP_STEPS = 5


def card_memory(card: int) -> int:
    """Bytes in use on the card.

    Raises:
        SystemExit: no ``nvidia-smi``.
    """
    query = ["nvidia-smi", f"--id={card}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    if shutil.which(query[0]) is None:
        sys.exit("nvidia-smi is not here: this benchmark reads the card's memory with it.")
    return int(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]) * 2**20


def tasks(arguments: argparse.Namespace) -> dict[str, Task]:
    """Rows of the table."""
    rows = {}
    common = {"steps": arguments.steps, "device": "cuda", "precision": arguments.precision, "rank": 32, "alpha": 16}
    if arguments.sd1:
        rows["SD1.5 512 px"] = Task(arguments.sd1, resolution_px=512, **common)
        rows["SD1.5 512 px, checkpointing"] = Task(arguments.sd1, resolution_px=512, has_checkpointing=True, **common)
    if arguments.sdxl:
        rows["SDXL 1024 px, checkpointing"] = Task(
            arguments.sdxl, resolution_px=1024, is_sdxl=True, has_checkpointing=True, **common
        )
    return rows


def run_once(task: Task, kohya: Kohya | None, work: Path, name: str, card: int) -> Measured:
    """One training on the card."""
    out = work / "".join(char if char.isalnum() else "_" for char in name)
    out.mkdir()
    if kohya is None:
        shutil.rmtree(work / "project" / "cache", ignore_errors=True)
    before = card_memory(card)
    used: Callable[[int], int] = lambda _pid: card_memory(card) - before  # noqa: E731
    run = watch(
        name,
        kohya_command(task, kohya, work, out) if kohya else ours_command(task, work, out),
        step_pattern(kohya is None),
        environment={**clean_environment(os.cpu_count() or 1), "CUDA_VISIBLE_DEVICES": str(card)},
        log=work / f"{out.name}.log",
        cwd=kohya.folder if kohya else ROOT,
        extra=used,
    )
    stop_if_failed(run)
    print(f"{name}: {speed(run):.2f} steps a second", file=sys.stderr, flush=True)
    return run


def speed(run: Measured) -> float:
    """Steps a second, from the median step after the warm-up."""
    return 1 / statistics.median(run.wall_per_step()[WARM_UP_STEPS:])


def row(name: str, run: Measured) -> str:
    figures = f"{speed(run):.2f} | {gigabytes(run.peak_extra)} | {run.mark(1).wall_s:.0f}"
    return f"| {name} | {run.name.split(':')[0]} | {figures} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sd1", type=Path, help="SD1.5 checkpoint, LDM layout")
    parser.add_argument("--sdxl", type=Path, help="SDXL checkpoint, LDM layout")
    parser.add_argument("--kohya", type=Path, help="checkout of kohya-ss/sd-scripts")
    parser.add_argument("--kohya-python", type=Path, default=Path(sys.executable), help="Python that runs kohya")
    parser.add_argument("--card", type=int, default=0)
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp16"))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--photos", type=int, default=24)
    arguments = parser.parse_args()
    kohya = Kohya(arguments.kohya, arguments.kohya_python) if arguments.kohya else None
    card_memory(arguments.card)
    lines = ["| task | program | steps a second | peak memory of the card | s to first step |", "|---|---|---|---|---|"]
    for name, task in tasks(arguments).items():
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            write_inputs(work, arguments.photos)
            prepare_ours(work, task.resolution_px)
            programs: list[tuple[str, Kohya | None]] = [("LoRA Forge", None), *([("kohya", kohya)] if kohya else [])]
            for program, there in programs:
                lines.append(row(name, run_once(task, there, work, f"{program}: {name}", arguments.card)))
    if kohya:
        print(f"kohya sd-scripts {kohya.version()}\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
