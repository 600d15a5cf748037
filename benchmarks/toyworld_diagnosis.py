"""Are runs told apart? python benchmarks/toyworld_diagnosis.py --out DIR --seeds 0-9 [--record FOLDER]

Takes the grids that toyworld_grids.py drew into DIR (of each seed a good, an underfit and a too hot run) and plants a
fourth: in the good one's grid, pictures give way to rebuilt training photos, the more of them the later the epoch and
the higher the strength, as a run that learned its photos by heart would draw them whatever the prompt says. A rebuilt
photo went through the checkpoint's VAE, was shifted by up to a pixel and a little blurred. Scored by the judges that
the product uses; the table says what ``evaluate.diagnose`` made of each. Nothing is drawn or trained.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageChops, ImageFilter

from benchmarks.toyworld_grids import Cell, Grid, Pixels, coarse_grid, config_of, is_drawn, say, seeds_of
from benchmarks.toyworld_scores import EXPECTS, judging_of, own_pictures, record_of, score_pictures
from lora_forge.atomic import write_text
from lora_forge.evaluate.diagnose import diagnose
from lora_forge.evaluate.recommend import recommend
from lora_forge.evaluate.scores import surface_of
from lora_forge.host.standalone import StandaloneHost
from lora_forge.model.latents import decode, encode_images
from lora_forge.toyworld import checkpoint_path
from lora_forge.toyworld.data import picture_tensor
from lora_forge.toyworld.subject import photos


def coarse(kind: str, seed: int, out: Path) -> Grid:
    """The run's grid at the axes that every kind was drawn at."""
    config = config_of(kind, seed)
    return coarse_grid(config, out / config.name)


def by_heart(epoch: int, strength: float) -> float:
    """The share of pictures that are photos again: none at little strength, all at the end."""
    return min(max((strength * (0.3 + 0.07 * epoch) - 0.25) / 0.35, 0.0), 1.0)


def planted(pictures: Mapping[Cell, Pixels], copies: Sequence[Image.Image], seed: int) -> dict[Cell, Pixels]:
    """``pictures`` with copies in the place of some."""
    rng = random.Random(f"by heart {seed}")
    found = {}
    for cell, pixels in pictures.items():
        rows = [np.asarray(rng.choice(copies)) if rng.random() < by_heart(*cell) else row for row in pixels]
        found[cell] = np.stack(rows)
    return found


def rebuilt(host: StandaloneHost, seed: int) -> list[Image.Image]:
    """The run's photos, each through the VAE, shifted and blurred."""
    rng = random.Random(f"rebuilt {seed}")
    originals = picture_tensor([picture for picture, _ in photos(seed)]).float() / 127.5 - 1
    with host.borrow() as model:
        images = decode(model, encode_images(model, originals, list(range(len(originals)))))
    moved = [ImageChops.offset(image, rng.randint(-1, 1), rng.randint(-1, 1)) for image in images]
    return [image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.5))) for image in moved]


def table(found: Mapping[tuple[str, int], str], seeds: Sequence[int]) -> str:
    """Markdown: a row a kind of run, what was said of it in each seed."""
    lines = [f"| run | told right | {' | '.join(f'seed {seed}' for seed in seeds)} |", "|---" * (len(seeds) + 2) + "|"]
    for kind, expected in EXPECTS.items():
        said = [found[kind, seed] for seed in seeds]
        lines.append(f"| {expected} | **{Counter(said)[expected]} of {len(seeds)}** | {' | '.join(said)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where toyworld_grids.py kept its pictures")
    parser.add_argument("--seeds", default="0-9")
    parser.add_argument("--record", type=Path, help="write the scores here; of the good runs toyworld_scores.py does")
    args = parser.parse_args()
    torch.set_num_threads(1)
    host, found, seeds = StandaloneHost(checkpoint_path()), {}, seeds_of(args.seeds)
    for seed in seeds:
        judging = judging_of(args.out / f"good{seed}" / "project")
        for kind in EXPECTS:
            source = coarse("good" if kind == "copy" else kind, seed, args.out)
            if not is_drawn(source):
                sys.exit(f"{source.place} is not drawn: toyworld_grids.py --kinds good,under,hot --seeds {seed} first")
            pictures = own_pictures(source)
            if kind == "copy":
                pictures = planted(pictures, rebuilt(host, seed), seed)
            scores = score_pictures(source.plan, pictures, judging.judge)
            surface = surface_of(source.plan, scores)
            told = diagnose(surface, recommend(surface), judging.photos)
            found[kind, seed] = told.kind
            say(f"{kind}{seed}: {told.kind}. {told.sentence.text()}")
            if args.record and kind != "good":
                record = record_of(source.plan, kind, seed, scores, {}, judging.photos)
                write_text(args.record / f"{kind}{seed}.json", record)
    print(table(found, seeds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
