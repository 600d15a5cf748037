"""Run as a program: each scenario in processes that find each other as torchrun's do; prints what each one met.

Children are forked from a process that has only imported torch, so that a scenario costs a second, not an import.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.errors import LoraForgeError
from lora_forge.events import Command, CommandBox, StepDone
from lora_forge.ports import BorrowedModel
from lora_forge.train.ranks import Ranks, joined
from tests.train import full, tiny

SETTINGS = tiny.config(
    epochs=2,
    repeats=2,
    batch_size=1,
    gradient_accumulation=2,
    rank=4,
    te_learning_rate=1e-3,
    ema_decay=0.9,
    rank_dropout=0.2,
    flip=True,
    validation_photos=1,
    preview_every_steps=2,
    encode_ahead="on",
)
WHOLE = SETTINGS.replace(batch_size=2)  # what two processes with SETTINGS are
FROZEN = SETTINGS.replace(
    epochs=1,
    te_learning_rate=0.0,
    rank_dropout=0.0,
    validation_photos=0,
    preview_every_steps=0,
    shuffle_tags=True,
    tag_dropout=0.1,
    seed=2,  # with this one the long caption is over 75 tokens at one visit, and under at another
)
LONG = ", ".join("abcdefghijklmnopqrstuvwxyz0123456789+!?%&=")  # 2 tokens a tag; about 75 with a tenth of them dropped
STOP_AT, FAIL_AT = 1, 3  # a step; a forward pass of the UNet with gradients


class Child:
    """One process of a scenario, and what it met."""

    def __init__(self, where: Path, model: BorrowedModel, prepared: PreparedSet, ranks: Ranks) -> None:
        self.where, self.model, self.prepared, self.ranks = where, model, prepared, ranks
        self.commands = CommandBox()
        self.recorder = tiny.Recorder(self._act)
        self.sends: dict[int, list[Command]] = {}
        self.written: list[str] = []

    def _act(self, event: object) -> None:
        for command in self.sends.get(event.step, []) if isinstance(event, StepDone) else []:
            self.commands.send(command)

    def train(self, settings: Any = SETTINGS, resume: bool = False) -> dict[str, Any]:
        sys.addaudithook(self._look)
        result = tiny.run(
            *(self.where, settings, self.prepared, self.model, self.recorder, self.commands, resume), ranks=self.ranks
        )
        steps = [(one.step, one.loss, one.mse, one.learning_rate) for one in self.recorder.of(StepDone)]
        return {"outcome": result.outcome, "step": result.step, "steps": steps, "written": self.written}

    def _look(self, event: str, values: tuple[Any, ...]) -> None:
        """Whatever this process opens to write, makes, renames or removes within the run's folders."""
        is_open = event == "open" and isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if is_open or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            path = str(values[0])
            if str(self.where) in path or "/cache/" in path:
                self.written.append(path)


def straight(child: Child) -> dict[str, Any]:
    return child.train()


def alone(child: Child) -> dict[str, Any]:
    return child.train(WHOLE)


def frozen(child: Child) -> dict[str, Any]:
    """A frozen text encoder, of captions that are drawn anew for each visit."""
    return child.train(FROZEN)


def frozen_alone(child: Child) -> dict[str, Any]:
    return child.train(FROZEN.replace(batch_size=2))


def stopped(child: Child) -> dict[str, Any]:
    """Told to one of them only, and not to the writer."""
    if child.ranks.rank == 1:
        child.sends = {STOP_AT: [Command.STOP_AND_SAVE]}
    return child.train()


def writer_told_early(child: Child) -> dict[str, Any]:
    """Before the first step, while the photos are encoded."""
    return _told_early(child, 0)


def other_told_early(child: Child) -> dict[str, Any]:
    return _told_early(child, 1)


def _told_early(child: Child, rank: int) -> dict[str, Any]:
    if child.ranks.rank == rank:
        child.commands.send(Command.STOP)
    return child.train()


def resumed(child: Child) -> dict[str, Any]:
    if child.ranks.is_writer:
        child.sends = {STOP_AT + 1: [Command.PAUSE, Command.RESUME, Command.PREVIEW_NOW, Command.SAVE_NOW]}
    return child.train(resume=True)


def resumed_alone(child: Child) -> dict[str, Any]:
    return child.train(WHOLE, resume=True)


def one_fails(child: Child) -> dict[str, Any]:
    if child.ranks.rank == 1:
        _at_forward(child.model, FAIL_AT, full.allocate_too_much)
    return child.train()


def one_is_killed(child: Child) -> dict[str, Any]:
    if child.ranks.rank == 1:
        _at_forward(child.model, FAIL_AT, lambda: os._exit(9))
    return child.train()


def writer_fails(child: Child) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        if child.ranks.is_writer:
            stack.enter_context(full.full_at(child.model, "save", full.Fuse()))
        return child.train()


def differ(child: Child) -> dict[str, Any]:
    return child.train(SETTINGS.replace(seed=child.ranks.rank))


def _at_forward(model: BorrowedModel, number: int, act: Callable[[], None]) -> None:
    seen: list[None] = []

    def look(_module: Any, args: Any, *_: Any) -> None:
        seen.append(None)
        if len(seen) == number:
            act()

    model.unet.register_forward_pre_hook(look)


def run(
    scenario: Callable[[Child], dict[str, Any]],
    where: Path,
    model: BorrowedModel,
    prepared: PreparedSet,
    count: int = 2,
) -> list[Any]:
    """What each of ``count`` processes says, by rank; of one that died its exit code."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    children, said = [], where.parent / "said"
    for rank in range(count):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        children.append(os.fork())
        if children[-1] == 0:
            os.environ.update({name: str(value) for name, value in place.items()})
            _be(scenario, where, model, prepared, said / f"{scenario.__name__}-{rank}.json")
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    files = [said / f"{scenario.__name__}-{rank}.json" for rank in range(count)]
    return [json.loads(file.read_text()) if code == 0 else code for file, code in zip(files, codes, strict=True)]


def _be(
    scenario: Callable[[Child], dict[str, Any]], where: Path, model: BorrowedModel, prepared: PreparedSet, said: Path
) -> None:
    code = 1
    signal.alarm(200)  # processes that wait for each other in vain are killed
    try:
        try:
            with joined("cpu") as ranks:
                found = scenario(Child(where, model, prepared, ranks))
        except LoraForgeError as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        said.parent.mkdir(exist_ok=True)
        said.write_text(json.dumps(found))
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def _with_a_long_caption(prepared: PreparedSet) -> PreparedSet:
    """Of the two photos that share a batch one has words for two chunks: often one process has it, and one has not."""
    *others, last = prepared.images
    return dataclasses.replace(prepared, images=(*others, dataclasses.replace(last, caption=f"ohwx, {LONG}")))


def main(root: Path) -> None:
    given = tiny.build_model(), _with_a_long_caption(tiny.build_project(root / "project"))
    found = {
        "alone": run(alone, root / "alone", *given, count=1),
        "straight": run(straight, root / "straight", *given),
        "frozen_alone": run(frozen_alone, root / "frozen_alone", *given, count=1),
        "frozen": run(frozen, root / "frozen", *given),
        "stopped": run(stopped, root / "stopped", *given),
    }
    shutil.copytree(root / "stopped", root / "stopped_alone")
    found["resumed"] = run(resumed, root / "stopped", *given)
    found["resumed_alone"] = run(resumed_alone, root / "stopped_alone", *given, count=1)
    for scenario in (writer_told_early, other_told_early, one_fails, one_is_killed, writer_fails, differ):
        found[scenario.__name__] = run(scenario, root / scenario.__name__, *given)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
