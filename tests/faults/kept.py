"""Run as a program: kill keeping and undoing at every exact moment, then finish or undo, and compare every byte.

A moment is just before a call that changes the disk. Each is tried in a child that kills itself with SIGKILL there.
The second folder, which may lie on another disk, has the archive. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lora_forge.atomic import write_bytes
from lora_forge.dataset.project import Project
from lora_forge.lora_file.writer import load_lora
from lora_forge.work import archive, keeping
from lora_forge.work.keeping import KeepRequest
from tests.work.kept import contents, make_run

CALLS = ("link", "unlink", "replace", "rename", "fsync", "mkdir", "open")


class Desk:
    """As much of a desk as keeping asks for."""

    def __init__(self, loras: Path, data: Path) -> None:
        self._loras, self._data = loras, data

    def data_root(self) -> Path:
        return self._data

    def lora_dir(self) -> Path:
        return self._loras

    def language(self) -> str:
        return "en"


class Bench:
    def __init__(self, root: Path, data: Path) -> None:
        self.loras, self.data, self.pristine = root / "Lora", data / "data", root / "pristine"
        self.desk: Any = Desk(self.loras, self.data)
        make_run(self.pristine)
        self.before = contents(self.pristine)

    def fresh(self) -> None:
        shutil.rmtree(self.loras, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.copytree(self.pristine, self.loras)
        Project.create(self.data / "anna", "ohwx")

    def keep(self) -> archive.Entry:
        wanted = KeepRequest(Project.load(self.data / "anna"), "girl", 2, 0.7, "girl", bake=True, activation="ohwx")
        return keeping.keep(self.desk, wanted).entry

    def undo(self) -> None:
        (entry,) = archive.entries(self.data)
        archive.undo(entry)

    def killed_at(self, moment: int, act: Callable[[], object]) -> bool:
        """Whether the child got to that moment; else it ended by itself."""
        pid = os.fork()
        if pid == 0:
            try:
                _armed(moment)
                act()
                os._exit(0)
            except BaseException:  # noqa: BLE001 - the child's edge
                os._exit(3)
        _, status = os.waitpid(pid, 0)
        assert not (os.WIFEXITED(status) and os.WEXITSTATUS(status) == 3), f"failed at {moment}"
        return os.WIFSIGNALED(status)

    def check_nothing_lost(self) -> None:
        """Every byte of every file is somewhere, and whatever a host lists is whole."""
        there = {*contents(self.loras).values(), *contents(self.data).values()}
        assert set(self.before.values()) <= there, "a file is lost"
        for path in self.loras.glob("*.safetensors"):
            if path.name != "other-000001.safetensors":
                load_lora(path)


def _armed(moment: int) -> None:
    count = 0

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **values: Any) -> Any:
            nonlocal count
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **values)

        return counting

    for name in CALLS:
        setattr(os, name, wrapped(getattr(os, name)))


def kill_everywhere(bench: Bench, stride: int) -> dict[str, int]:
    bench.fresh()
    bench.keep()
    kept = contents(bench.loras)
    counts = {"keep": 0, "keep_undone": 0, "keep_finished": 0, "undo": 0, "nothing": 0}
    for moment in range(1, 10_000, stride):
        for way in ("finish", "undo"):
            bench.fresh()
            if not bench.killed_at(moment, bench.keep):
                counts["keep"] = moment
                break
            bench.check_nothing_lost()
            _after_a_kill(bench, way, kept, counts)
        else:
            continue
        break
    for moment in range(1, 10_000, stride):
        bench.fresh()
        bench.keep()
        if not bench.killed_at(moment, bench.undo):
            counts["undo"] = moment
            break
        bench.check_nothing_lost()
        (entry,) = archive.entries(bench.data)
        archive.go_on(entry) if entry.state != "kept" else archive.undo(entry)
        assert contents(bench.loras) == bench.before, f"undo killed at {moment}"
    return counts


def _after_a_kill(bench: Bench, way: str, kept: dict[str, bytes], counts: dict[str, int]) -> None:
    found = archive.entries(bench.data)
    if not found:
        counts["nothing"] += 1
        assert contents(bench.loras) == bench.before, "something moved before the manifest was there"
        bench.keep()
    elif way == "finish":
        archive.go_on(found[0])
        counts["keep_finished"] += 1
    else:
        archive.undo(found[0])
        counts["keep_undone"] += 1
        assert contents(bench.loras) == bench.before, "an undo after a kill"
        return
    names = set(contents(bench.loras))
    assert names == set(kept), (names, set(kept))
    write_bytes(bench.data / "alive", b"yes")  # the disk is as usable as before


def main(root: Path, data: Path, stride: int) -> None:
    print(json.dumps(kill_everywhere(Bench(root, data), stride)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
