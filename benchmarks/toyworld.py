"""Toy-world numbers: python benchmarks/toyworld.py --seeds 0,1,2 --pictures 32 --out DIR [--threads 1] [--only A0,B0]

For every seed a LoRA is trained on 24 photos of the subject, with the tags of her traits deleted (A) and kept (B), by
the code every run takes: project, prepare, train, files, StandaloneHost.draw. Then the judge looks at pictures, and
every figure that issue 2 names is printed beside its reach as one markdown table, and written to DIR/toyworld.json.

A figure is the share of pictures in which the judge's most likely label is the one meant. The best epoch is chosen on
other pictures than those that are reported: the one with the highest identity (A by the trigger word alone, B by the
trigger word and its kept tags) among those in which "red dress, snow" is obeyed within 5 points of the best.
H is one run of the preset with far too high a rate, for the picture of too little, just right, ruined.

Runs are independent: start this command twice with different --only to use two cores; finished files and measurements
in DIR are taken as they are, a run that was cut off is resumed, and the last command to end prints the table.

Measured on 22 Nov 2026, seeds 0, 1, 2, 32 pictures: every reach met. Tags deleted, trigger alone: pink hair 99 %, green
eyes 95, star 100, round glasses 100; kept: pink hair 25 by the trigger, 100 by its word. Red dress in snow 100. Own
traits without the trigger word 98 (deleted) and 99 (kept). "white hair" at guidance 2, strength 1.5: pink stays 59
points more often. Identity at strength 0, .2 ... 1: 2, 5, 28, 66, 90, 98. What is not good: without the trigger word
37 % of the pictures (tags deleted) show her star or round glasses; no reach is set for that. Training took 200 to 222
CPU-s a run, on one thread.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from toyworld_table import MARKS, STRENGTHS, markdown, table_rows

from lora_forge import config as settings
from lora_forge.atomic import write_json, write_text
from lora_forge.config import Family, TrainConfig
from lora_forge.dataset.manifest import PrepareSettings
from lora_forge.dataset.prepare import prepare
from lora_forge.dataset.project import Project
from lora_forge.evaluate.plan import file_stem
from lora_forge.events import CommandBox, EpochEnded, Event
from lora_forge.host.standalone import StandaloneHost
from lora_forge.lora_file.names import epoch_path
from lora_forge.ports import PictureRequest
from lora_forge.presets import preset
from lora_forge.toyworld import checkpoint_path
from lora_forge.toyworld.judge import Sighting, load_judge
from lora_forge.toyworld.subject import TRAIT_TAGS, TRIGGER, photos
from lora_forge.toyworld.world import random_look
from lora_forge.toyworld.world import tags as tags_of
from lora_forge.train.run import CONFIG_FILE, train

ALONE = f"{TRIGGER}, 1girl"
OWN_TAGS = f"{TRIGGER}, 1girl, pink hair, green eyes, glasses"
NEW_SCENE = f"{TRIGGER}, 1girl, red dress, snow"
CONFLICT = f"{TRIGGER}, 1girl, white hair"
CHOOSING_SEED = 50_000  # far from the seeds that are reported


@dataclass(frozen=True)
class Run:
    """``kind``: A (trait tags deleted), B (kept) or H (A at far too high a rate)."""

    kind: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.kind}{self.seed}"


class Artist:
    """Draws a prompt with one epoch of one run and has the judge look at the pictures."""

    def __init__(self, base: Path, loras: Path, name: str, steps: int) -> None:
        self._host = StandaloneHost(base)
        self._loras, self._name, self._steps = loras, name, steps
        self._judge = load_judge()

    def see(
        self, prompt: str, epoch: int, seeds: Sequence[int], strength: float = 1.0, guidance: float = 4.0
    ) -> list[Sighting]:
        """One sighting a seed."""
        return self.see_each([prompt] * len(seeds), epoch, seeds, strength, guidance)

    def see_each(
        self, prompts: Sequence[str], epoch: int, seeds: Sequence[int], strength: float = 1.0, guidance: float = 4.0
    ) -> list[Sighting]:
        """One sighting for each pair of prompt and seed."""
        tag = f" <lora:{file_stem(self._name, epoch)}:{strength:g}>"
        asked = [
            PictureRequest(prompt + tag, width=64, height=64, steps=self._steps, guidance=guidance, seed=seed)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        return self._judge.look_at(list(self._host.draw(asked, [self._loras])))


def share(seen: Sequence[Sighting], *tags: str) -> float:
    """Share of the sightings that show all of ``tags``."""
    return sum(all(sighting.shows(tag) for tag in tags) for sighting in seen) / len(seen)


def identity(seen: Sequence[Sighting]) -> float:
    """Mean over the four marks of the share that shows it."""
    return sum(share(seen, mark) for mark in MARKS) / len(MARKS)


def config_of(run: Run, changes: Mapping[str, Any]) -> TrainConfig:
    """The toy preset, the seed, and what was changed by hand."""
    values = preset("toyworld_hot" if run.kind == "H" else "toyworld", Family.SD1)
    return settings.from_dict({**values, **changes, "name": run.name, "trigger_word": TRIGGER, "seed": run.seed})


def write_project(root: Path, run: Run) -> Project:
    """24 photos with captions beside them, trigger word first; A and H without the tags of the subject's traits."""
    project = Project.open(root, TRIGGER)
    folder = project.images_dir / "photos"
    folder.mkdir(parents=True, exist_ok=True)
    for number, (picture, tags) in enumerate(photos(run.seed), start=1):
        kept = [tag for tag in tags if run.kind == "B" or tag not in TRAIT_TAGS]
        picture.save(folder / f"photo-{number:02}.png")
        write_text(folder / f"photo-{number:02}.txt", ", ".join([TRIGGER, *kept]) + "\n")
    return project


def train_run(run: Run, config: TrainConfig, base: Path, out: Path) -> float:
    """Train what is not there yet; CPU seconds spent (0 when nothing was left to do)."""
    place = out / run.name
    run_dir, loras = place / "run", place / "loras"
    made_with = run_dir / CONFIG_FILE
    if made_with.exists() and settings.load(made_with) != config:
        sys.exit(f"{place} was trained with other settings: choose another --out, or remove it.")
    if all(epoch_path(loras, run.name, epoch).is_file() for epoch in range(1, config.epochs + 1)):
        return 0.0
    started = time.process_time()

    def tell(event: Event) -> None:
        if isinstance(event, EpochEnded):
            seconds = time.process_time() - started
            say(f"{run.name} epoch {event.epoch}: mse {event.window_mse:.4f}, {seconds:.0f} CPU-s")

    prepared = prepare(write_project(place / "project", run), PrepareSettings.from_config(config), tell)
    with StandaloneHost(base).borrow() as model:
        result = train(model, prepared, config, run_dir, loras, tell, CommandBox(), resume=made_with.exists())
    if result.outcome != "done":
        sys.exit(f"{run.name} ended early: {result.outcome}")
    return time.process_time() - started


def choose_epoch(artist: Artist, run: Run, epochs: int, count: int) -> tuple[int, dict[int, dict[str, float]]]:
    """The best epoch, and identity and obedience of each on the choosing pictures."""
    seeds = range(CHOOSING_SEED, CHOOSING_SEED + count)
    curve = {}
    for epoch in range(1, epochs + 1):
        likeness = identity(artist.see(OWN_TAGS if run.kind == "B" else ALONE, epoch, seeds))
        curve[epoch] = {
            "identity": likeness,
            "obedience": share(artist.see(NEW_SCENE, epoch, seeds), "red dress", "snow"),
        }
        say(f"{run.name} epoch {epoch}: identity {likeness:.2f}, obedience {curve[epoch]['obedience']:.2f}")
    most = max(point["obedience"] for point in curve.values())
    obeying = [epoch for epoch, point in curve.items() if point["obedience"] >= most - 0.05]
    return max(obeying, key=lambda epoch: (curve[epoch]["identity"], -epoch)), curve


def measure(artist: Artist, run: Run, epochs: int, pictures: int) -> dict[str, Any]:
    """Every figure of one run, shares in 0..1."""
    best, curve = choose_epoch(artist, run, epochs, max(8, pictures // 2))
    seeds = range(pictures)
    alone = artist.see(ALONE, best, seeds)
    scene = artist.see(NEW_SCENE, best, seeds)
    white = artist.see(CONFLICT, best, seeds, strength=1.5, guidance=2.0)
    stranger, leaked, untouched = see_strangers(artist, best, pictures)
    return {
        "best_epoch": best,
        "curve": curve,
        "alone": {mark: share(alone, mark) for mark in MARKS},
        "own_word": share(artist.see(f"{ALONE}, pink hair", best, seeds), "pink hair"),
        "own_tags": {mark: share(artist.see(OWN_TAGS, best, seeds), mark) for mark in MARKS} if run.kind == "B" else {},
        "new_scene": share(scene, "red dress", "snow"),
        "new_scene_identity": identity(scene),
        "strangers": stranger,
        "strangers_without_lora": untouched,
        "leaked_marks": leaked,
        "conflict_pink": share(white, "pink hair"),
        "conflict_white": share(white, "white hair"),
        "strengths": {f"{s:g}": identity(alone if s == 1 else artist.see(ALONE, best, seeds, s)) for s in STRENGTHS},
    }


def see_strangers(artist: Artist, epoch: int, pictures: int) -> tuple[float, float, float]:
    """Other girls in full captions, no trigger word: the share of their tags that is shown, the share of pictures with
    a star or round glasses, and the share of tags shown without the LoRA."""
    seeds = range(pictures)
    looks = [tags_of(random_look(random.Random(f"stranger {seed}"))) for seed in seeds]
    prompts = [", ".join(tags) for tags in looks]
    seen = artist.see_each(prompts, epoch, seeds)
    untouched = artist.see_each(prompts, epoch, seeds, strength=0.0)
    leaked = sum(sighting.shows("star") or sighting.shows("round glasses") for sighting in seen)
    return kept_share(seen, looks), leaked / pictures, kept_share(untouched, looks)


def kept_share(seen: Sequence[Sighting], looks: Sequence[Sequence[str]]) -> float:
    """Share of all tags, "1girl" aside, that the pictures show."""
    shown = [sighting.shows(tag) for sighting, tags in zip(seen, looks, strict=True) for tag in tags[1:]]
    return sum(shown) / len(shown)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def do_run(run: Run, args: argparse.Namespace) -> None:
    """Train and measure one run, unless its measurement is there."""
    config = config_of(run, settings.parse_assignments(args.set))
    record = args.out / f"{run.name}.json"
    setup = {
        "config": config.to_dict(),
        "pictures": args.pictures,
        "steps": args.steps,
        "base": args.base.stat().st_size,
    }
    if record.exists() and json.loads(record.read_text(encoding="utf-8"))["setup"] == setup:
        return
    cpu_s = train_run(run, config, args.base, args.out)
    artist = Artist(args.base, args.out / run.name / "loras", run.name, args.steps)
    write_json(record, {"setup": setup, "train_cpu_s": cpu_s, **measure(artist, run, config.epochs, args.pictures)})


def report(seeds: Sequence[int], out: Path) -> int:
    """Print the table when every run is there; 0 when every reach is met, 1 when not, 3 when runs are missing."""
    names = [f"{kind}{seed}" for kind in "AB" for seed in seeds]
    missing = [name for name in names if not (out / f"{name}.json").exists()]
    if missing:
        say(f"no table yet, these runs are missing: {', '.join(missing)}")
        return 3
    runs = {name: json.loads((out / f"{name}.json").read_text(encoding="utf-8")) for name in names}
    deleted, kept = ([runs[f"{kind}{seed}"] for seed in seeds] for kind in "AB")
    rows = table_rows(deleted, kept)
    print(markdown(rows, seeds))
    print("\nbest epochs:", ", ".join(f"{name} {run['best_epoch']}" for name, run in runs.items()))
    written = [{**vars(row), "mean": sum(row.values) / len(row.values)} for row in rows]
    write_json(out / "toyworld.json", {"seeds": list(seeds), "rows": written, "runs": runs})
    return 0 if all(row.is_reached for row in rows) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--pictures", type=int, default=32, help="in every cell that is reported")
    parser.add_argument("--steps", type=int, default=8, help="sampler steps (DPM++ 2M)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", type=Path, default=checkpoint_path(), help="default: the bundled checkpoint")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="runs to do now, such as A0,B0,H0; default: A and B of all seeds")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another setting, for trials")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    names = args.only.split(",") if args.only else [f"{kind}{seed}" for seed in seeds for kind in "AB"]
    for name in names:
        do_run(Run(name[0], int(name[1:])), args)
    return report(seeds, args.out)


if __name__ == "__main__":
    sys.exit(main())
