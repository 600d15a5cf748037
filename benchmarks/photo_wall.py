"""python benchmarks/photo_wall.py --photos 2000: the photo wall's list, thumbnails, trash and hand edits, timed.

Photos are generated (JPEG, 1600 x 1200, noise on a gradient, some 400 kB each; every one with a caption of 30 tags),
in a temporary folder. Wall seconds on one process; "cold" is the first time a project is opened, "warm" the next one.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from lora_forge.dataset import thumbs as thumbs_module
from lora_forge.dataset import trash
from lora_forge.dataset.project import Project
from lora_forge.dataset.thumbs import Thumbs, thumbs_of
from lora_forge.web.photo_list import listing

T = TypeVar("T")
SIZE = (1600, 1200)


def main() -> None:
    """Make the photos, time everything, print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--size", type=int, nargs=2, default=SIZE, metavar=("WIDTH", "HEIGHT"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Project.create(Path(folder) / "wall", "ohwx")
        bytes_each = write_photos(project.images_dir / "photos", args.photos, tuple(args.size))
        width, height = args.size
        print(f"{args.photos} photos, {width} x {height}, {bytes_each // 1000} kB each, {os.cpu_count()} cores")
        measure(project)


def measure(project: Project) -> None:
    """Every figure, a line each."""
    paths = [photo.path for photo in project.photos()]
    timed("list, cold (sizes still 0)", lambda: listing(project))
    timed("sizes of all, read behind", lambda: wait_for_sizes(project))
    timed("list, warm", lambda: listing(Project.load(project.root)))
    timed("list, warm, as JSON", lambda: json.dumps(listing(Project.load(project.root)), ensure_ascii=False).encode())
    thumbs = thumbs_of(project.root)
    timed("thumbnails of all, 4 threads", lambda: on_threads(thumbs, paths))
    timed("thumbnails of all, kept", lambda: on_threads(thumbs, paths))
    timed("one thumbnail, kept", lambda: thumbs.picture(paths[0]))
    thumbs.save()
    thumbs_module._KNOWN.clear()  # as after a restart
    timed("list, after a restart", lambda: listing(Project.load(project.root)))
    timed("a crop by hand", lambda: project.set_crop(paths[0], (10, 10, 400, 400)))
    for path in paths[1:50]:
        project.set_crop(path, (10, 10, 400, 400))
    timed("list, warm, with 50 crops by hand", lambda: listing(Project.load(project.root)))
    timed("all to the trash", lambda: trash.take_out_all(project, paths))
    timed("list, all in the trash", lambda: listing(Project.load(project.root)))
    timed("all back", lambda: trash.put_back_all(project, trash.last_batch(project)))


def write_photos(folder: Path, count: int, size: tuple[int, int]) -> int:
    """``count`` different JPEGs made from eight pictures; their size in bytes."""
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(8):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        noise = rng.normal(0, 6, (size[1], size[0], 3))
        array = np.clip(np.asarray(coarse, dtype=np.float32) + noise, 0, 255).astype(np.uint8)
        path = folder / ".one.jpg"
        Image.fromarray(array).save(path, quality=88)
        pictures.append(path.read_bytes())
        path.unlink()
    tags = ", ".join(f"tag number {n}" for n in range(29))
    for n in range(count):
        path = folder / f"photo 图 {n:04d}.jpg"
        path.write_bytes(pictures[n % 8] + bytes(n))  # bytes behind a JPEG's end: another content and length
        path.with_suffix(".txt").write_text(f"ohwx, {tags}", encoding="utf-8")
    return len(pictures[0])


def wait_for_sizes(project: Project) -> None:
    """Until the thread behind the list is through."""
    while any(not photo["width"] for photo in listing(project)["photos"]):
        time.sleep(0.2)


def on_threads(thumbs: Thumbs, paths: list[Path]) -> None:
    """As the page asks: four at a time."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(thumbs.picture, paths))


def timed(label: str, work: Callable[[], T]) -> T:
    """Do it and print how long it took."""
    start = time.perf_counter()
    got = work()
    print(f"{label:40} {time.perf_counter() - start:8.3f} s", flush=True)
    return got


if __name__ == "__main__":
    main()
