"""python benchmarks/encoding.py --base sd15.safetensors [--photos 1000 --captions 1000 --px 512 --device cuda]

How near encoding a set comes to the bare networks. Photos: the VAE's encoder on pictures that lie in memory as it takes
them, beside ``encode_set`` on prepared PNG files (read, checked, encoded, drawn, kept in the cache). Captions: the text
encoder on token ids that lie in memory, beside ``CachedText.warm``. Then the same without anything done ahead or
behind, and once more from the cache.

The set is cut into parts and every variant does each part before the next part begins, so that a machine whose speed
drifts drifts for all. CPU seconds are those of all threads: trust them where other programs run, and the wall where
none does; a card's work shows in the wall alone. ``full_size.py`` makes checkpoints of random weights, which cost the
same.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from photos import NAMES, photograph, square_crop

from lora_forge.dataset.prepare import PrepareSettings, prepare
from lora_forge.dataset.prepared import PreparedImage, load_pixels
from lora_forge.dataset.project import Project
from lora_forge.host.standalone import StandaloneHost
from lora_forge.model.devices import synchronize
from lora_forge.model.latents import as_picture
from lora_forge.model.text import ROWS, caption_ids
from lora_forge.ports import BorrowedModel
from lora_forge.train.cache import CachedText, TensorCache
from lora_forge.train.encoding import LatentsWhenMet, encode_set

WORDS = ("woman", "man", "cat", "cup", "smile", "hat", "standing", "sitting", "outdoors", "snow", "tripod", "table")


@dataclass
class Spent:
    """Seconds and things of one variant, over all parts."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    count: int = 0

    def add(self, work: Callable[[], object], count: int, device: torch.device) -> None:
        """Do ``work`` on ``count`` things and time it to the end of what the device was given."""
        synchronize(device)
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        synchronize(device)
        self.wall_s += time.perf_counter() - wall
        self.cpu_s += time.process_time() - cpu
        self.count += count


@dataclass
class Table:
    """Rows in the order they are first met."""

    spent: dict[str, Spent] = field(default_factory=dict)

    def row(self, name: str) -> Spent:
        """The row of that name."""
        return self.spent.setdefault(name, Spent())

    def lines(self, what: str) -> list[str]:
        """Markdown; every ratio is to the first row: throughput, more is better."""
        if not self.spent:
            return []
        bare = next(iter(self.spent.values()))
        head = f"| {what} | a second | ms of wall each | ms of CPU each | throughput / bare (wall) | (CPU) |"
        rows = [
            f"| {name} | {s.count / s.wall_s:.2f} | {1e3 * s.wall_s / s.count:.1f} | {1e3 * s.cpu_s / s.count:.1f} "
            f"| {bare.wall_s / s.wall_s:.3f} | {bare.cpu_s / s.cpu_s:.3f} |"
            for name, s in self.spent.items()
        ]
        return [head, "|---|---|---|---|---|---|", *rows]


def prepared_photos(folder: Path, count: int, px: int) -> tuple[PreparedImage, ...]:
    """``count`` different square crops of the benchmark's photographs, imported and prepared at ``px``."""
    project = Project.create(folder)
    place = project.root / "images" / "subject"
    place.mkdir(parents=True, exist_ok=True)
    whole = {name: photograph(name) for name in NAMES}
    for number in range(count):
        crop = square_crop(whole[NAMES[number % len(NAMES)]], number)
        crop.save(place / f"photo_{number:04d}.png", compress_level=1)
    settings = PrepareSettings(px, True, 64, px // 2, px * 2)
    return prepare(Project.load(project.root), settings, lambda _: None).images


def drawn_captions(count: int) -> list[str]:
    """``count`` different captions of 5 to 20 tags, one chunk each."""
    rng = random.Random(0)
    return [", ".join([f"ohwx{n}", *rng.choices(WORDS, k=rng.randint(5, 20))]) for n in range(count)]


def parts_of(things: Sequence[object], count: int) -> list[slice]:
    """``count`` slices of nearly equal length."""
    ends = [round(len(things) * part / count) for part in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(ends) if b > a]


@torch.no_grad()
def bare_vae(model: BorrowedModel, pictures: Sequence[torch.Tensor]) -> None:
    """One picture after another, as they lie in memory."""
    for picture in pictures:
        model.vae.encode(picture)


def as_the_vae_takes_them(model: BorrowedModel, images: Sequence[PreparedImage]) -> list[torch.Tensor]:
    """(1, 3, H, W) on the model's device, in its dtype and in the layout that ours uses."""
    layout = torch.channels_last if model.device.type == "cpu" else torch.contiguous_format
    pictures = [as_picture(torch.tensor(load_pixels(image)))[None] for image in images]
    return [picture.to(model.device, model.vae.dtype).contiguous(memory_format=layout) for picture in pictures]


def measure_photos(model: BorrowedModel, images: Sequence[PreparedImage], work: Path, parts: int) -> Table:
    """All variants over all parts."""
    table, device = Table(), model.device
    if images:
        encode_set(model, images[:1], False, TensorCache(None, print), _quiet)
    for number, part in enumerate(parts_of(images, parts)):
        some = images[part]
        pictures = as_the_vae_takes_them(model, some)
        table.row("the VAE alone").add(partial(bare_vae, model, pictures), len(some), device)
        kept = work / f"kept{number}"

        def ours(some: Sequence[PreparedImage] = some, kept: Path = kept) -> None:
            encode_set(model, some, False, TensorCache(kept, print), _quiet)

        def one_by_one(some: Sequence[PreparedImage] = some, number: int = number) -> None:
            list(LatentsWhenMet(model, some, False, TensorCache(work / f"one{number}", print), _quiet))

        table.row("ours, nothing cached").add(ours, len(some), device)
        table.row("ours with nothing ahead or behind").add(one_by_one, len(some), device)
        table.row("ours, all cached").add(ours, len(some), device)
    return table


@torch.no_grad()
def bare_text(model: BorrowedModel, blocks: Sequence[Sequence[torch.Tensor]]) -> None:
    """One block of ids after another, each through every text encoder."""
    for block in blocks:
        for tower, ids in zip(model.text_towers, block, strict=True):
            tower.module(input_ids=ids, output_hidden_states=len(model.text_towers) > 1)


def as_the_towers_take_them(model: BorrowedModel, captions: Sequence[str]) -> list[list[torch.Tensor]]:
    """Ids on the model's device in the blocks that ours uses: one caption on a CPU, ``ROWS`` on a card."""
    rows = 1 if model.device.type == "cpu" else ROWS
    told = [caption_ids(model, caption) for caption in captions]
    return [
        [torch.cat(ids).to(model.device) for ids in zip(*told[begin : begin + rows], strict=True)]
        for begin in range(0, len(told), rows)
    ]


def measure_captions(model: BorrowedModel, captions: Sequence[str], work: Path, parts: int) -> Table:
    """All variants over all parts."""
    table, device = Table(), model.device
    CachedText(model, 1, TensorCache(None, print), is_fixed=True).warm(["warm up"])
    for number, part in enumerate(parts_of(captions, parts)):
        some = captions[part]
        blocks = as_the_towers_take_them(model, some)
        table.row("the text encoder alone").add(partial(bare_text, model, blocks), len(some), device)

        def ours(some: Sequence[str] = some, number: int = number) -> None:
            CachedText(model, 1, TensorCache(work / f"text{number}", print), is_fixed=True).warm(some)

        def one_by_one(some: Sequence[str] = some, number: int = number) -> None:
            text = CachedText(model, 1, TensorCache(work / f"alone{number}", print), is_fixed=True)
            for caption in some:
                text.get([caption])

        table.row("ours, nothing cached").add(ours, len(some), device)
        table.row("ours with nothing ahead or behind").add(one_by_one, len(some), device)
        table.row("ours, all cached").add(ours, len(some), device)
    return table


def _quiet(_: object) -> None:
    """Events are not what is measured."""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--captions", type=int, default=200)
    parser.add_argument("--px", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--threads", type=int, default=1, help="of torch on a CPU")
    parser.add_argument("--parts", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    host = StandaloneHost(arguments.base, arguments.device, arguments.precision)
    with tempfile.TemporaryDirectory() as folder, host.borrow() as model:
        work = Path(folder)
        images = prepared_photos(work / "project", arguments.photos, arguments.px) if arguments.photos else ()
        photos = measure_photos(model, images, work, arguments.parts)
        captions = measure_captions(model, drawn_captions(arguments.captions), work, arguments.parts)
    print(
        f"\n{arguments.base.stem}, {arguments.device}, {arguments.precision}, {arguments.threads} thread(s) of torch\n"
    )
    print("\n".join(photos.lines(f"{arguments.photos} photos at {arguments.px} px")))
    print()
    print("\n".join(captions.lines(f"{arguments.captions} captions")))


if __name__ == "__main__":
    main()
