"""python benchmarks/previews.py [--base sd15.safetensors] [--steps 400] [--big-steps 12] [--big-preview-steps 20]

What previews take of a run, by the times in its own journal: a toy-world run of ``--steps`` steps (0: whole) with the
settings the Train form proposes (previews about every 50 steps, at most a tenth of the time), and the same with every
due preview drawn. With ``--base`` also the checkpoint's own step and preview on this machine: a run of ``--big-steps``
steps at 256 px with the person preset, whose first and last preview are drawn, and what the rule then makes of the
preset's whole run, replayed step by step on a planted clock with those times.

A preview's time is that from the line before its first picture to the line of its last; a run's, from its first line
to its last. A run so short that its first and last preview are more than the share shows more than the share.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from lora_forge.config import Family, TrainConfig
from lora_forge.dataset.manifest import PrepareSettings
from lora_forge.dataset.prepare import prepare
from lora_forge.dataset.project import Project
from lora_forge.events import CommandBox, Event
from lora_forge.host.standalone import StandaloneHost
from lora_forge.toyworld import checkpoint_path
from lora_forge.toyworld.subject import TRAIT_TAGS, TRIGGER, photos
from lora_forge.train.journal import read_journal
from lora_forge.train.preview_share import PreviewBudget
from lora_forge.train.run import train
from lora_forge.work.settings import proposed_config

BIG_PX = 256


@dataclasses.dataclass(frozen=True)
class Taken:
    """``previews_s``: seconds of each preview, oldest first; ``step_s``: the median of a step."""

    name: str
    steps: int
    every: int
    previews_s: tuple[float, ...]
    run_s: float
    step_s: float

    @property
    def share(self) -> float:
        return sum(self.previews_s) / self.run_s


def taken_of(name: str, config: TrainConfig, lines: list[dict[str, Any]]) -> Taken:
    """What a journal says."""
    previews, started, steps, last = [], 0.0, [], lines[0]
    for line in lines:
        if line["event"] == "PreviewMade":
            if last["event"] != "PreviewMade":
                started = last["time"]
                previews.append(0.0)
            previews[-1] = line["time"] - started
        elif line["event"] == "StepDone" and last["event"] == "StepDone":
            steps.append(line["time"] - last["time"])
        last = line
    total = sum(line["event"] == "StepDone" for line in lines)
    run_s = lines[-1]["time"] - lines[0]["time"]
    return Taken(name, total, config.preview_every_steps, tuple(previews), run_s, statistics.median(steps))


def run(name: str, base: Path, project: Project, config: TrainConfig, **options: str) -> Taken:
    """One training, and what its journal says of it."""

    def tell(event: Event) -> None:
        del event

    prepared = prepare(project, PrepareSettings.from_config(config), tell)
    with StandaloneHost(base, **options).borrow() as model:  # type: ignore[arg-type]
        train(model, prepared, config, project.runs_dir / config.name, project.root / "out", tell, CommandBox())
    return taken_of(name, config, read_journal(project.runs_dir / config.name))


def toy_project(root: Path) -> Project:
    """The toy world's 24 photos, the tags of her traits deleted."""
    project = Project.open(root, TRIGGER)
    folder = project.images_dir / "photos"
    folder.mkdir(parents=True, exist_ok=True)
    for number, (picture, tags) in enumerate(photos(0), start=1):
        picture.save(folder / f"photo-{number:02}.png")
        kept = [tag for tag in tags if tag not in TRAIT_TAGS]
        (folder / f"photo-{number:02}.txt").write_text(", ".join([TRIGGER, *kept]) + "\n", encoding="utf-8")
    return project


def toy_runs(work: Path, steps: int) -> list[Taken]:
    """The proposed run, and the same with every due preview."""
    project = toy_project(work / "toy")
    config = proposed_config(project, "toy", "toyworld", Family.SD1, {"max_steps": steps})
    share = f"toy world, at most {config.preview_share:.0%}"
    runs = ((share, config), ("toy world, every preview", config.replace(name="every", preview_share=0.0)))
    return [run(name, checkpoint_path(), project, one) for name, one in runs]


def big_run(work: Path, base: Path, steps: int, preview_steps: int) -> tuple[Taken, TrainConfig]:
    """A few steps of the person preset, two previews; and the config of the whole run."""
    from photos import write_photos

    from lora_forge.dataset.importing import import_source

    project = Project.create(work / "big", TRIGGER)
    write_photos(work / "photos", 24)
    import_source(work / "photos", project, lambda _: None)
    values = {"resolution_px": BIG_PX, "bucket_min_px": BIG_PX // 2, "bucket_max_px": BIG_PX * 2}
    whole = proposed_config(project, "whole", "person", Family.SD1, values)
    few = whole.replace(
        max_steps=steps, preview_every_steps=max(steps // 2, 1), preview_share=0.0, preview_steps=preview_steps,
        validation_photos=0,
    )  # fmt: skip
    return run("SD1.5, the first steps", base, project, few, precision="bf16"), whole


def replayed(taken: Taken, whole: TrainConfig, preview_steps: int) -> Taken:
    """The rule on the preset's whole run, with the times that were measured."""
    scale = whole.preview_steps / preview_steps
    first_s, each_s = (seconds * scale for seconds in (taken.previews_s[0], taken.previews_s[-1]))
    total = whole.epochs * whole.repeats * 24
    clock, drawn = [0.0], []
    budget = PreviewBudget(whole.preview_share, len(whole.preview_prompts), lambda: clock[0])
    for step in range(1, total + 1):
        clock[0] += taken.step_s
        if step == total or (step % whole.preview_every_steps == 0 and budget.allows()):
            with budget.drawing():
                drawn.append(each_s if drawn else first_s)
                clock[0] += drawn[-1]
    name = f"SD1.5, the preset's whole run, at most {whole.preview_share:.0%}, replayed"
    return Taken(name, total, whole.preview_every_steps, tuple(drawn), clock[0], taken.step_s)


def table(rows: list[Taken]) -> str:
    """Markdown."""
    lines = [
        "| run | steps | step, s | due every | preview, s (first; last) | due | drawn | previews, s | run, s | share |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ends = "; ".join(f"{seconds:.2f}" for seconds in (row.previews_s[0], row.previews_s[-1]))
        due = -(-row.steps // row.every)
        lines.append(
            f"| {row.name} | {row.steps} | {row.step_s:.3f} | {row.every} steps | {ends} | {due} | "
            f"{len(row.previews_s)} | {sum(row.previews_s):.1f} | {row.run_s:.1f} | {row.share:.1%} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, help="a full-size SD1.5 checkpoint (full_size.py makes one)")
    parser.add_argument("--steps", type=int, default=400, help="of the toy-world runs; 0: the whole preset, 1200")
    parser.add_argument("--big-steps", type=int, default=12)
    parser.add_argument("--big-preview-steps", type=int, default=20, help="fewer: measured so, counted up to 20")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        rows = toy_runs(work, arguments.steps)
        if arguments.base:
            taken, whole = big_run(work, arguments.base, arguments.big_steps, arguments.big_preview_steps)
            rows += [taken, replayed(taken, whole, arguments.big_preview_steps)]
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
