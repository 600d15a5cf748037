"""python benchmarks/kohya_cpu.py --kohya DIR --kohya-python EXE --base sd15.safetensors [--rounds 2] [--steps 40]

LoRA Forge beside kohya sd-scripts on one CPU thread: CPU seconds a step, peak anonymous memory, time from start to
the first finished step and to the end of the first epoch, each beside its reach, and whether the loss curves agree
(``losses.py`` has the statistic). By the first epoch's end both have encoded every photograph (kohya before its
first step, ours as they are met); the seconds a step are those of the steps after it. SD1.5 at full size, bf16,
256 px, batch 1, rank 16 alpha 8, UNet only, AdamW, 24 photographs.

``DIR`` is a checkout of kohya-ss/sd-scripts, unmodified; ``EXE`` a Python in which its ``train_network.py`` runs, with
tensorboardX (or tensorboard), which it writes its losses with; ``--base`` any SD1.5 file (``full_size.py`` makes one).
Both are ordinary command lines, watched from outside by ``meter.py``; runs take turns (ours, kohya, ours, kohya ...)
so that both see the same load, and ours starts each time with an empty cache. Our ``import`` and ``prepare`` are run
and timed too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from losses import compare
from meter import Measured, clean_environment, gigabytes, watch
from trainers import (
    ROOT,
    Kohya,
    Task,
    kohya_command,
    losses,
    ours_command,
    prepare_ours,
    step_pattern,
    stop_if_failed,
    write_inputs,
)

RESOLUTION_PX = 256


@dataclass(frozen=True)
class Figure:
    """One line of one program's column. ``reach``: the ratio ours / kohya that issue 7 asks for, 0 for none."""

    name: str
    value: float
    text: str
    reach: float = 0.0


def figures(runs: Sequence[Measured], epoch: int) -> list[Figure]:
    """One program's figures: medians over runs. ``epoch``: steps in an epoch, which is the number of photographs."""
    per_step = [value for run in runs for value in run.cpu_per_step(epoch)]
    cpu_s, least, most = statistics.median(per_step), min(per_step), max(per_step)
    wall_s = statistics.median(value for run in runs for value in run.wall_per_step(epoch))
    listed = [
        Figure("CPU s a step", cpu_s, f"{cpu_s:.2f} ({least:.2f}-{most:.2f})", 0.90),
        Figure("wall s a step", wall_s, f"{wall_s:.2f}"),
    ]
    for name, reach, peaks in (
        ("peak anonymous memory", 0.85, [run.peak_anon for run in runs]),
        ("the same, after the first step", 0.85, [run.peak_anon_after(1) for run in runs]),
        ("the same, after the first epoch", 0.0, [run.peak_anon_after(epoch) for run in runs]),
    ):
        listed.append(Figure(name, statistics.median(peaks), gigabytes(statistics.median(peaks)), reach))
    for step, what in ((1, "first step"), (epoch, "first epoch")):
        marks = [run.mark(step) for run in runs]
        for kind, values in (("wall", [mark.wall_s for mark in marks]), ("CPU", [mark.cpu_s for mark in marks])):
            middle = statistics.median(values)
            listed.append(Figure(f"start to {what} done, {kind} s", middle, f"{middle:.1f}"))
    return listed


def table(ours: Sequence[Measured], kohya: Sequence[Measured], epoch: int) -> str:
    """One markdown table, ratios ours / kohya."""
    lines = ["| figure | LoRA Forge | kohya sd-scripts | ours / kohya | reach | |", "|---|---|---|---|---|---|"]
    for mine, other in zip(figures(ours, epoch), figures(kohya, epoch), strict=True):
        ratio = mine.value / other.value
        end = f"≤ {mine.reach:.2f} | {'ok' if ratio <= mine.reach else '**MISSED**'}" if mine.reach else " | "
        lines.append(f"| {mine.name} | {mine.text} | {other.text} | {ratio:.2f} | {end} |")
    return "\n".join(lines)


def curves(ours: Sequence[Measured], kohya: Sequence[Measured]) -> str:
    """Whether the losses agree: all runs of ours in a row beside all of kohya's."""
    mine, other = ([loss for run in runs for loss in run.losses] for runs in (ours, kohya))
    if min(len(mine), len(other)) < 2:
        return "The loss curves can't be compared: kohya's Python has neither tensorboardX nor tensorboard."
    return f"The loss curves {compare(mine, other)}."


def run_once(task: Task, kohya: Kohya | None, work: Path, turn: int, keeps_cache: bool = False) -> Measured:
    """One training of ours (``kohya`` None) or kohya's, with a line about it."""
    name = "kohya" if kohya else "ours_again" if keeps_cache else "ours"
    out = work / f"{name}_{turn}"
    out.mkdir()
    if kohya is None and not keeps_cache:
        shutil.rmtree(work / "project" / "cache", ignore_errors=True)
    command = kohya_command(task, kohya, work, out) if kohya else ours_command(task, work, out)
    run = watch(
        name,
        command,
        step_pattern(kohya is None),
        environment=clean_environment(1),
        log=work / f"{name}_{turn}.log",
        cwd=kohya.folder if kohya else ROOT,
    )
    stop_if_failed(run)
    run.losses = losses(kohya is None, work / f"{name}_{turn}.log", out)
    first = run.mark(1)
    print(
        f"{name} {turn + 1}: {run.median_cpu():.2f} CPU s a step in all, {gigabytes(run.peak_anon)} anonymous, "
        f"first step done after {first.wall_s:.1f} s ({first.cpu_s:.1f} CPU s)",
        file=sys.stderr,
        flush=True,
    )
    return run


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kohya", type=Path, help="checkout of kohya-ss/sd-scripts; without it only ours runs")
    parser.add_argument("--kohya-python", type=Path, default=Path(sys.executable), help="Python that runs kohya")
    parser.add_argument("--base", type=Path, required=True, help="SD1.5 checkpoint, LDM layout")
    parser.add_argument("--rounds", type=int, default=2, help="turns of ours and kohya")
    parser.add_argument("--last-ours", action="store_true", help="end with one more run of ours")
    parser.add_argument("--again", action="store_true", help="then ours on the same photos, with its cache from before")
    parser.add_argument("--steps", type=int, default=40, help="more than photographs: the rest are timed")
    parser.add_argument("--resolution", type=int, default=RESOLUTION_PX, help="smaller ones are for a rehearsal")
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--raw", type=Path, help="write every figure as JSON here")
    parser.add_argument("--keep", type=Path, help="work in this folder and keep it (logs, LoRA files)")
    return parser.parse_args()


def run_rounds(arguments: argparse.Namespace, work: Path) -> tuple[list[Measured], list[Measured]]:
    """Both programs by turns: runs of ours, runs of kohya's."""
    kohya = Kohya(arguments.kohya, arguments.kohya_python) if arguments.kohya else None
    task = Task(arguments.base, arguments.steps, arguments.resolution)
    write_inputs(work, arguments.photos)
    prepare_ours(work, arguments.resolution)
    ours, theirs = [], []
    for turn in range(arguments.rounds):
        ours.append(run_once(task, None, work, turn))
        if kohya:
            theirs.append(run_once(task, kohya, work, turn))
    if arguments.last_ours:
        ours.append(run_once(task, None, work, arguments.rounds))
    if arguments.again:
        run_once(task, None, work, 0, keeps_cache=True)
    return ours, theirs


def main() -> int:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.keep or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        ours, kohya = run_rounds(arguments, work)
    if kohya:
        version = Kohya(arguments.kohya, arguments.kohya_python).version()
        print(f"kohya sd-scripts {version}; {len(ours)} + {len(kohya)} runs of {arguments.steps} steps\n")
        print(f"{table(ours, kohya, arguments.photos)}\n\n{curves(ours, kohya)}")
    if arguments.raw:
        raw = {"ours": [asdict(run) for run in ours], "kohya": [asdict(run) for run in kohya]}
        arguments.raw.write_text(json.dumps(raw, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
