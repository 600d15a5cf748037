"""python benchmarks/tagger_preview.py [30 2000 ...]

How long a preview of automatic tags takes for so many photos: 150 remembered scores each, of a list as long as the WD
taggers' (10,861). "cold" reads the scores from disk, as after a restart; "warm" is a slider that moves.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from lora_forge.dataset.project import Project
from lora_forge.dataset.taggers import Label, PickOptions, RunOptions, ScoreCache, preview
from lora_forge.dataset.taggers.scores import Contents, _load

TAGS, SCORED, MODEL = 10_861, 150, "f" * 20
OPTIONS = RunOptions(PickOptions(exclude=("*_3", "hat")))


def build(root: Path, count: int) -> tuple[Project, list[str]]:
    """A project of ``count`` tiny photos whose scores are remembered."""
    project, random = Project.create(root / str(count), "ohwx"), np.random.default_rng(0)
    labels = [Label(f"tag_{number}_x", "general" if number % 5 else "character") for number in range(TAGS)]
    contents, cache = Contents(project), ScoreCache(project, MODEL)
    keys = [f"photos/{number}.png" for number in range(count)]
    for key in keys:
        path = project.images_dir / key
        Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
        path.with_suffix(".txt").write_text("a, b, c")
        row = np.zeros(TAGS, np.float32)
        row[random.choice(TAGS, SCORED, replace=False)] = random.random(SCORED)
        cache.put(contents.of(key), labels, row)
    contents.save()
    return project, keys


def main() -> None:
    counts = [int(word) for word in sys.argv[1:]] or [30, 2000]
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            project, keys = build(Path(folder), count)
            for state in ("cold", "warm", "warm"):
                if state == "cold":
                    _load.cache_clear()
                start = time.perf_counter()
                found = preview(project, MODEL, OPTIONS, keys)
                assert len(found.tags) == count
                print(f"{count:5} photos, {state}: {(time.perf_counter() - start) * 1000:6.0f} ms")


if __name__ == "__main__":
    main()
