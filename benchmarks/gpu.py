"""python benchmarks/gpu.py --sd1 sd15.safetensors --sdxl sdxl.safetensors --kohya DIR --kohya-python EXE --out DIR

Every figure that issue 7 asks for on a graphics card, beside kohya sd-scripts (an unmodified checkout) at the same
settings, photos, seed and precision, as one table with its reach; whether the loss curves agree; each switch of ours on
and off; and what the benchmarks of single rows print (``gpu_others.py`` lists them). UNet only, rank 16 alpha 8, AdamW,
24 photographs ten times an epoch. One command, and it may be cut off: ``--out`` keeps each finished run, the next call
goes on from there, ``--only`` takes some of them, and the table is printed of whatever there is.

Checkpoints come from ``full_size.py`` (random weights cost the same as trained ones). Steps a second are those of the
median block of ten steps behind the warm-up. Memory is that of the whole card as ``nvidia-smi`` says four times a
second, less what was in use before the start (contexts and caching allocators included, for both alike), so let
nothing else use the card. kohya's Python needs tensorboardX (or tensorboard), which it writes its losses with;
``--kohya-flag`` adds to its command, ``--set`` to ours.

``--cpu-rehearsal`` runs the same code without a card: 64 px, six steps, anonymous memory in place of the card's; on the
bundled toy world checkpoint (which only ours can read) where no ``--sd1`` is given. Its figures mean nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpu_others import Other, others, run_others
from gpu_table import CARD, Result, tables
from meter import clean_environment, watch
from trainers import ROOT, Kohya, Task, kohya_command, losses, ours_command, prepare_ours, step_pattern, write_inputs

from lora_forge.config import TrainConfig
from lora_forge.toyworld import checkpoint_path

REPEATS = 10
OURS_ONLY = "+"  # in a run's name, before the settings that are ours alone
SWITCHES = ("graphs=off", "gradient_checkpointing=on", "base_storage=fp8")
PREVIEWS = ("preview_every_steps=50", "preview_share=0.1")
FIELDS = frozenset(field.name for field in dataclasses.fields(TrainConfig))


def tasks(arguments: argparse.Namespace) -> dict[str, Task]:
    """Every training by its name: a family, a batch, what is changed."""
    common = {
        "steps": arguments.steps,
        "device": "cpu" if arguments.cpu_rehearsal else "cuda",
        "precision": arguments.precision,
        "repeats": REPEATS,
        "settings": tuple(arguments.settings),
        "kohya_flags": tuple(arguments.kohya_flag),
    }
    made: dict[str, Task] = {}
    if arguments.sd1:
        made["sd15_b1"] = Task(arguments.sd1, resolution_px=64 if arguments.cpu_rehearsal else 512, **common)
        made["sd15_b4"] = dataclasses.replace(made["sd15_b1"], batch=4)
        made["sd15_b1_lean"] = dataclasses.replace(made["sd15_b1"], has_checkpointing=True)
    if arguments.sd1:
        length = 6 if arguments.cpu_rehearsal else arguments.preview_steps
        longer = dataclasses.replace(made["sd15_b1"], steps=length)
        often = ("preview_every_steps=2",) if arguments.cpu_rehearsal else ()
        made[f"sd15_b1{OURS_ONLY}previews"] = with_settings(longer, *PREVIEWS, *often)
    if arguments.sdxl:
        size = 64 if arguments.cpu_rehearsal else 1024
        made["sdxl_b1"] = Task(arguments.sdxl, resolution_px=size, is_sdxl=True, **common)
        made["sdxl_b1_lean"] = dataclasses.replace(made["sdxl_b1"], has_checkpointing=True)
        if "base_storage" in FIELDS:
            made["sdxl_b1_fp8"] = with_settings(made["sdxl_b1_lean"], "base_storage=fp8", kohya="--fp8_base")
    for name, switch in itertools.product(("sd15_b1", "sdxl_b1"), SWITCHES):
        if name in made and switch.partition("=")[0] in FIELDS:
            made[f"{name}{OURS_ONLY}{switch}"] = with_settings(made[name], switch)
    return made


def with_settings(task: Task, *settings: str, kohya: str = "") -> Task:
    """The task with more settings of ours (those that this version has) and a flag of kohya's."""
    known = tuple(setting for setting in settings if setting.partition("=")[0] in FIELDS)
    flags = (*task.kohya_flags, kohya) if kohya else task.kohya_flags
    return dataclasses.replace(task, settings=(*task.settings, *known), kohya_flags=flags)


@contextmanager
def card_memory(card: int) -> Iterator[list[int]]:
    """While this is open: [bytes in use on the card at the start, the most since].

    Raises:
        SystemExit: no ``nvidia-smi``.
    """
    query = ["nvidia-smi", f"--id={card}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    if shutil.which(query[0]) is None:
        sys.exit("nvidia-smi is not here: this benchmark reads the card's memory with it.")
    now = int(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]) * 2**20
    seen = [now, now]
    process = subprocess.Popen([*query, "--loop-ms=250"], stdout=subprocess.PIPE, text=True)

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().isdigit():
                seen[1] = max(seen[1], int(line) * 2**20)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield seen
    finally:
        process.terminate()
        process.wait()
        reader.join()


class Bench:
    """Runs what is not there yet. ``work``: photographs and projects; ``out``: a JSON file and a log for each run."""

    def __init__(self, arguments: argparse.Namespace, work: Path, out: Path) -> None:
        self._work, self._out = work, out
        self._card = None if arguments.cpu_rehearsal else int(arguments.card)
        self._photos, self._threads = arguments.photos, 1 if arguments.cpu_rehearsal else os.cpu_count() or 1

    def result(self, name: str, task: Task, kohya: Kohya | None, is_wanted: bool) -> Result | None:
        """From an earlier call with the same settings; or, where it ``is_wanted``, measured now."""
        name = f"{name}.{'kohya' if kohya else 'ours'}"
        asked = json.loads(json.dumps(dataclasses.asdict(task), default=str))
        if (found := Result.load(self._out / f"{name}.json", asked)) is not None or not is_wanted:
            return found
        result = self._measure(name, task, kohya)
        result.save(self._out / f"{name}.json", asked)
        print(f"{name}: {result.said()}", file=sys.stderr, flush=True)
        return result

    def _inputs(self, resolution_px: int) -> Path:
        place = self._work / str(resolution_px)
        if not place.exists():
            write_inputs(place, self._photos, REPEATS)
            prepare_ours(place, resolution_px)
        return place

    def _measure(self, name: str, task: Task, kohya: Kohya | None) -> Result:
        place, log = self._inputs(task.resolution_px), self._out / f"{name}.log"
        out = place / "".join(char if char.isalnum() else "_" for char in name)
        out.mkdir()
        shutil.rmtree(place / "project" / "cache", ignore_errors=True)
        environment = clean_environment(self._threads)
        command = kohya_command(task, kohya, place, out) if kohya else ours_command(task, place, out)
        pattern, cwd = step_pattern(kohya is None), kohya.folder if kohya else ROOT
        if self._card is None:
            run = watch(name, command, pattern, environment=environment, log=log, cwd=cwd)
            used = run.peak_anon
        else:
            environment.update(CUDA_VISIBLE_DEVICES=str(self._card), CUDA_DEVICE_ORDER="PCI_BUS_ID")
            with card_memory(self._card) as seen:
                run = watch(name, command, pattern, environment=environment, log=log, cwd=cwd)
            used = seen[1] - seen[0]
        run.losses = losses(kohya is None, log, out)
        journal = place / "project" / "runs" / out.name / "journal.jsonl"
        return Result.of(run, used, None if kohya else journal)


def listed_others(arguments: argparse.Namespace) -> tuple[Other, ...]:
    return others(arguments.sd1, arguments.precision, arguments.cpu_rehearsal)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sd1", type=Path, help="SD1.5 checkpoint, LDM layout")
    parser.add_argument("--sdxl", type=Path, help="SDXL checkpoint, LDM layout")
    parser.add_argument("--kohya", type=Path, help="checkout of kohya-ss/sd-scripts")
    parser.add_argument("--kohya-python", type=Path, default=Path(sys.executable), help="Python that runs kohya")
    parser.add_argument("--kohya-flag", action="append", default=[], metavar="FLAG", help="more of kohya's; repeatable")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE", help="more of ours")
    parser.add_argument("--card", type=int, default=0)
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp16"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--preview-steps", type=int, default=1000, help="length of the run with previews")
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--out", type=Path, help="keep finished runs and logs here, and take those that are there")
    parser.add_argument("--only", metavar="NAMES", help="only runs whose name starts with one of these, by commas")
    parser.add_argument("--no-others", action="store_true", help="leave out the rows with a benchmark of their own")
    parser.add_argument("--cpu-rehearsal", action="store_true", help="the same code without a card, tiny")
    arguments = parser.parse_args()
    if arguments.cpu_rehearsal:
        arguments.steps, arguments.photos = 6, 3
        if not arguments.sd1:
            arguments.sd1, arguments.kohya = checkpoint_path(), None
    return arguments


def main() -> int:
    arguments = parse_arguments()
    kohya = Kohya(arguments.kohya.resolve(), arguments.kohya_python) if arguments.kohya else None
    wanted = tuple(arguments.only.split(",")) if arguments.only else ("",)
    ours: dict[str, Result] = {}
    theirs: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as temporary:
        out = (arguments.out or Path(temporary) / "out").resolve()
        out.mkdir(parents=True, exist_ok=True)
        bench = Bench(arguments, Path(temporary), out)
        for name, task in tasks(arguments).items():
            programs = [(None, ours), *([(kohya, theirs)] if kohya and OURS_ONLY not in name else [])]
            for program, results in programs:
                if (result := bench.result(name, task, program, name.startswith(wanted))) is not None:
                    results[name] = result
    if kohya:
        print(f"kohya sd-scripts {kohya.version()}, {arguments.precision}\n")
    if arguments.cpu_rehearsal:
        print("A rehearsal on a CPU at 64 px, whatever the rows say: no figure means anything.\n")
    more, texts = ([], []) if arguments.no_others or not arguments.sd1 else run_others(listed_others(arguments))
    print(tables(ours, theirs, more, OURS_ONLY, "process" if arguments.cpu_rehearsal else CARD))
    print("".join(f"\n{text}\n" for text in texts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
