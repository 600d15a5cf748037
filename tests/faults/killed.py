"""Run as a program: kill a run at many exact moments, resume it, and compare with one that was let alone.

A moment is just before or just after a call that matters (a file synced, renamed, removed, opened, a folder made, a
pass through a network, an event told). A run is first let through to count its moments; then children, forked from a
process that has only imported torch and built the model, kill themselves with SIGKILL at chosen ones, or are killed by
the system in the middle of a write, at the very byte that a limit on file sizes names. Prints one JSON object.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import random
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.errors import LoraForgeError
from lora_forge.events import CommandBox, Event, StageStarted, StepDone
from lora_forge.ports import BorrowedModel
from lora_forge.train.network import Network
from lora_forge.train.run import train
from tests.faults import checks
from tests.train import tiny

KILLED = (-signal.SIGKILL, -signal.SIGXFSZ)
LORA_HALF, STATE_HALF, CACHE_HALF = 20_000, 100_000, 1_000  # bytes within files of 37, 122 and 1.2 kB
Act = Callable[[Event], None]


class Moments:
    """Counts the moments of this process from now on and calls ``at`` with each one's number and name."""

    def __init__(self, model: BorrowedModel, at: Callable[[int, str], None]) -> None:
        self._at, self.count = at, 0
        for name in ("replace", "fsync", "unlink", "mkdir", "open"):
            setattr(os, name, self._around(f"os.{name}", getattr(os, name)))
        for name, network in (("unet", model.unet), ("vae", model.vae.encoder)):
            network.register_forward_pre_hook(lambda *_, name=name: self.passed(name))

    def passed(self, name: str) -> None:
        self.count += 1
        self._at(self.count, name)

    def _around(self, name: str, call: Any) -> Any:
        @functools.wraps(call)
        def around(*args: Any, **kwargs: Any) -> Any:
            where = " ".join(str(arg) for arg in args[:2])
            self.passed(f"before {name} {where}")
            result = call(*args, **kwargs)
            self.passed(f"after {name} {where}")
            return result

        return around

    def emit(self, event: Event) -> None:
        self.passed(f"told {type(event).__name__}")


def fork(work: Callable[[], None]) -> int:
    """The exit code of ``work`` in a child; minus the signal that ended it."""
    return ended(fork_off(work))


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def fork_off(work: Callable[[], None]) -> int:
    """The process id of a child that does ``work``."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - a fork must never return into its parent's work
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    return child


@dataclasses.dataclass(frozen=True)
class Bench:
    """Where all this happens. ``is_ahead``: photos are encoded before the first step."""

    root: Path
    prepared: PreparedSet
    model: BorrowedModel
    is_ahead: bool

    @property
    def straight(self) -> Path:
        return self.root / "straight"

    def train(self, where: Path, emit: Any = None) -> None:
        """Start, or go on; the model must be as it was afterwards."""
        settings = checks.SETTINGS.replace(encode_ahead="on" if self.is_ahead else "off")
        before = checks.marks(self.model)
        is_resumed = (where / "run" / "config.json").exists()
        result = tiny.run(where, settings, self._with_cache(where), self.model, emit, resume=is_resumed)
        assert result.outcome == "done"
        if emit is None:
            assert checks.marks(self.model) == before

    def _with_cache(self, where: Path) -> PreparedSet:
        """The same photos, with the folder that the cache lies beside in ``where``: each run writes one of its own."""
        place = where / "prepared"
        if not place.exists():
            place.mkdir(parents=True)
            for image in self.prepared.images:
                (place / image.path.name).write_bytes(image.path.read_bytes())
        images = [dataclasses.replace(image, path=place / image.path.name) for image in self.prepared.images]
        return dataclasses.replace(self.prepared, images=tuple(images))

    def moments(self) -> list[str]:
        """The name of each moment of an uninterrupted run, from a run that is let through."""
        where, listed = self.root / "counted", self.root / "moments.json"

        def work() -> None:
            names: list[str] = []
            self._with_cache(where)
            moments = Moments(self.model, lambda _, name: names.append(name))
            self.train(where, moments.emit)
            listed.write_text(json.dumps(names[:]), encoding="utf-8")

        assert fork(work) == 0
        found: list[str] = json.loads(listed.read_text(encoding="utf-8"))
        return found

    def killed_at(self, number: int) -> int:
        """Let a run kill itself at a moment, then see what it left and resume it; the step it had come to."""

        def at(count: int, _: str) -> None:
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        where = self.root / f"moment{number}"
        self._with_cache(where)

        def work() -> None:
            self.train(where, Moments(self.model, at).emit)

        return self._checked(where, work)

    def killed_in_write(self, name: str, limit: int, begins: Callable[[Event], bool]) -> int:
        """As :meth:`killed_at`, but by the system at byte ``limit`` of the first file that grows so large."""
        where = self.root / name
        self._with_cache(where)

        def emit(event: Event) -> None:
            if begins(event):
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        return self._checked(where, lambda: self.train(where, emit))

    def started_twice(self, name: str, *, is_one_run: bool) -> list[str]:
        """Two programs start the same run, or runs of two projects under one name, at the same moment.

        Gives how the other one was refused; the winner's files must be those of a run that was alone.
        """
        where, gate = self.root / name, self.root / f"{name}.gate"
        places = [where, where if is_one_run else self.root / f"{name}-other"]
        self._with_cache(where)

        def work(number: int) -> None:
            settings, prepared = checks.SETTINGS.replace(encode_ahead="on"), self._with_cache(where)
            while not gate.exists():
                pass
            try:
                said = train(
                    *(self.model, prepared, settings, places[number] / "run", where / "out"),
                    *(tiny.Recorder(), CommandBox()),
                ).outcome
            except LoraForgeError as error:
                said = error.message()
            (self.root / f"{name}.{number}").write_text(said, encoding="utf-8")

        children = [fork_off(lambda number=number: work(number)) for number in (0, 1)]  # type: ignore[misc]
        gate.touch()
        assert [ended(child) for child in children] == [0, 0]
        said = [(self.root / f"{name}.{number}").read_text(encoding="utf-8") for number in (0, 1)]
        assert sorted(said, key=lambda one: one != "done")[0] == "done", said
        assert checks.loras(where) == checks.expected(self.straight)[0]
        return [one for one in said if one != "done"]

    def _checked(self, where: Path, work: Callable[[], None]) -> int:
        assert fork(work) in KILLED, where.name
        checks.assert_saved_is_right(where, self.straight)
        step = max(checks.steps_of(where), default=0)
        assert fork(lambda: self.train(where)) == 0, where.name
        checks.assert_same_end(where, self.straight)
        return step


def chosen(moments: list[str], rng: random.Random) -> list[int]:
    """Two moments of each step, of what goes before the first and of what follows the last, and two around the renaming
    of each kind of file."""
    stretches: list[list[int]] = [[]]
    for number, name in enumerate(moments, start=1):
        if name == "told StepDone":
            stretches.append([])
        stretches[-1].append(number)
    points = {point for stretch in stretches for point in rng.sample(stretch, 2)}
    for kind in ("/out/", "/state/", "/cache/"):
        renames = [number for number, name in enumerate(moments, 1) if "os.replace" in name and kind in name]
        points |= set(rng.sample(renames, 2))
    return sorted(points)


def is_step(number: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, StepDone) and event.step == number


def is_encoding(event: Event) -> bool:
    return isinstance(event, StageStarted) and event.stage == "encode"


def main(root: Path, seed: int) -> None:
    torch.set_num_threads(1)
    rng, story = random.Random(seed), dict[str, Any]()
    prepared, model = tiny.build_project(root / "project"), tiny.build_model()
    with Network.attach(model, checks.SETTINGS):
        pass  # peft's first look at each kind of layer takes half a second, which no child need pay again
    bench = Bench(root, prepared, model, is_ahead=True)
    assert fork(lambda: bench.train(bench.straight)) == 0
    moments = bench.moments()
    points = chosen(moments, rng)
    story["moments"], story["points"] = len(moments), points
    story["steps"] = [bench.killed_at(point) for point in points]
    story["in_write"] = [
        bench.killed_in_write("cache", CACHE_HALF, is_encoding),
        bench.killed_in_write("state", STATE_HALF, is_step(4)),
        bench.killed_in_write("lora", LORA_HALF, is_step(3)),
        bench.killed_in_write("second-lora", LORA_HALF, is_step(6)),
        bench.killed_in_write("last-state", STATE_HALF, is_step(9)),
    ]
    story["one_run"] = bench.started_twice("one-run", is_one_run=True)
    story["one_name"] = bench.started_twice("one-name", is_one_run=False)
    print(json.dumps(story))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
