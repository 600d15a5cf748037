"""The whole job on the bundled toy world, through the very code every run takes.

A drawn girl whom the checkpoint has never met has pink hair, green eyes, a star and round glasses. The tags of her
traits are deleted from the captions, so that they become part of her: that is the trait rule at work.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from lora_forge import config as settings
from lora_forge.atomic import write_atomically
from lora_forge.config import Family, TrainConfig
from lora_forge.dataset.manifest import PrepareSettings
from lora_forge.dataset.prepare import prepare
from lora_forge.dataset.project import Project
from lora_forge.errors import MissingPartError, TrainingError
from lora_forge.evaluate.grid import Grid, GridPlan, draw_grid
from lora_forge.evaluate.heat import render_heat_map
from lora_forge.evaluate.picture import save_grid
from lora_forge.evaluate.recommend import recommend
from lora_forge.evaluate.scores import Asked, PictureScore, score_grid
from lora_forge.events import CommandBox, Emit, Recommended
from lora_forge.host.standalone import StandaloneHost
from lora_forge.presets import preset
from lora_forge.toyworld import checkpoint_path
from lora_forge.toyworld.judge import Judge, load_judge
from lora_forge.toyworld.subject import TRAIT_TAGS, TRIGGER, photos
from lora_forge.train.folders import CONFIG_FILE
from lora_forge.train.run import train

NAME = "ohwx-girl"
PROMPT = f"{TRIGGER}, 1girl, red dress, snow <lora:NAME-NUM:STRENGTH>"
GROUP = "photos"


@dataclass(frozen=True)
class DemoResult:
    """What the demo leaves behind."""

    project: Path
    base: Path
    files: tuple[Path, ...]
    grid: Path
    heat_map: Path
    sentence: str


def run_demo(
    out: Path, emit: Emit, config: TrainConfig | None = None, plan: GridPlan | None = None, picture_suffix: str = ""
) -> DemoResult:
    """Write project and checkpoint into ``out``; then train ten epochs, draw and score the grid, and recommend.

    ``config`` and ``plan`` default to :func:`demo_config` and :func:`demo_plan`; ``picture_suffix`` tells the pictures
    of several demos in one folder apart. Started again in the same folder, nothing that is done is done twice.

    Raises:
        MissingPartError: the package came without the toy checkpoint.
        LoraForgeError: as the steps themselves do.
    """
    project, base = write_project(out)
    config = config or demo_config()
    files = _train(project, base, config, out / "loras", emit)
    plan = plan or demo_plan()
    grid = draw_grid(
        StandaloneHost(base), plan, [out / "loras"], config.name, emit, cells_dir=out / "cells" / config.name
    )
    grid_path, heat_path, sentence = _judge_and_save(grid, out, picture_suffix, emit)
    return DemoResult(project.root, base, files, grid_path, heat_path, sentence)


def demo_config(is_hot: bool = False, seed: int = 0) -> TrainConfig:
    """The toy preset as a config; ``is_hot`` takes the one with far too high a rate."""
    name = NAME + ("-hot" if is_hot else "") + (f"-seed{seed}" if seed else "")
    values = preset("toyworld_hot" if is_hot else "toyworld", Family.SD1)
    return settings.from_dict({**values, "name": name, "trigger_word": TRIGGER, "seed": seed})


def demo_plan(seed: int = 0) -> GridPlan:
    """Ten epochs x ten strengths, four pictures in each cell: all are scored, the first is shown."""
    seeds = tuple(range(100 * seed, 100 * seed + 4))
    return GridPlan(prompt=PROMPT, seeds=seeds, width=64, height=64, steps=8, guidance=4.0)


def write_project(out: Path) -> tuple[Project, Path]:
    """``out/project`` with 24 photos of the subject, her traits' tags deleted, and a copy of the toy checkpoint."""
    if not checkpoint_path().is_file():
        raise MissingPartError(
            "The toy checkpoint {path} is not there.", "Get the package again.", path=checkpoint_path()
        )
    base = out / "toyworld.safetensors"
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(base, _copy_checkpoint)
    project = Project.open(out / "project", TRIGGER)
    folder = project.images_dir / GROUP
    folder.mkdir(parents=True, exist_ok=True)
    for number, (picture, tags) in enumerate(photos(0), start=1):
        path = folder / f"photo-{number:02}.png"
        if not path.exists():  # a person may have looked in and changed something
            _save_png(path, picture)
            kept = [tag for tag in tags if tag not in TRAIT_TAGS]
            path.with_suffix(".txt").write_text(", ".join([TRIGGER, *kept]) + "\n", encoding="utf-8")
    return project, base


def _copy_checkpoint(target: Path) -> None:
    shutil.copyfile(checkpoint_path(), target)


def _train(project: Project, base: Path, config: TrainConfig, loras: Path, emit: Emit) -> tuple[Path, ...]:
    """Ten epochs; goes on with a run that was cut off, and takes one that is done as it is."""
    expected = tuple(loras / f"{config.name}-{epoch:06d}.safetensors" for epoch in range(1, config.epochs + 1))
    if all(path.is_file() for path in expected):
        return expected
    run_dir = project.runs_dir / config.name
    prepared = prepare(project, PrepareSettings.from_config(config), emit)
    with StandaloneHost(base).borrow() as model:
        result = train(
            model, prepared, config, run_dir, loras, emit, CommandBox(), resume=(run_dir / CONFIG_FILE).exists()
        )
    if result.outcome != "done":
        raise TrainingError("The demo's training ended early: {outcome}.", outcome=result.outcome)
    return expected


def _judge_and_save(grid: Grid, out: Path, suffix: str, emit: Emit) -> tuple[Path, Path, str]:
    surface = score_grid(grid, ToyJudge(load_judge()), emit)
    best = recommend(surface)
    grid_path, heat_path = out / f"grid{suffix}.png", out / f"heat{suffix}.png"
    save_grid(grid_path, grid, emit, surface, best, note="toyworld.safetensors")
    heat = render_heat_map(surface, best, scale=2)
    _save_png(heat_path, heat)
    emit(Recommended(best.epoch, best.strength, best.sentence))
    return grid_path, heat_path, best.sentence.text()


def _save_png(path: Path, picture: Image.Image) -> None:
    write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))


class ToyJudge:
    """The toy world's judge as :class:`lora_forge.evaluate.scores.Judge`."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def score(self, images: Sequence[Image.Image], asked: Asked) -> list[PictureScore]:
        """Identity is the mean of her four marks, obedience the share of the prompt's tags that are seen."""
        sightings = self._judge.look_at(images)
        scores = []
        for seen in sightings:
            kept = []
            for tag in (part.strip() for part in asked.prompt.split(",")):
                with contextlib.suppress(ValueError):  # the trigger word is no tag of the world
                    if tag != "1girl":
                        kept.append(seen.shows(tag))
            scores.append(PictureScore(identity=seen.identity, obedience=sum(kept) / len(kept) if kept else None))
        return scores
