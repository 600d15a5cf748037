"""Run as a program: train in child processes that are killed with SIGKILL at random moments, resume, and compare.

Children are forked from a process that has only imported torch, so each kill costs a second, not an import. Prints
one JSON object with what happened; exits with an error when a file under a real name was not whole.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.lora_file.writer import load_lora
from lora_forge.train.tensor_file import load_tree
from tests.train import tiny

SETTINGS = tiny.config(epochs=3, state_every_steps=1, ema_decay=0.9, rank_dropout=0.2, te_learning_rate=1e-3)
MAX_KILLS = 6


def start(where: Path, prepared: PreparedSet) -> int:
    """Fork a child that trains (or goes on) in ``where``; gives its process id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            tiny.run(where, SETTINGS, prepared, resume=(where / "run" / "config.json").exists())
            code = 0
        finally:
            os._exit(code)
    return child


def wait(child: int) -> int:
    """Its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def check_whole(where: Path) -> int:
    """Read every file that has a real name; gives how many there are."""
    paths = [*(where / "out").glob("*.safetensors"), *(where / "run" / "state").glob("step-*.safetensors")]
    for path in paths:
        assert not path.name.startswith(".")
        if path.parent.name == "out":
            load_lora(path)
        else:
            load_tree(path)
    return len(paths)


def newest_step(where: Path) -> int:
    """The step of the newest state; 0 when there is none."""
    steps = [int(path.stem.removeprefix("step-")) for path in (where / "run" / "state").glob("step-*.safetensors")]
    return max(steps, default=0)


def main(root: Path, seed: int) -> None:
    prepared = tiny.build_project(root / "project")
    began = time.perf_counter()
    assert wait(start(root / "straight", prepared)) == 0
    whole_s = time.perf_counter() - began

    total = newest_step(root / "straight")
    rng, kills, ended, left = random.Random(seed), 0, -signal.SIGKILL, []
    while ended != 0:
        # Told by steps, not by the clock, so that a fast machine is killed as often as a slow one.
        until = min(newest_step(root / "killed") + rng.randint(0, 1), total)
        child = start(root / "killed", prepared)
        if kills < MAX_KILLS:
            while newest_step(root / "killed") < until:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, whole_s / total))
            os.kill(child, signal.SIGKILL)
        ended = wait(child)
        assert ended in (0, -signal.SIGKILL), ended
        kills += ended != 0
        check_whole(root / "killed")
        states = sorted((root / "killed" / "run" / "state").glob("step-*.safetensors"))
        left.append(states[-1].stem if states else "none")
    print(json.dumps({"kills": kills, "states": left, "seconds": round(whole_s, 2)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
