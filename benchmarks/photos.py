"""Public photographs for the benchmarks: those inside the scikit-image wheel, cropped in several ways.

Nothing is downloaded. A crop is a square of 60-100 % of the shorter side, at a place drawn from a fixed seed.
"""

from __future__ import annotations

import functools
import random
import shutil
from pathlib import Path

import skimage.data
from PIL import Image

TRIGGER = "ohwx"
NAMES = ("astronaut", "chelsea", "coffee", "rocket", "camera", "motorcycle")
TAGS = {
    "astronaut": "woman, smile, orange suit, flag",
    "chelsea": "cat, close-up, green eyes",
    "coffee": "cup, table, spoon",
    "rocket": "rocket, launch pad, dusk",
    "camera": "man, camera, tripod, monochrome",
    "motorcycle": "motorcycle, garage",
}


def _file(name: str) -> Path:
    folder = Path(skimage.data.__file__).parent
    return folder / {"motorcycle": "motorcycle_left.png", "rocket": "rocket.jpg"}.get(name, f"{name}.png")


@functools.cache
def photograph(name: str) -> Image.Image:
    """One whole photograph as RGB, read once."""
    with Image.open(_file(name)) as image:
        return image.convert("RGB")


def square_crop(image: Image.Image, seed: int) -> Image.Image:
    """A square part of ``image``, 60-100 % of its shorter side."""
    rng = random.Random(seed)
    side = round(min(image.size) * rng.uniform(0.6, 1.0))
    left, top = rng.randint(0, image.width - side), rng.randint(0, image.height - side)
    return image.crop((left, top, left + side, top + side))


def write_photos(folder: Path, count: int, suffix: str = ".png") -> tuple[Path, ...]:
    """``count`` crops with captions beside them; the folder is made. ``suffix``: ".jpg" for many of them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        name = NAMES[number % len(NAMES)]
        path = folder / f"{name}_{number:02d}{suffix}"
        square_crop(photograph(name), number).save(path)
        path.with_suffix(".txt").write_text(f"{TRIGGER}, {TAGS[name]}", encoding="utf-8")
        paths.append(path)
    return tuple(paths)


def copy_photographs(folder: Path) -> tuple[Path, ...]:
    """The files themselves, whole, in their own formats and shapes, with captions; one under a name with Chinese."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in NAMES:
        source = _file(name)
        path = folder / ("咖啡 杯" + source.suffix if name == "coffee" else source.name)
        shutil.copy(source, path)
        path.with_suffix(".txt").write_text(TAGS[name], encoding="utf-8")
        paths.append(path)
    return tuple(paths)
