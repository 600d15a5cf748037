"""python benchmarks/real_input.py [--base sd15.safetensors] [--device cpu] [--precision bf16]

The main job on real input, through the command line alone: photographs (the files inside the scikit-image wheel,
whole, of several shapes) and a full-size SD1.5 checkpoint (random weights, made by ``full_size.py``, unless
``--base`` gives one) -> import, prepare, train two epochs with the text encoder, grid; and a short UNet-only run.

Then it looks at what came out with code of its own: names, keys and shapes, metadata, hashes recomputed, and whether
the pictures with the file differ from those without. Prints two tables; exits 1 when a check fails.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from meter import NO_STEPS, OURS_STEP, Measured, clean_environment, gigabytes, watch
from photos import copy_photographs
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save

ROOT = Path(__file__).resolve().parent.parent
RANK, ALPHA, RATE, TE_RATE, STEPS_AN_EPOCH = 16, 8.0, 1e-3, 5e-4, 6
_LEAVES = (
    "proj_in",
    "proj_out",
    *(f"transformer_blocks_0_{a}_to_{leaf}" for a in ("attn1", "attn2") for leaf in ("q", "k", "v", "out_0")),
    "transformer_blocks_0_ff_net_0_proj",
    "transformer_blocks_0_ff_net_2",
)
_TEXT_LEAVES = ("self_attn_q_proj", "self_attn_k_proj", "self_attn_v_proj", "self_attn_out_proj", "mlp_fc1", "mlp_fc2")
SHOWN_BY_HOSTS = ("ss_dataset_dirs", "ss_tag_frequency", "ss_bucket_info")


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    what: str
    wanted: str
    found: str

    @property
    def is_right(self) -> bool:
        return self.wanted == self.found


def unet_modules() -> set[str]:
    """The 192 modules that kohya adapts in an SD1.5 UNet."""
    places = [f"down_blocks_{level}_attentions_{i}" for level in (0, 1, 2) for i in (0, 1)]
    places += [f"up_blocks_{level}_attentions_{i}" for level in (1, 2, 3) for i in (0, 1, 2)]
    return {f"lora_unet_{place}_{leaf}" for place in [*places, "mid_block_attentions_0"] for leaf in _LEAVES}


def text_modules() -> set[str]:
    """The 72 modules of its text encoder."""
    return {f"lora_te_text_model_encoder_layers_{i}_{leaf}" for i in range(12) for leaf in _TEXT_LEAVES}


class Job:
    """The commands, one after the other, each measured."""

    def __init__(self, work: Path, base: Path, device: str, precision: str) -> None:
        self.work, self.base = work, base
        self.loras, self.cells = work / "loras", work / "cells"
        self._project = work / "project"
        self._device = ["--device", device, "--precision", precision]
        self.runs: list[Measured] = []

    def run_all(self, side: int, sampler_steps: int) -> None:
        """Import to grid."""
        copy_photographs(self.work / "photos")
        self._run("import", str(self.work / "photos"), "--project", str(self._project), "--trigger", "ohwx")
        self._run("prepare", "--project", str(self._project), "--resolution", str(side))
        self._train("real", "train, text encoder too", f"te_learning_rate={TE_RATE}", "epochs=2")
        self._train("unet", "train, UNet only", "te_learning_rate=0", "epochs=1", "max_steps=2")
        size = ["--width", str(side), "--height", str(side), "--steps", str(sampler_steps), "--guidance", "4"]
        what = ["--name", "real", "--prompt", "photo of ohwx, cup <lora:real-NUM:STRENGTH>"]
        axes = ["--epochs", "1-2", "--strengths", "0,1", "--cells", str(self.cells)]
        files = ["--base", str(self.base), "--loras", str(self.loras), "--out", str(self.work / "grid.png")]
        self._run("grid", *files, *what, *axes, *size, *self._device)

    def _train(self, name: str, label: str, *assignments: str) -> None:
        settings = (f"learning_rate={RATE}", f"alpha={ALPHA}", "validation_photos=2", "schedule=constant")
        pairs = [part for text in (*settings, *assignments) for part in ("--set", text)]
        files = ["--project", str(self._project), "--base", str(self.base), "--out", str(self.loras)]
        amount = ["--repeats", "1", "--rank", str(RANK)]
        self._run("train", *files, "--name", name, *amount, *self._device, *pairs, label=label)

    def _run(self, command: str, *options: str, label: str = "") -> None:
        line = [sys.executable, "-m", "lora_forge", command, *options, "--json"]
        pattern = OURS_STEP if command == "train" else NO_STEPS
        log = self.work / f"{len(self.runs)}_{command}.log"
        run = watch(label or command, line, pattern, environment=clean_environment(1), log=log, cwd=ROOT)
        self.runs.append(run)
        print(f"{run.name}: {run.wall_s:.0f} s", file=sys.stderr, flush=True)
        if run.exit_code != 0:
            sys.exit(f"{' '.join(line)}\nended with exit code {run.exit_code}:\n{run.tail}")


def checks(job: Job) -> Iterator[Check]:
    """Everything that is looked at afterwards."""
    names = sorted(path.name for path in job.loras.rglob("*"))
    wanted = ["real-000001.safetensors", "real-000002.safetensors", "unet-000001.safetensors"]
    yield Check("files, no unnumbered twin", ", ".join(wanted), ", ".join(names))
    base_sha256 = hashlib.sha256(job.base.read_bytes()).hexdigest()
    for number, modules in ((1, unet_modules() | text_modules()), (2, unet_modules() | text_modules())):
        path = job.loras / f"real-{number:06d}.safetensors"
        yield from key_checks(path, modules)
        yield from metadata_checks(path, number, base_sha256, job.base)
        yield from hash_checks(path)
    yield from key_checks(job.loras / "unet-000001.safetensors", unet_modules())
    yield from picture_checks(job)


def key_checks(path: Path, modules: set[str]) -> Iterator[Check]:
    """Names, shapes, types and values of the tensors."""
    tensors = load_file(path)
    wanted = {f"{name}.{leaf}" for name in modules for leaf in ("lora_down.weight", "lora_up.weight", "alpha")}
    yield Check(f"{path.stem}: keys", str(len(wanted)), str(len(tensors)))
    yield Check(f"{path.stem}: keys beside kohya's list", "0 missing, 0 more", _difference(wanted, set(tensors)))
    kinds = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}
    yield Check(f"{path.stem}: dtype", "float16", ", ".join(sorted(kinds)))
    ranks = {tensors[f"{name}.lora_down.weight"].shape[0] for name in modules}
    ranks |= {tensors[f"{name}.lora_up.weight"].shape[1] for name in modules}
    yield Check(f"{path.stem}: ranks", str(RANK), ", ".join(str(rank) for rank in sorted(ranks)))
    alphas = {float(tensors[f"{name}.alpha"]) for name in modules}
    yield Check(f"{path.stem}: alphas", str(ALPHA), ", ".join(str(alpha) for alpha in sorted(alphas)))
    is_finite = all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    moved = sum(bool(tensors[f"{name}.lora_up.weight"].any()) for name in modules)
    found = f"{'all' if is_finite else 'not all'} finite, {moved} trained"
    yield Check(f"{path.stem}: values", f"all finite, {len(modules)} trained", found)


def _difference(wanted: set[str], found: set[str]) -> str:
    return f"{len(wanted - found)} missing, {len(found - wanted)} more"


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(str(path), framework="pt") as file:
        return dict(file.metadata() or {})


def metadata_checks(path: Path, epoch: int, base_sha256: str, base: Path) -> Iterator[Check]:
    """What hosts read of a file."""
    data = metadata_of(path)
    with base.open("rb") as file:
        file.seek(0x100000)
        base_legacy = hashlib.sha256(file.read(0x10000)).hexdigest()[:8]
    wanted = {
        "ss_output_name": path.stem,
        "ss_base_model_version": "sd_v1",
        "ss_v2": "False",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(RANK),
        "ss_network_alpha": str(ALPHA),
        "ss_epoch": str(epoch),
        "ss_steps": str(epoch * STEPS_AN_EPOCH),
        "ss_sd_model_name": base.stem,
        "ss_sd_model_hash": base_legacy,
        "ss_new_sd_model_hash": base_sha256,
    }
    for key, value in wanted.items():
        yield Check(f"{path.stem}: {key}", value, data.get(key, "absent"))
    kinds = [type(json.loads(data.get(key, "null"))).__name__ for key in SHOWN_BY_HOSTS]
    yield Check(f"{path.stem}: JSON objects for the card", "dict, dict, dict", ", ".join(kinds))
    yield Check(f"{path.stem}: values that are no text", "0", str(sum(not isinstance(v, str) for v in data.values())))


def hash_checks(path: Path) -> Iterator[Check]:
    """Both hashes as their inventors compute them, from the file as it lies there."""
    data, raw = metadata_of(path), path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    yield Check(f"{path.stem}: sshs_model_hash", hashlib.sha256(raw[start:]).hexdigest(), data["sshs_model_hash"])
    again = save(load_file(path), {key: value for key, value in data.items() if key.startswith("ss_")})
    legacy = hashlib.sha256(again[0x100000:0x110000]).hexdigest()[:8]
    yield Check(f"{path.stem}: sshs_legacy_hash", legacy, data["sshs_legacy_hash"])


def picture_checks(job: Job) -> Iterator[Check]:
    """The grid is there, and each file changes what is drawn."""
    with Image.open(job.work / "grid.png") as picture:
        yield Check("grid.png", "PNG", str(picture.format))
    base = _pixels(job.cells / "baseline_seed0.png")
    pictures = [_pixels(job.cells / f"real-{number:06d}_1_seed0.png") for number in (1, 2)]
    differences = [float(np.abs(picture - base).mean()) for picture in pictures]
    differences.append(float(np.abs(pictures[0] - pictures[1]).mean()))
    shown = ", ".join(f"{value:.1f}" for value in differences)
    print(f"mean difference of pixels (0-255): epoch 1, epoch 2 against the base, 1 against 2: {shown}")
    found = "all differ" if min(differences) > 0 else f"differences {shown}"
    yield Check("pictures: base, epoch 1, epoch 2", "all differ", found)


def _pixels(path: Path) -> Any:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.float32)


def table_of_runs(runs: list[Measured]) -> str:
    lines = ["| command | wall s | CPU s | peak anonymous | steps: CPU s each |", "|---|---|---|---|---|"]
    for run in runs:
        steps = f"{len(run.steps)}: {run.median_cpu():.2f}" if run.cpu_per_step() else ""
        figures = f"{run.wall_s:.1f} | {run.cpu_s:.1f} | {gigabytes(run.peak_anon)} | {steps}"
        lines.append(f"| {run.name} | {figures} |")
    return "\n".join(lines)


def table_of_checks(found: list[Check]) -> str:
    """Every check; long hashes cut to 12 digits."""
    lines = ["| what | wanted | found | |", "|---|---|---|---|"]
    for check in found:
        wanted, there = (text if len(text) < 60 or " " in text else text[:12] for text in (check.wanted, check.found))
        lines.append(f"| {check.what} | {wanted} | {there} | {'right' if check.is_right else '**wrong**'} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, help="SD1.5 checkpoint; made with random weights when not given (2.1 GB)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bf16", choices=("auto", "fp32", "bf16", "fp16"))
    parser.add_argument("--side", type=int, default=256, help="size of training and pictures in px")
    parser.add_argument("--sampler-steps", type=int, default=4)
    parser.add_argument("--keep", type=Path, help="work in this folder and keep it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.keep or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        base = (arguments.base or make_base(work)).resolve()
        job = Job(work, base, arguments.device, arguments.precision)
        job.run_all(arguments.side, arguments.sampler_steps)
        found = list(checks(job))
    print(table_of_runs(job.runs), table_of_checks(found), sep="\n\n")
    wrong = sum(not check.is_right for check in found)
    print(f"\n{len(found)} checks, {wrong} wrong")
    return int(wrong > 0)


def make_base(work: Path) -> Path:
    path = work / "sd15_random.safetensors"
    maker = str(Path(__file__).with_name("full_size.py"))
    paths = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, maker, "sd1", str(path)], env=paths, check=True)
    return path


if __name__ == "__main__":
    sys.exit(main())
