"""Run as a program, in a mount namespace of its own: runs on real disks that are full, then have room again.

Prints one JSON object: by case, what was said. Fails when anything saved is lost or the end is another one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_forge.dataset.prepare import PrepareSettings, prepare
from lora_forge.dataset.prepared import PreparedSet, load_pixels
from lora_forge.dataset.project import Project
from lora_forge.errors import DatasetError, LoraForgeError
from lora_forge.events import CommandBox, PreviewMade, StepDone, Warned
from lora_forge.train.journal import read_journal
from lora_forge.train.run import train
from tests.faults import checks
from tests.faults.disks import SmallDisk
from tests.train import tiny

ROOMY = 20_000  # kB


class Bench:
    """One model and one set for all cases; each must leave the model as it was."""

    def __init__(self, root: Path) -> None:
        self.root, self.prepared, self.model = root, tiny.build_project(root / "project"), tiny.build_model()
        self.straight = root / "straight"
        self.run(self.straight)

    def run(self, where: Path, emit: Any = None, settings: Any = checks.SETTINGS, resume: bool = False) -> None:
        before = checks.marks(self.model)
        try:
            result = train(
                self.model,
                self.prepared,
                settings,
                where / "run",
                where / "out",
                emit or tiny.Recorder(),
                CommandBox(),
                resume=resume,
                cache_dir=where / "cache",
            )
            assert result.outcome == "done"
        finally:
            assert checks.marks(self.model) == before

    def refused(self, where: Path, emit: Any = None) -> str:
        """What the run says when it ends for want of room; all it saved before must be right."""
        with pytest.raises(LoraForgeError) as caught:
            self.run(where, emit)
        checks.assert_saved_is_right(where, self.straight)
        assert read_journal(where / "run")[-1].get("message", "") in ("", caught.value.message())
        return caught.value.message()

    def resumed(self, where: Path) -> None:
        self.run(where, resume=True)
        checks.assert_same_end(where, self.straight)


def lora_save(bench: Bench) -> str:
    """Room for one file of the three."""
    where = bench.root / "lora"
    disk = SmallDisk(where / "out", 60)
    said = bench.refused(where)
    assert list(checks.loras(where)) == ["tiny-000001.safetensors"]
    assert checks.leavings(where) == []
    disk.resize(ROOMY)
    bench.resumed(where)
    return said


def state_save(bench: Bench) -> str:
    """Room for two states, but not for the third that is written before the first is dropped."""
    where = bench.root / "state"
    disk = SmallDisk(where / "run", 320)
    said = bench.refused(where)
    assert list(checks.states(where)) == [2, 3]
    assert checks.leavings(where) == []
    disk.resize(ROOMY)
    bench.resumed(where)
    return said


def cache_write(bench: Bench) -> str:
    """Room for one photo's latents: said once, and the run does without."""
    where, recorder = bench.root / "cache", tiny.Recorder()
    SmallDisk(where / "cache", 4)
    bench.run(where, recorder)
    checks.assert_same_end(where, bench.straight)
    (warned,) = recorder.of(Warned)
    return str(warned.message)


def full_from_the_start(bench: Bench) -> str:
    """Nothing can be written at all: no config, no journal."""
    where = bench.root / "start"
    disk = SmallDisk(where, ROOMY)
    disk.fill()
    with pytest.raises(LoraForgeError) as caught:
        bench.run(where)
    disk.free()
    bench.run(where)
    checks.assert_same_end(where, bench.straight)
    return caught.value.message()


def journal(bench: Bench) -> str:
    """Full while nothing but the journal is written, then not any more: the run never noticed."""
    where = bench.root / "journal"
    disk = SmallDisk(where / "run", ROOMY)

    def act(event: object) -> None:
        if isinstance(event, StepDone) and event.step == 13:
            disk.fill()
        if isinstance(event, StepDone) and event.step == 55:  # 4 kB of lines were room that the file had already
            disk.free()

    recorder = tiny.Recorder(act)
    bench.run(where, recorder, tiny.config(repeats=40, epochs=1))
    lines = read_journal(where / "run")
    assert lines[-1]["event"] == "RunEnded"
    steps = [line["step"] for line in lines if line["event"] == "StepDone"]
    assert steps[:13] == list(range(1, 14))
    assert 40 not in steps
    assert steps[-4:] == [57, 58, 59, 60]
    (warned,) = recorder.of(Warned)
    return str(warned.message)


def preview(bench: Bench) -> str:
    """A picture that can't be kept is no reason to stop."""
    where = bench.root / "preview"
    disk, recorder = SmallDisk(where / "run" / "previews", ROOMY), tiny.Recorder()
    disk.fill()
    bench.run(where, recorder, checks.SETTINGS.replace(preview_every_steps=3))
    checks.assert_same_end(where, bench.straight)
    assert not recorder.of(PreviewMade)
    return str(recorder.of(Warned)[0].message)


def preparing(bench: Bench) -> str:
    """Room for one prepared copy: a sentence, no half picture, and it goes on where it was."""
    root = bench.root / "photos"
    tiny.build_project(root)
    project = Project.load(root)
    for path in project.prepared_dir.iterdir():
        path.unlink()
    disk, settings = SmallDisk(project.prepared_dir, 20), PrepareSettings(64, True, 16, 32, 128)
    with pytest.raises(DatasetError) as caught:
        prepare(project, settings, lambda _: None)
    disk.resize(ROOMY)
    done: PreparedSet = prepare(project, settings, lambda _: None)
    assert [image.key for image in done.images] == [image.key for image in bench.prepared.images]
    for image in done.images:
        load_pixels(image)
    return caught.value.message()


CASES: tuple[Callable[[Bench], str], ...] = (
    *(lora_save, state_save, cache_write, full_from_the_start, journal, preview, preparing),
)


def main(root: Path) -> None:
    torch.set_num_threads(1)
    bench = Bench(root)
    print(json.dumps({case.__name__: case(bench) for case in CASES}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
