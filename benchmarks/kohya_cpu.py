"""python benchmarks/kohya_cpu.py --kohya DIR --kohya-python EXE --base sd15.safetensors [--rounds 2] [--steps 16]

LoRA Forge beside kohya sd-scripts on one CPU thread: CPU seconds a step, peak anonymous memory, time from start to
the first finished step. SD1.5 at full size, bf16, 256 px, batch 1, rank 16 alpha 8, UNet only, AdamW, 24 photographs.

``DIR`` is a checkout of kohya-ss/sd-scripts, unmodified; ``EXE`` a Python in which its ``train_network.py`` runs;
``--base`` any SD1.5 file (``full_size.py`` makes one). Both are ordinary command lines, watched from outside by
``meter.py``; runs take turns (ours, kohya, ours, kohya ...) so that both see the same load. Our ``import`` and
``prepare`` are run and timed too. kohya makes no validation loss, so ours is switched off.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from meter import KOHYA_STEP, NO_STEPS, OURS_STEP, Measured, clean_environment, gigabytes, watch
from photos import write_photos

from lora_forge.config import TrainConfig

ROOT = Path(__file__).resolve().parent.parent
TOKENIZER = ROOT / "lora_forge" / "model" / "tokenizer"
RANK, ALPHA, RESOLUTION_PX, RATE = 16, 8, 256, 1e-4


def tokenizer_folder(cache: Path) -> None:
    """The CLIP tokenizer where kohya looks for it before it would ask a hub."""
    folder = cache / "openai_clip-vit-large-patch14"
    folder.mkdir(parents=True)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(TOKENIZER / name, folder / name)
    end = {"content": "<|endoftext|>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    start = {**end, "content": "<|startoftext|>"}
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": {"__type": "AddedToken", **start},
        "eos_token": {"__type": "AddedToken", **end},
        "unk_token": {"__type": "AddedToken", **end},
        "pad_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": "<|endoftext|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))


def kohya_command(arguments: argparse.Namespace, work: Path, out: Path) -> list[str]:
    """The command of kohya's own documentation for a UNet LoRA."""
    settings = {
        "pretrained_model_name_or_path": arguments.base.resolve(),
        "train_data_dir": work / "kohya_photos",
        "output_dir": out,
        "output_name": "beside",
        "resolution": f"{RESOLUTION_PX},{RESOLUTION_PX}",
        "train_batch_size": 1,
        "max_train_steps": arguments.steps,
        "network_module": "networks.lora",
        "network_dim": RANK,
        "network_alpha": ALPHA,
        "learning_rate": RATE,
        "optimizer_type": "AdamW",
        "mixed_precision": "bf16",
        "save_precision": "fp16",
        "save_model_as": "safetensors",
        "caption_extension": ".txt",
        "max_data_loader_n_workers": 0,
        "seed": 0,
        "tokenizer_cache_dir": work / "tokenizer",
    }
    flags = ["--network_train_unet_only", "--sdpa", "--cache_latents"]
    pairs = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
    return [str(arguments.kohya_python), "train_network.py", *pairs, *flags]


def ours_config(steps: int) -> TrainConfig:
    """The same training in our words; nothing comes from a preset."""
    return TrainConfig(
        rank=RANK,
        alpha=ALPHA,
        resolution_px=RESOLUTION_PX,
        bucket_min_px=RESOLUTION_PX,
        bucket_max_px=RESOLUTION_PX,
        learning_rate=RATE,
        schedule="constant",
        shuffle_tags=False,
        precision="bf16",
        device="cpu",
        max_steps=steps,
        validation_photos=0,
    )


def ours_command(arguments: argparse.Namespace, work: Path, out: Path) -> list[str]:
    """The same training with our command line."""
    paths = {"project": work / "project", "base": arguments.base.resolve(), "out": out, "config": work / "config.json"}
    pairs = [part for key, value in paths.items() for part in (f"--{key}", str(value))]
    return [sys.executable, "-m", "lora_forge", "train", *pairs, "--name", out.name, "--json"]


def prepare_ours(work: Path) -> Measured:
    """``import`` and ``prepare`` as one measured shell line."""
    program = f"{sys.executable} -m lora_forge"
    photos, project = work / "photos", work / "project"
    prepare = f"prepare --project {project} --resolution {RESOLUTION_PX}"
    line = f"{program} import {photos} --project {project} && {program} {prepare}"
    log = work / "prepare.log"
    return watch("import + prepare", ["sh", "-c", line], NO_STEPS, environment=clean_environment(1), log=log, cwd=ROOT)


def kohya_version(folder: Path) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), "log", "-1", "--format=%h (%cs)"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown version"


def rows(runs: Sequence[Measured]) -> list[tuple[str, str, float]]:
    """(name of the figure, text of it, value to compare) of one program's runs: medians over runs."""
    per_step = [value for run in runs for value in run.cpu_per_step()]
    figures = [
        ("CPU s a step", statistics.median(per_step), f"({min(per_step):.2f}-{max(per_step):.2f})"),
        ("wall s a step", statistics.median(value for run in runs for value in run.wall_per_step()), ""),
        ("start to first step done, wall s", statistics.median(run.first_step().wall_s for run in runs), ""),
        ("start to first step done, CPU s", statistics.median(run.first_step().cpu_s for run in runs), ""),
    ]
    listed = [(name, f"{value:.2f} {note}".strip(), value) for name, value, note in figures]
    for name, peaks in (
        ("peak anonymous memory", [run.peak_anon for run in runs]),
        ("the same, after the first step", [run.peak_anon_in_steps for run in runs]),
    ):
        listed.append((name, gigabytes(statistics.median(peaks)), float(statistics.median(peaks))))
    return listed


def table(ours: Sequence[Measured], kohya: Sequence[Measured]) -> str:
    """One markdown table, ratios ours / kohya."""
    lines = ["| figure | LoRA Forge | kohya sd-scripts | ours / kohya |", "|---|---|---|---|"]
    for (name, text, value), (_, other, reference) in zip(rows(ours), rows(kohya), strict=True):
        lines.append(f"| {name} | {text} | {other} | {value / reference:.2f} |")
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kohya", type=Path, help="checkout of kohya-ss/sd-scripts; without it only ours runs")
    parser.add_argument("--kohya-python", type=Path, default=Path(sys.executable), help="Python that runs kohya")
    parser.add_argument("--base", type=Path, required=True, help="SD1.5 checkpoint, LDM layout")
    parser.add_argument("--rounds", type=int, default=2, help="turns of ours and kohya")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--only", choices=("ours", "kohya"), help="run one program alone")
    parser.add_argument("--raw", type=Path, help="write every figure as JSON here")
    parser.add_argument("--keep", type=Path, help="work in this folder and keep it (logs, LoRA files)")
    return parser.parse_args()


def run_rounds(arguments: argparse.Namespace, work: Path) -> dict[str, list[Measured]]:
    """Both programs by turns; stops with the tail of the log when one fails."""
    write_photos(work / "photos", arguments.photos)
    ours_config(arguments.steps).save(work / "config.json")
    shutil.copytree(work / "photos", work / "kohya_photos" / "10_ohwx")
    tokenizer_folder(work / "tokenizer")
    runs: dict[str, list[Measured]] = {"ours": [], "kohya": []}
    if arguments.only != "kohya":
        prepared = prepare_ours(work)
        print(f"import + prepare, once: {prepared.wall_s:.1f} s wall, {prepared.cpu_s:.1f} CPU s", flush=True)
        _stop_if_failed(prepared)
    programs = [arguments.only] if arguments.only else ["ours", "kohya"]
    for turn in range(arguments.rounds):
        for program in programs:
            if program == "kohya" and arguments.kohya is None:
                continue
            runs[program].append(run_once(arguments, work, program, turn))
    return runs


def run_once(arguments: argparse.Namespace, work: Path, program: str, turn: int) -> Measured:
    """One training of one program, with a line about it."""
    out = work / f"{program}_{turn}"
    out.mkdir()
    is_ours = program == "ours"
    if is_ours:
        shutil.rmtree(work / "project" / "cache", ignore_errors=True)
    run = watch(
        program,
        (ours_command if is_ours else kohya_command)(arguments, work, out),
        OURS_STEP if is_ours else KOHYA_STEP,
        environment=clean_environment(1),
        log=work / f"{program}_{turn}.log",
        cwd=ROOT if is_ours else arguments.kohya,
    )
    _stop_if_failed(run)
    first = run.first_step()
    print(
        f"{program} {turn + 1}: {run.median_cpu():.2f} CPU s a step, {gigabytes(run.peak_anon)} anonymous, "
        f"first step done after {first.wall_s:.1f} s ({first.cpu_s:.1f} CPU s)",
        flush=True,
    )
    return run


def _stop_if_failed(run: Measured) -> None:
    if run.exit_code != 0:
        sys.exit(f"{run.name} ended with exit code {run.exit_code}:\n{run.tail}")


def main() -> int:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.keep or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        runs = run_rounds(arguments, work)
    if runs["ours"] and runs["kohya"]:
        version = kohya_version(arguments.kohya)
        print(f"\nkohya sd-scripts {version}, {arguments.rounds} rounds of {arguments.steps} steps\n")
        print(table(runs["ours"], runs["kohya"]))
    if arguments.raw:
        arguments.raw.write_text(json.dumps({k: [asdict(run) for run in v] for k, v in runs.items()}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
