"""Do the real presets learn? python benchmarks/toyworld_presets.py --seeds 0,1 --pictures 32 --out DIR [--factor 20]

The person, style and object presets as a person gets them for SD1.x and 24 photos, on the toy world: its size, no
previews, and both learning rates times one factor (``presets.TOYWORLD_RATE_FACTOR``), the same for all three. Each has
its own thing to learn (``toyworld.lessons``). Every figure is measured on pictures of the last epoch and of the base
without any LoRA, same prompts, same seeds; a share of 32 pictures unless the line says otherwise.

Finished files and measurements in DIR are taken as they are; a run that was cut off is resumed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

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
from lora_forge.presets.toyworld import TOYWORLD_RATE_FACTOR, on_toyworld
from lora_forge.toyworld import checkpoint_path
from lora_forge.toyworld.judge import SUBJECT_MARKS, Judge, Sighting, load_judge
from lora_forge.toyworld.lessons import LESSONS, TRIGGER, Lesson, has_stripes
from lora_forge.toyworld.world import tags as tags_of
from lora_forge.train.run import CONFIG_FILE, train

PHOTOS = 24


@dataclass(frozen=True)
class Seen:
    """One picture and what the judge made of it."""

    picture: Image.Image
    sighting: Sighting


MARKS: dict[str, Callable[[Seen], float]] = {
    "person": lambda seen: sum(seen.sighting.label(name) == label for name, label in SUBJECT_MARKS) / 4,
    "style": lambda seen: float(has_stripes(seen.picture)),
    "object": lambda seen: float(seen.sighting.shows("star")),
}
"""How much of what is to be learned a picture shows, 0..1."""


def config_of(kind: str, seed: int, factor: float = TOYWORLD_RATE_FACTOR, **changes: Any) -> TrainConfig:
    """The real preset for so many photos, brought to the toy world."""
    values = on_toyworld(preset(kind, Family.SD1, PHOTOS), factor)
    return settings.from_dict({**values, "name": f"{kind}{seed}", "trigger_word": TRIGGER, "seed": seed, **changes})


def write_project(root: Path, lesson: Lesson, seed: int) -> Project:
    """24 photos with captions beside them, trigger word first."""
    project = Project.open(root, TRIGGER)
    folder = project.images_dir / "photos"
    folder.mkdir(parents=True, exist_ok=True)
    for number, (picture, tags) in enumerate(lesson.photos(seed, PHOTOS), start=1):
        picture.save(folder / f"photo-{number:02}.png")
        write_text(folder / f"photo-{number:02}.txt", ", ".join([TRIGGER, *tags]) + "\n")
    return project


def train_lesson(lesson: Lesson, config: TrainConfig, place: Path, base: Path) -> float:
    """Train what is not there yet into ``place``/loras; CPU seconds spent (0 when nothing was left to do)."""
    run_dir, loras = place / "run", place / "loras"
    made_with = run_dir / CONFIG_FILE
    if made_with.exists() and settings.load(made_with) != config:
        sys.exit(f"{place} was trained with other settings: choose another --out, or remove it.")
    if epoch_path(loras, config.name, config.epochs).is_file():
        return 0.0
    started = time.process_time()

    def tell(event: Event) -> None:
        if isinstance(event, EpochEnded):
            seconds = time.process_time() - started
            say(f"{config.name} epoch {event.epoch}: mse {event.window_mse:.4f}, {seconds:.0f} CPU-s")

    project = write_project(place / "project", lesson, config.seed)
    prepared = prepare(project, PrepareSettings.from_config(config), tell)
    with StandaloneHost(base).borrow() as model:
        result = train(model, prepared, config, run_dir, loras, tell, CommandBox(), resume=made_with.exists())
    if result.outcome != "done":
        sys.exit(f"{config.name} ended early: {result.outcome}")
    return time.process_time() - started


class Artist:
    """Draws prompts with one file of one run, or with none, and has the judge look."""

    def __init__(self, base: Path, judge: Judge, loras: Path, stem: str, sampler_steps: int = 8) -> None:
        self._host = StandaloneHost(base)
        self._judge, self._loras, self._stem, self._steps = judge, loras, stem, sampler_steps

    def see(self, prompts: Sequence[str], with_lora: bool) -> list[Seen]:
        """One picture a prompt, seeds 0, 1, 2 ...; guidance 4."""
        tag = f" <lora:{self._stem}:1>" if with_lora else ""
        asked = [
            PictureRequest(prompt + tag, width=64, height=64, steps=self._steps, guidance=4.0, seed=seed)
            for seed, prompt in enumerate(prompts)
        ]
        pictures = list(self._host.draw(asked, [self._loras] if with_lora else []))
        return [Seen(*pair) for pair in zip(pictures, self._judge.look_at(pictures), strict=True)]


def measure(lesson: Lesson, artist: Artist, pictures: int, with_lora: bool) -> dict[str, float]:
    """All figures of one lesson, shares in 0..1."""
    mark = MARKS[lesson.kind]
    looks = [lesson.look(random.Random(f"fresh {number}")) for number in range(pictures)]
    words = [tags_of(look) for look in looks]
    without = artist.see([", ".join(tags) for tags in words], with_lora)
    found = {
        **measure_calls(lesson, artist, pictures, with_lora),
        "without_word": _mean([mark(seen) for seen in without]),
        "without_word_obeyed": _obeyed(without, words),
    }
    if lesson.kind != "person":  # she has traits of her own; a style and an ornament go with anyone's
        called = artist.see([", ".join([TRIGGER, *tags]) for tags in words], with_lora)
        found |= {"anyone": _mean([mark(seen) for seen in called]), "anyone_obeyed": _obeyed(called, words)}
    return found


def measure_calls(lesson: Lesson, artist: Artist, pictures: int, with_lora: bool) -> dict[str, float]:
    """What the trigger word calls, alone and in the scene that no photo shows; shares in 0..1."""
    mark = MARKS[lesson.kind]
    alone = artist.see([f"{TRIGGER}, 1girl"] * pictures, with_lora)
    scene = artist.see([", ".join([TRIGGER, "1girl", *lesson.scene])] * pictures, with_lora)
    return {
        "alone": _mean([mark(seen) for seen in alone]),
        "scene": _mean([mark(seen) for seen in scene]),
        "scene_obeyed": _mean([float(all(map(seen.sighting.shows, lesson.scene))) for seen in scene]),
    }


def _obeyed(seen: Sequence[Seen], words: Sequence[Sequence[str]]) -> float:
    """Share of all tags asked for, "1girl" aside, that the pictures show."""
    pairs = zip(seen, words, strict=True)
    return _mean([float(one.sighting.shows(tag)) for one, tags in pairs for tag in tags[1:]])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


TITLES = {
    "alone": "the trigger word alone shows it",
    "scene": "shown in a scene that no photo has",
    "scene_obeyed": "that scene's words obeyed (both)",
    "anyone": "trigger word + full captions of others: shown",
    "anyone_obeyed": "the same: share of their tags obeyed",
    "without_word_obeyed": "full captions without the trigger word: share of tags obeyed",
    "without_word": "the same: shown though not called",
}


def table(runs: Sequence[dict[str, Any]], kinds: Sequence[str], seeds: Sequence[int]) -> str:
    """Markdown: for every lesson and figure the base's mean and the LoRA's, one column a seed."""
    lines = [f"| preset | figure | base | with the LoRA | {' | '.join(f'seed {seed}' for seed in seeds)} |"]
    lines.append("|---" * (len(seeds) + 4) + "|")
    for kind in kinds:
        own = [run for run in runs if run["kind"] == kind]
        for key, title in TITLES.items():
            if key in own[0]["lora"]:
                base, values = (_mean([run[side][key] for run in own]) for side in ("base", "lora"))
                each = " | ".join(f"{100 * run['lora'][key]:.0f}" for run in own)
                lines.append(f"| {kind} | {title} | {100 * base:.0f} | **{100 * values:.0f}** | {each} |")
    return "\n".join(lines)


def do_run(kind: str, seed: int, args: argparse.Namespace, judge: Judge) -> dict[str, Any]:
    """Train and measure one preset at one seed, unless its measurement is there."""
    config = config_of(kind, seed, args.factor, **settings.parse_assignments(args.set))
    place = args.out / config.name
    record, setup = place / "figures.json", {"config": config.to_dict(), "pictures": args.pictures}
    if record.exists():
        kept: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        if kept["setup"] == setup:
            return kept
    seconds = train_lesson(LESSONS[kind], config, place, args.base)
    artist = Artist(args.base, judge, place / "loras", file_stem(config.name, config.epochs))
    found = {side: measure(LESSONS[kind], artist, args.pictures, side == "lora") for side in ("base", "lora")}
    say(f"{config.name} factor {args.factor:g}: {found}")
    write_json(record, {"kind": kind, "seed": seed, "setup": setup, "train_cpu_s": seconds, **found})
    return {"kind": kind, "seed": seed, **found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--kinds", default="person,style,object")
    parser.add_argument("--pictures", type=int, default=32, help="a figure")
    parser.add_argument("--factor", type=float, default=TOYWORLD_RATE_FACTOR, help="times both rates of the presets")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another setting, for trials")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", type=Path, default=checkpoint_path(), help="default: the bundled checkpoint")
    args = parser.parse_args()
    torch.set_num_threads(1)
    kinds, seeds, judge = args.kinds.split(","), [int(seed) for seed in args.seeds.split(",")], load_judge()
    runs = [do_run(kind, seed, args, judge) for seed in seeds for kind in kinds]
    print(table(runs, kinds, seeds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
