"""python benchmarks/start.py --base sd15.safetensors [--photos 24] [--resolution 512] [--ahead]

Time from the start of a run to its first finished step, with the checkpoint in memory: where it goes. One process plays
a WebUI: torch, transformers and the weights are there, nothing of ours is. Then what a press of Start does is done and
timed: our imports, preparing the photos, networks around the weights, and ``train()``, twice: the first call of a
program and a later one. Parts are timed inside the real calls, each without the parts within it, in CPU seconds of all
threads and in wall seconds. The reach is 3 s besides encoding the photos; an ordinary step, which takes a card a moment
and a CPU seconds, is taken off too, by what the later steps take. In a WebUI the imports are done while a person reads
the form (``work/warming.py``), so they have a line of their own.

``--base``: any checkpoint (``full_size.py`` makes one). ``--ahead``: encode every photo before the first step, as on a
card; otherwise as the program chooses (on a CPU: when a step meets it).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REACH_S = 3.0
ENCODING = ("photos encoded", "captions encoded")
STEPS = "an ordinary step"
IMPORTS = "our imports, once a program"
PREPARED, STILL = "photos prepared, once a set", "looking whether they are still prepared"
BUILT = "networks around the weights in memory"
FIRST_TIME, EVERY_TIME = (PREPARED, BUILT), (STILL, BUILT)  # what is done before ``train()``
Times = tuple[float, float]  # CPU and wall seconds


def now() -> Times:
    return time.process_time(), time.perf_counter()


def since(began: Times) -> Times:
    cpu, wall = now()
    return cpu - began[0], wall - began[1]


class Parts:
    """Times of named parts, each without what is timed within it; ``steps``: of each finished step, likewise."""

    def __init__(self) -> None:
        self.taken: dict[str, list[Times]] = defaultdict(list)
        self._within: list[Times] = []

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Time a part."""
        self._within.append((0.0, 0.0))
        began = now()
        try:
            yield
        finally:
            cpu, wall = since(began)
            inner = self._within.pop()
            self.taken[name].append((cpu - inner[0], wall - inner[1]))
            if self._within:
                outer = self._within[-1]
                self._within[-1] = (outer[0] + cpu, outer[1] + wall)

    def watched(self, place: Any, attribute: str, name: str) -> Callable[[], None]:
        """Time every call of ``place.attribute``; gives what undoes it."""
        found = vars(place)[attribute]
        act = found.__func__ if isinstance(found, classmethod) else found

        @functools.wraps(act)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.of(name):
                return act(*args, **kwargs)

        setattr(place, attribute, classmethod(timed) if isinstance(found, classmethod) else timed)
        return lambda: setattr(place, attribute, found)

    def sum(self, name: str) -> Times:
        """All calls together."""
        return sum(cpu for cpu, _ in self.taken[name]), sum(wall for _, wall in self.taken[name])


@contextlib.contextmanager
def watching(parts: Parts) -> Iterator[None]:
    """Time the parts of ``train()`` where it calls them."""
    from lora_forge.train import cache, encoding, fingerprints, network, run, step

    places = [
        (fingerprints, "module_fingerprint", "fingerprints"),
        (fingerprints, "prepared_fingerprint", "fingerprints"),
        (encoding, "module_fingerprint", "fingerprints"),
        (cache, "module_fingerprint", "fingerprints"),
        (network.Network, "attach", "adapters put on"),
        (run, "trained_of", "optimizer"),
        (run, "build_optimizer", "optimizer"),
        (run, "encode_set", ENCODING[0]),
        (encoding.LatentsWhenMet, "_encoded", ENCODING[0]),
        (cache.CachedText, "warm", ENCODING[1]),
        (cache.CachedText, "get", ENCODING[1]),
        (step.Stepper, "run", STEPS),
    ]
    undo = [parts.watched(place, name, what) for place, name, what in places if name in vars(place)]
    try:
        yield
    finally:
        for back in undo:
            back()


def one_run(model: Any, prepared: Any, config: Any, work: Path) -> tuple[Times, Parts]:
    """A run of a few steps: from the call to its first ``StepDone``, and its parts up to there."""
    from lora_forge.events import CommandBox, StepDone
    from lora_forge.train.run import train

    parts, reached, first = Parts(), [], {}
    began = now()

    def emit(event: object) -> None:
        if isinstance(event, StepDone):
            reached.append(since(began))
            first.update({name: list(taken) for name, taken in parts.taken.items()} if not first else {})

    with watching(parts):
        train(model, prepared, config, work / config.name, work / "out", emit, CommandBox())
    steps = parts.taken[STEPS][1:]
    parts.taken.clear()
    parts.taken.update(first)
    ordinary = tuple(
        min(statistics.median(each), first[STEPS][0][at]) for at, each in enumerate(zip(*steps, strict=True))
    )
    cpu, wall = first[STEPS][0]
    parts.taken[STEPS] = [(ordinary[0], ordinary[1])]
    parts.taken["the first step's own"] = [(cpu - ordinary[0], wall - ordinary[1])]
    told = [parts.sum(name) for name in parts.taken]
    rest = tuple(whole - sum(each[at] for each in told) for at, whole in enumerate(reached[0]))
    parts.taken["everything else"] = [(rest[0], rest[1])]
    return reached[0], parts


def before(arguments: argparse.Namespace, work: Path) -> tuple[dict[str, Times], Any, Any, Any]:
    """What comes before ``train()``, timed: (times, model, prepared, config)."""
    import torch
    from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401 - a WebUI has them

    times = {}
    began = now()
    from lora_forge.model.build import build_model
    from lora_forge.train import run  # noqa: F401

    times[IMPORTS] = since(began)
    from photos import write_photos

    from lora_forge.dataset.importing import import_source
    from lora_forge.dataset.prepare import PrepareSettings, prepare
    from lora_forge.dataset.project import Project
    from lora_forge.model.devices import pick_device, pick_dtype
    from lora_forge.model.read import read_checkpoint

    device = pick_device(arguments.device)
    dtype = pick_dtype(arguments.precision, device)
    config = config_of(arguments)
    write_photos(work / "photos", arguments.photos)
    project = Project.create(work / "project")
    import_source(work / "photos", project, lambda _: None)
    began = now()
    prepared = prepare(project, PrepareSettings.from_config(config), lambda _: None)
    times[PREPARED] = since(began)
    began = now()
    prepare(project, PrepareSettings.from_config(config), lambda _: None)
    times[STILL] = since(began)
    checkpoint = read_checkpoint(arguments.base, dtype)
    checkpoint.tensors = {name: tensor.to(device, copy=True) for name, tensor in checkpoint.tensors.items()}
    torch.zeros(1, device=device)
    began = now()
    model = build_model(checkpoint, device)
    times[BUILT] = since(began)
    return times, model, prepared, config


def config_of(arguments: argparse.Namespace) -> Any:
    from lora_forge.config import TrainConfig

    px = arguments.resolution
    return TrainConfig(
        rank=16, alpha=8, resolution_px=px, bucket_min_px=px // 2, bucket_max_px=px * 2, repeats=1, max_steps=3,
        te_learning_rate=0.0, validation_photos=0, shuffle_tags=False, schedule="constant", device=arguments.device,
        precision=arguments.precision, encode_ahead="on" if arguments.ahead else "auto",
    )  # fmt: skip


def shown(times: Times) -> str:
    return f"{times[0]:.2f} | {times[1]:.2f}"


def table(times: dict[str, Times], runs: list[tuple[Times, Parts]]) -> str:
    """Markdown: first call, later call; CPU and wall seconds."""
    empty = " | "
    lines = [
        "| part | first run, CPU s | wall s | a later run, CPU s | wall s |",
        "|---|---|---|---|---|",
        *(f"| {name} | {shown(taken)} | {empty} |" for name, taken in times.items()),
    ]
    for name in dict.fromkeys(name for _, parts in runs for name in parts.taken):
        lines.append(f"| {name} | {' | '.join(shown(parts.sum(name)) for _, parts in runs)} |")
    lines.append(f"| **`train()` to the first step done** | {' | '.join(shown(whole) for whole, _ in runs)} |")
    lines += sums(times, runs)
    return "\n".join(lines)


def sums(times: dict[str, Times], runs: list[tuple[Times, Parts]]) -> list[str]:
    """The rows that the reach is about."""
    first, later = [
        tuple(whole[at] - sum(parts.sum(name)[at] for name in (*ENCODING, STEPS)) for at in (0, 1))
        for whole, parts in runs
    ]
    seen = [tuple(sum(times[name][at] for name in names) for at in (0, 1)) for names in (FIRST_TIME, EVERY_TIME)]
    first, later = [(a[0] + b[0], a[1] + b[1]) for a, b in zip((first, later), seen, strict=True)]
    with_imports = tuple(first[at] + times[IMPORTS][at] for at in (0, 1))
    what = "press of Start to first step, without encoding and an ordinary step"
    return [
        f"| **{what} (reach {REACH_S:g} s)** | {shown(first)} | {shown(later)} |",
        f"| the same, where nothing was imported before | {shown((with_imports[0], with_imports[1]))} |  |  |",
    ]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--resolution", type=int, default=512)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", help="bf16 is what a CPU is compared in")
    parser.add_argument("--ahead", action="store_true", help="encode all photos before the first step")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        times, model, prepared, config = before(arguments, work)
        runs = []
        for name in ("first", "later"):
            for cached in (work / "project" / "cache").rglob("*"):
                cached.unlink() if cached.is_file() else None
            runs.append(one_run(model, prepared, config.replace(name=name), work))
        print(f"{arguments.photos} photos, {arguments.resolution} px, {model.device}, {model.dtype}\n")
        print(table(times, runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
