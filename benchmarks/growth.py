"""python benchmarks/growth.py --base sd15.safetensors --out growth.json --chart docs/growth.svg [--quick]

How the cost of a run grows: with the photos (24, 240, 2,400), the resolution (512, 768, 1024; 256 too on a CPU), the
rank (8 to 128), and with adapters in the text encoder. UNet adapters of rank 16 at 256 px (512 on a card), batch 1,
AdamW, bf16, one thread on a CPU; each changes one thing. Ordinary command lines, watched from outside by ``meter.py``:
CPU seconds and anonymous memory of the process, or with ``--device cuda`` wall seconds and torch's memory of the card.

The photos are counted on the bundled toy world checkpoint at 64 px, since a full-size VAE needs a second a photo on
a CPU: importing and preparing, from the command to the first step with every photo encoded before it (as on a card),
the same once more from the cache and with photos encoded when met, and a step. The other three are measured with
``--base`` at full size. It prints a table and a sentence each, and draws one chart; ``--out`` keeps every figure, and
takes those that are there, so a run that was cut off goes on. ``--quick`` rehearses on the toy world alone, tiny.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from growth_chart import Panel, Series, draw
from meter import clean_environment, watch
from photos import write_photos
from trainers import ROOT, Task, ours_command, prepare_ours, step_pattern, stop_if_failed

from lora_forge.atomic import write_json, write_text
from lora_forge.toyworld import checkpoint_path

WARM_UP = 1
TEXT = "te_learning_rate=5e-05"


@dataclass(frozen=True)
class Sizes:
    """What is measured. ``steps``: (of the photos' runs, of a rank's, of a resolution's)."""

    photos: tuple[int, ...]
    resolutions: tuple[int, ...]
    ranks: tuple[int, ...]
    resolution_px: int
    steps: tuple[int, int, int]


FULL = Sizes((24, 240, 2400), (256, 512, 768, 1024), (8, 16, 32, 64, 128), 256, (20, 4, 2))
CARD = Sizes((24, 240, 2400), (512, 768, 1024), (8, 16, 32, 64, 128), 512, (60, 60, 60))
QUICK = Sizes((6, 24), (64, 128), (8, 128), 64, (6, 4, 3))


@dataclass
class Cost:
    """Seconds and bytes. ``start_s``: to the first step done; ``file_bytes``: the LoRA file."""

    start_s: float
    step_s: float
    peak_bytes: int
    file_bytes: int


class Growth:
    """Measures what ``path`` does not hold yet, and keeps it there."""

    def __init__(self, base: Path, device: str, sizes: Sizes, path: Path, work: Path) -> None:
        self._base, self._device, self._sizes, self._path, self._work = base, device, sizes, path, work
        self._kept: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.is_file() else {}

    def photos(self, count: int) -> dict[str, float]:
        """Seconds to prepare, to the first step (all encoded before; again, from the cache and as met), and a step."""

        def measure() -> dict[str, float]:
            place = self._place(count)
            prepared = prepare_ours(place, 64)
            task = Task(checkpoint_path(), self._sizes.steps[0], 64, device=self._device)
            first = self._cost(replace(task, settings=("encode_ahead=on",)), place)
            again = self._cost(task, place)
            shutil.rmtree(place / "project" / "cache")
            met = self._cost(replace(task, settings=("encode_ahead=off",)), place)
            spent = prepared.cpu_s if self._is_cpu else prepared.wall_s
            ends = {"start_s": first.start_s, "again_s": again.start_s, "met_s": met.start_s}
            return {"prepare_s": spent, **ends, "step_s": again.step_s}

        return self._keep(f"photos {count}", measure)

    def training(self, steps: int, resolution_px: int, rank: int = 16, settings: tuple[str, ...] = ()) -> Cost:
        """One photo, full size: its encoding is over when the first step, which is not counted, is done."""

        def measure() -> dict[str, float]:
            place = self._place(1)
            prepare_ours(place, resolution_px)
            # many repeats: each end of an epoch saves the state, which is no step's cost
            common = {"device": self._device, "rank": rank, "alpha": rank // 2, "repeats": 1000}
            task = Task(self._base, steps, resolution_px, **common)
            return vars(self._cost(replace(task, settings=settings), place))

        name = f"{resolution_px} px, rank {rank}, {'with' if settings else 'without'} text encoder"
        values = self._keep(name, measure)
        return Cost(values["start_s"], values["step_s"], int(values["peak_bytes"]), int(values["file_bytes"]))

    @property
    def _is_cpu(self) -> bool:
        return self._device == "cpu"

    def _place(self, photos: int) -> Path:
        shutil.rmtree(self._work / "place", ignore_errors=True)
        write_photos(self._work / "place" / "photos", photos, ".jpg")
        return self._work / "place"

    def _cost(self, task: Task, place: Path) -> Cost:
        out = Path(tempfile.mkdtemp(prefix="run_", dir=place))
        environment = clean_environment(1 if self._is_cpu else 4)
        log, pattern = place / f"{out.name}.log", step_pattern(True)
        run = watch("ours", ours_command(task, place, out), pattern, environment=environment, log=log, cwd=ROOT)
        stop_if_failed(run)
        size = next(out.glob("*.safetensors")).stat().st_size
        first = run.mark(1)
        if self._is_cpu:
            return Cost(first.cpu_s, run.mean_cpu(WARM_UP), run.peak_anon, size)
        return Cost(first.wall_s, 1 / run.steps_per_s(WARM_UP), card_bytes(log), size)

    def _keep(self, name: str, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        if name not in self._kept:
            self._kept[name] = measure()
            write_json(self._path, self._kept)
            figures = ", ".join(f"{key} {value:.4g}" for key, value in self._kept[name].items())
            print(f"{name}: {figures}", file=sys.stderr, flush=True)
        return self._kept[name]


def card_bytes(log: Path) -> int:
    """The most that torch had on the card in any step."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if '"StepDone"' in line]
    return max((json.loads(line)["memory_bytes"] or 0 for line in lines), default=0)


def photo_panel(growth: Growth, sizes: Sizes, unit: str) -> tuple[Panel, str]:
    """The photos' part of the chart, and what it says."""
    rows = [growth.photos(count) for count in sizes.photos]
    parts = {
        "import and prepare": "prepare_s",
        "start, all encoded before": "start_s",
        "start, from the cache": "again_s",
        "start, encoded when met": "met_s",
        "a step": "step_s",
    }
    series = [Series(name, tuple(row[key] for row in rows)) for name, key in parts.items()]
    ticks = tuple((f"{count:,}",) for count in sizes.photos)
    first, last, more = rows[0], rows[-1], sizes.photos[-1] - sizes.photos[0]

    def each(key: str) -> str:
        ms = 1000 * (last[key] - first[key]) / more
        return f"{ms:.1f} ms" if ms >= 0.1 else "under 0.1 ms"

    sentence = (
        f"Photos: each one more costs {each('prepare_s')} once to import and prepare, {each('start_s')} to encode "
        f"before the first step (toy world, 64 px) and {each('again_s')} at a start from the cache; encoded when met, "
        f"a start takes {last['met_s']:.1f} s with {sizes.photos[-1]:,} photos ({first['met_s']:.1f} s with "
        f"{sizes.photos[0]}), and a step {last['step_s'] / first['step_s']:.2f} times as long."
    )
    return Panel(f"by photos (toy world, 64 px): {unit}", ticks, tuple(series), is_log=True), sentence


def resolution_panel(growth: Growth, sizes: Sizes, unit: str) -> tuple[Panel, str]:
    """The resolution's."""
    costs = [growth.training(sizes.steps[2], px) for px in sizes.resolutions]
    ticks = tuple((f"{px} px", memory(cost)) for px, cost in zip(sizes.resolutions, costs, strict=True))
    pairs = zip(sizes.resolutions, costs, sizes.resolutions[1:], costs[1:], strict=False)
    steps = [
        f"{(wide / px) ** 2:.1f} times the pixels, {dear.step_s / cheap.step_s:.1f} times the step ({px} to {wide} px)"
        for px, cheap, wide, dear in pairs
    ]
    sentence = f"Resolution: {'; '.join(steps)}; memory {memory(costs[0])} to {memory(costs[-1])}."
    series = (Series("a step", tuple(cost.step_s for cost in costs)),)
    return Panel(f"a step by resolution (rank 16): {unit}", ticks, series, is_log=True), sentence


def rank_panel(growth: Growth, sizes: Sizes, unit: str) -> tuple[Panel, str]:
    """The rank's."""
    costs = [growth.training(sizes.steps[1], sizes.resolution_px, rank) for rank in sizes.ranks]
    ticks = tuple((str(rank), memory(cost), file_size(cost)) for rank, cost in zip(sizes.ranks, costs, strict=True))
    sentence = (
        f"Rank: from {sizes.ranks[0]} to {sizes.ranks[-1]} a step takes {costs[-1].step_s / costs[0].step_s:.2f} times "
        f"as long, memory goes from {memory(costs[0])} to {memory(costs[-1])} and the file from {file_size(costs[0])} "
        f"to {file_size(costs[-1])}."
    )
    series = (Series("a step", tuple(cost.step_s for cost in costs)),)
    return Panel(f"a step by rank ({sizes.resolution_px} px): {unit}", ticks, series), sentence


def text_panel(growth: Growth, sizes: Sizes, unit: str) -> tuple[Panel, str]:
    """The text encoder's."""
    steps, px = sizes.steps[1], sizes.resolution_px
    without, both = growth.training(steps, px), growth.training(steps, px, settings=(TEXT,))
    ticks = tuple((name, memory(cost), file_size(cost)) for name, cost in (("UNet", without), ("UNet and text", both)))
    sentence = (
        f"Text encoder: adapters in it too make a step {both.step_s / without.step_s:.2f} times as long, memory "
        f"{memory(both)} instead of {memory(without)} and the file {file_size(both)} instead of {file_size(without)}."
    )
    series = (Series("a step", (without.step_s, both.step_s)),)
    return Panel(f"a step by what is trained ({px} px): {unit}", ticks, series, is_bars=True), sentence


def memory(cost: Cost) -> str:
    return f"{cost.peak_bytes / 1e9:.1f} GB"


def file_size(cost: Cost) -> str:
    return f"{cost.file_bytes / 1e6:.0f} MB"


def markdown(panel: Panel) -> str:
    """A panel's figures."""
    head = f"| {panel.title} | {' | '.join(' / '.join(tick) for tick in panel.ticks)} |"
    lines = [head, "|---" * (len(panel.ticks) + 1) + "|"]
    lines += [f"| {one.name} | {' | '.join(f'{value:.3g}' for value in one.values)} |" for one in panel.series]
    return "\n".join(lines)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, help="SD1.5 checkpoint; without it the toy world, which says nothing")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--photos", type=numbers, metavar="N,N", help="counts of photos")
    parser.add_argument("--resolutions", type=numbers, metavar="PX,PX")
    parser.add_argument("--ranks", type=numbers, metavar="R,R")
    parser.add_argument("--quick", action="store_true", help="a rehearsal: tiny, on the toy world")
    parser.add_argument("--out", type=Path, help="JSON with every figure; those in it are not measured again")
    parser.add_argument("--chart", type=Path, help="the chart, SVG")
    return parser.parse_args()


def sizes_of(arguments: argparse.Namespace) -> Sizes:
    """What was chosen, over what the machine is measured at."""
    sizes = QUICK if arguments.quick else FULL if arguments.device == "cpu" else CARD
    chosen = {name: getattr(arguments, name) for name in ("photos", "resolutions", "ranks")}
    return replace(sizes, **{name: value for name, value in chosen.items() if value})


def main() -> int:
    arguments = parse_arguments()
    sizes, base = sizes_of(arguments), arguments.base
    if arguments.quick or base is None:
        base = checkpoint_path()
    unit = "CPU seconds" if arguments.device == "cpu" else "seconds"
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        growth = Growth(base, arguments.device, sizes, arguments.out or work / "growth.json", work)
        makers: Sequence[Callable[[Growth, Sizes, str], tuple[Panel, str]]]
        makers = (photo_panel, resolution_panel, rank_panel, text_panel)
        made = [maker(growth, sizes, unit) for maker in makers]
    for panel, sentence in made:
        print(f"{sentence}\n\n{markdown(panel)}\n")
    if arguments.chart:
        write_text(arguments.chart, draw([panel for panel, _ in made]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
