"""One training, as the command lines of LoRA Forge and of kohya sd-scripts.

kohya's part is its own documented command; nothing of it is copied, built or installed here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from losses import losses_of_kohya, losses_of_ours
from meter import KOHYA_STEP, NO_STEPS, OURS_STEP, Measured, clean_environment, watch
from photos import write_photos

from lora_forge.config import TrainConfig

ROOT = Path(__file__).resolve().parent.parent
TOKENIZER = ROOT / "lora_forge" / "model" / "tokenizer"
RATE = 1e-4
_END = {"content": "<|endoftext|>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


@dataclass(frozen=True)
class Task:
    """What both train: UNet only, AdamW, constant rate, cached latents, fixed captions.

    ``settings``: more of ours, as ``key=value``; ``kohya_flags``: more of kohya's. ``repeats``: how often
    an epoch sees each photo, as :func:`write_inputs` was told.
    """

    base: Path
    steps: int
    resolution_px: int
    is_sdxl: bool = False
    device: str = "cpu"
    precision: str = "bf16"
    rank: int = 16
    alpha: int = 8
    has_checkpointing: bool = False
    batch: int = 1
    repeats: int = 1
    settings: tuple[str, ...] = ()
    kohya_flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kohya:
    """A checkout of kohya-ss/sd-scripts and a Python that runs it."""

    folder: Path
    python: Path

    def version(self) -> str:
        """Commit and date."""
        line = ["git", "-C", str(self.folder), "log", "-1", "--format=%h (%cs)"]
        return subprocess.run(line, capture_output=True, text=True, check=False).stdout.strip() or "unknown version"

    @cached_property
    def has_logger(self) -> bool:
        """Whether its Python can write TensorBoard files (tensorboard or tensorboardX): they hold each step's loss."""
        code = (
            "from importlib.util import find_spec as f; raise SystemExit(not (f('tensorboard') or f('tensorboardX')))"
        )
        return subprocess.run([str(self.python), "-c", code], check=False).returncode == 0


def ours_config(task: Task) -> TrainConfig:
    """The task in our words; nothing comes from a preset. kohya makes no validation loss and, as told here, one file
    at the end, so ours does the same."""
    return TrainConfig(
        rank=task.rank,
        alpha=task.alpha,
        resolution_px=task.resolution_px,
        bucket_min_px=task.resolution_px,
        bucket_max_px=task.resolution_px,
        learning_rate=RATE,
        schedule="constant",
        shuffle_tags=False,
        precision=task.precision,  # type: ignore[arg-type]
        device=task.device,
        batch_size=task.batch,
        repeats=task.repeats,
        epochs=10000,
        max_steps=task.steps,
        save_every_epochs=10000,
        validation_photos=0,
        gradient_checkpointing="on" if task.has_checkpointing else "off",
    )


def ours_command(task: Task, work: Path, out: Path) -> list[str]:
    """Our command line; the config is written beside it."""
    config = out / "config_given.json"
    ours_config(task).save(config)
    paths = {"project": work / "project", "base": task.base.resolve(), "out": out, "config": config}
    pairs = [part for key, value in paths.items() for part in (f"--{key}", str(value))]
    settings = [part for setting in task.settings for part in ("--set", setting)]
    return [sys.executable, "-m", "lora_forge", "train", *pairs, *settings, "--name", out.name, "--json"]


def kohya_command(task: Task, kohya: Kohya, work: Path, out: Path) -> list[str]:
    """The command of kohya's own documentation for a UNet LoRA; with its losses logged where that can be."""
    settings = {
        "pretrained_model_name_or_path": task.base.resolve(),
        "train_data_dir": work / "kohya_photos",
        "output_dir": out,
        "output_name": "beside",
        "resolution": f"{task.resolution_px},{task.resolution_px}",
        "train_batch_size": task.batch,
        "max_train_steps": task.steps,
        "network_module": "networks.lora",
        "network_dim": task.rank,
        "network_alpha": task.alpha,
        "learning_rate": RATE,
        "optimizer_type": "AdamW",
        "mixed_precision": task.precision,
        "save_precision": "fp16",
        "save_model_as": "safetensors",
        "caption_extension": ".txt",
        "max_data_loader_n_workers": 0,
        "seed": 0,
        "tokenizer_cache_dir": work / "tokenizer",
    }
    flags = ["--network_train_unet_only", "--sdpa", "--cache_latents", *task.kohya_flags]
    if kohya.has_logger:
        settings["logging_dir"] = out / "logs"
    if task.has_checkpointing:
        flags.append("--gradient_checkpointing")
    if task.is_sdxl:
        flags += ["--cache_text_encoder_outputs", "--no_half_vae"]
    script = "sdxl_train_network.py" if task.is_sdxl else "train_network.py"
    pairs = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
    return [str(kohya.python), script, *pairs, *flags]


def write_tokenizers(cache: Path) -> None:
    """CLIP's tokenizers where kohya looks for them before it would ask a hub."""
    _write_tokenizer(cache / "openai_clip-vit-large-patch14", "<|endoftext|>")
    _write_tokenizer(cache / "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k", "!")


def _write_tokenizer(folder: Path, pad: str) -> None:
    folder.mkdir(parents=True)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(TOKENIZER / name, folder / name)
    special = {"bos_token": {**_END, "content": "<|startoftext|>"}, "eos_token": _END, "unk_token": _END}
    typed = {key: {"__type": "AddedToken", **value} for key, value in special.items()}
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": pad, **typed}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").write_text(json.dumps({**special, "pad_token": pad}))


def write_inputs(work: Path, photos: int, repeats: int = 1) -> None:
    """The photographs for both (kohya reads from the folder's name how often each is seen), and kohya's tokenizers."""
    write_photos(work / "photos", photos)
    shutil.copytree(work / "photos", work / "kohya_photos" / f"{repeats}_ohwx")
    write_tokenizers(work / "tokenizer")


def prepare_ours(work: Path, resolution_px: int) -> Measured:
    """``import`` and ``prepare`` as one measured shell line.

    Raises:
        SystemExit: it failed; with the end of its log.
    """
    program = f"{sys.executable} -m lora_forge"
    photos, project = work / "photos", work / "project"
    prepare = f"prepare --project {project} --resolution {resolution_px}"
    line = ["sh", "-c", f"{program} import {photos} --project {project} && {program} {prepare}"]
    log = work / "prepare.log"
    run = watch("import + prepare", line, NO_STEPS, environment=clean_environment(1), log=log, cwd=ROOT)
    stop_if_failed(run)
    print(f"import + prepare, once: {run.wall_s:.1f} s wall", file=sys.stderr, flush=True)
    return run


def stop_if_failed(run: Measured) -> None:
    """Leave with the end of the log when a program failed.

    Raises:
        SystemExit: the program failed.
    """
    if run.exit_code != 0:
        sys.exit(f"{run.name} ended with exit code {run.exit_code}:\n{run.tail}")


def step_pattern(is_ours: bool) -> str:
    """How a finished step shows in the output."""
    return OURS_STEP if is_ours else KOHYA_STEP


def losses(is_ours: bool, log: Path, out: Path) -> list[float]:
    """The plain error of every step of a run that wrote ``log`` and, kohya's, into ``out``; none that can't be told."""
    return losses_of_ours(log) if is_ours else losses_of_kohya(out / "logs")
