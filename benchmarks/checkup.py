"""PYTHONPATH=. .venv/bin/python benchmarks/checkup.py [PHOTOS]

Seconds a photo of the doctor on the CPU: measuring, faces by each detector that needs no download, and a second checkup
of the same photos, when everything is remembered. Photos: those of benchmarks/photos.py at 1024 px.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from photos import NAMES, _file
from PIL import Image

from lora_forge.dataset import checkup
from lora_forge.dataset.checkup.letters import letters_in_lines
from lora_forge.dataset.checkup.measures import measure
from lora_forge.dataset.faces.cascades import HaarDetector, LbpDetector
from lora_forge.dataset.project import Project
from lora_forge.events import CommandBox


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    with tempfile.TemporaryDirectory() as folder:
        project = Project.create(Path(folder) / "project", "ohwx")
        images = [_photo(number) for number in range(count)]
        for number, image in enumerate(images):
            image.save(project.images_dir / "photos" / f"{number:04d}.jpg", quality=92)
        print(f"{count} photos of {images[0].width} x {images[0].height} px and the like")
        _say("measures", images, measure)
        _say("  of it writing", images, letters_in_lines)
        for detector in (HaarDetector(), LbpDetector()):
            _say(f"faces by {detector.name}", images, detector.detect)
        for words in ("whole checkup", "again, remembered"):
            start = time.perf_counter()
            checkup.run(project, "person", 512, lambda event: None, CommandBox())
            print(f"{words:28} {(time.perf_counter() - start) / count * 1000:7.1f} ms a photo")


def _photo(number: int) -> Image.Image:
    image = Image.open(_file(NAMES[number % len(NAMES)])).convert("RGB")
    cut = number // len(NAMES) * 3
    image = image.crop((cut, cut, image.width - cut, image.height - cut))
    factor = 1024 / max(image.size)
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


def _say(words: str, images: list[Image.Image], work: object) -> None:
    assert callable(work)
    start = time.perf_counter()
    for image in images:
        work(image)
    print(f"{words:28} {(time.perf_counter() - start) / len(images) * 1000:7.1f} ms a photo")


if __name__ == "__main__":
    main()
