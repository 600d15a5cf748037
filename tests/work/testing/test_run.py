"""Tests as jobs, drawn for real on the toy world: live, stopped, taken up again, after a removed file too."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError, LoraFileError
from lora_forge.events import CellDrawn, CellScored, Command, CommandBox, Event, Recommended, Warned
from lora_forge.host.desk import StandaloneDesk
from lora_forge.work.testing import KeptTest, load_test, new_test, remove_test, run_test
from lora_forge.work.testing.files import SCORES_FILE, change_about
from lora_forge.work.testing.store import list_tests
from tests.work.testing.conftest import request_for

pytestmark = pytest.mark.once
CELLS = ((0, 0.0), (1, 0.5), (1, 1.0), (2, 0.5), (2, 1.0))


class Log:
    """Collects what is said; ``act`` is called with each event and the commands."""

    def __init__(self, act: Callable[[Event, CommandBox], None] = lambda event, commands: None) -> None:
        self.events: list[Event] = []
        self.commands = CommandBox()
        self._act = act

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._act(event, self.commands)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def go(desk: StandaloneDesk, project: Project, id: str, log: Log | None = None, **more: Any) -> str:
    log = log or Log()
    return run_test(desk, project, id, log, log.commands, **more)


def marks(test: KeptTest) -> dict[Path, bytes]:
    return {path: path.read_bytes() for paths in test.cells.values() for path in paths}


def test_cells_arrive_one_by_one_and_are_on_the_disk_at_once(desk: StandaloneDesk, project: Project) -> None:
    id = new_test(desk, request_for(project))
    seen: list[tuple[int, int, str]] = []

    def look(event: Event, _: CommandBox) -> None:
        if isinstance(event, CellScored):
            now = load_test(project, id)
            seen.append((len(now.cells), len(now.surface), now.state))

    log = Log(look)
    assert load_test(project, id).state == "interrupted"
    assert go(desk, project, id, log) == "done"
    assert seen == [(count, count, "running") for count in range(1, 6)]
    test = load_test(project, id)
    assert (test.state, tuple(test.cells), test.total, test.base) == ("done", CELLS, 5, "toyworld")
    assert [(one.epoch, one.strength) for one in log.of(CellDrawn)] == list(CELLS)
    assert all(len(paths) == 2 for paths in test.cells.values())
    assert test.recommendation is not None
    assert test.recommendation.strength > 0
    assert test.diagnosis is not None
    assert log.of(Recommended)[0].epoch == test.recommendation.epoch


def test_pictures_are_what_the_host_draws_for_the_plan(desk: StandaloneDesk, project: Project) -> None:
    id = new_test(desk, request_for(project))
    go(desk, project, id)
    test = load_test(project, id)
    requests = test.plan.requests(2, 1.0)
    assert [request.prompt for request in requests] == [
        "sks, 1girl, blue dress, <lora:toy-000002:1>",
        "sks, 1girl, red dress, <lora:toy-000002:1>",
    ]
    drawn = list(desk.draw(requests, [desk.lora_dir()]))
    kept = [Image.open(path).convert("RGB") for path in test.cells[2, 1.0]]
    for one, other in zip(drawn, kept, strict=True):
        worst = max(high for _, high in _extrema(one, other))
        assert worst <= 1  # the last bit of a float: other neighbours in the batch


def _extrema(one: Image.Image, other: Image.Image) -> Any:
    from PIL import ImageChops

    return ImageChops.difference(one, other).getextrema()


def test_a_stop_keeps_what_there_is_and_the_rest_follows(desk: StandaloneDesk, project: Project) -> None:
    id = new_test(desk, request_for(project))

    def stop(event: Event, commands: CommandBox) -> None:
        if isinstance(event, CellDrawn) and event.done == 2:
            commands.send(Command.STOP)

    assert go(desk, project, id, Log(stop)) == "stopped"
    half = load_test(project, id)
    assert (half.state, len(half.cells)) == ("stopped", 2)
    before = marks(half)
    log = Log()
    assert go(desk, project, id, log) == "done"
    whole = load_test(project, id)
    assert tuple(whole.cells) == CELLS
    assert {path: whole_bytes for path, whole_bytes in marks(whole).items() if path in before} == before
    assert whole.revision > half.revision
    assert all(whole.notes[cell] == half.notes[cell] for cell in half.cells)  # not even looked at again


def test_a_cut_off_test_goes_on_picture_by_picture(desk: StandaloneDesk, project: Project) -> None:
    """As after kill -9: half a cell is on the disk, scores.json knows nothing of it, nobody said how it ended."""
    id = new_test(desk, request_for(project))
    go(desk, project, id)
    whole = load_test(project, id)
    gone = whole.cells[2, 1.0][1]
    gone.unlink()
    (whole.folder / SCORES_FILE).unlink()
    before = {path: path.stat().st_mtime_ns for paths in whole.cells.values() for path in paths if path != gone}
    old_surface = whole.surface
    asked: list[str] = []
    draw = desk.draw
    desk.draw = lambda requests, *rest: asked.extend(one.prompt for one in requests) or draw(requests, *rest)  # type: ignore
    assert go(desk, project, id) == "done"
    again = load_test(project, id)
    assert asked == ["sks, 1girl, red dress, <lora:toy-000002:1>"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert gone.is_file()
    assert again.surface.keys() == old_surface.keys()


KILLED = """
import sys
from pathlib import Path
from lora_forge.dataset.project import Project
from lora_forge.events import CommandBox
from lora_forge.host.desk import TOYWORLD, StandaloneDesk
from lora_forge.work.testing import run_test
root = Path(sys.argv[1])
desk = StandaloneDesk(root / "data", root / "loras")
desk.switch(TOYWORLD)
run_test(desk, Project.load(root / "data" / "anna"), sys.argv[2], lambda event: None, CommandBox())
"""


@pytest.mark.slow
def test_a_killed_program_loses_nothing_that_was_drawn(desk: StandaloneDesk, project: Project) -> None:
    id = new_test(desk, request_for(project, epochs=(1, 2, 3), strengths=(0.25, 0.5, 0.75, 1.0), steps=6))
    root = desk.data_root().parent
    program = subprocess.Popen([sys.executable, "-c", KILLED, str(root), id], cwd=Path(__file__).parents[3])
    try:
        until = time.monotonic() + 120
        while len(load_test(project, id).surface) < 3 and time.monotonic() < until:
            assert program.poll() is None, "it ended by itself"
            time.sleep(0.02)
        assert load_test(project, id).state == "running"
    finally:
        program.kill()
        program.wait()
    cut = load_test(project, id)
    assert cut.state == "interrupted"
    assert 3 <= len(cut.cells) < 13
    before = {path: path.stat().st_mtime_ns for paths in cut.cells.values() for path in paths}
    assert go(desk, project, id) == "done"
    whole = load_test(project, id)
    assert whole.is_complete
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert all(whole.notes[cell] == note for cell, note in cut.notes.items() if note.scores)


def test_a_damaged_picture_and_a_retrained_file_are_drawn_again(desk: StandaloneDesk, project: Project) -> None:
    id = new_test(desk, request_for(project))
    go(desk, project, id)
    test = load_test(project, id)
    test.cells[1, 0.5][0].write_bytes(b"cut short")
    files = desk.lora_dir()
    (files / "toy-000002.safetensors").write_bytes((files / "toy-000003.safetensors").read_bytes())
    before = marks(test)
    assert go(desk, project, id) == "done"
    after = marks(load_test(project, id))
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {test.cells[1, 0.5][0], *test.cells[2, 0.5], *test.cells[2, 1.0]}
    notes = load_test(project, id).notes
    assert all(notes[cell].revision > test.revision for cell in ((2, 0.5), (2, 1.0)))
    assert notes[1, 1.0] == test.notes[1, 1.0]


def test_a_file_that_is_gone_costs_its_cells_alone(desk: StandaloneDesk, project: Project) -> None:
    id = new_test(desk, request_for(project, epochs=(1, 2, 3)))

    def remove(event: Event, _: CommandBox) -> None:
        if isinstance(event, CellDrawn) and event.done == 1:
            (desk.lora_dir() / "toy-000002.safetensors").unlink()

    draw = desk.draw

    def one_by_one(requests: Any, *rest: Any) -> Any:
        for request in requests:  # as a WebUI does: a file is looked for when its picture's turn comes
            yield from draw([request], *rest)

    desk.draw = one_by_one  # type: ignore[method-assign]
    log = Log(remove)
    assert go(desk, project, id, log) == "done"
    test = load_test(project, id)
    assert tuple(test.cells) == ((0, 0.0), (1, 0.5), (1, 1.0), (3, 0.5), (3, 1.0))
    assert not test.is_complete
    assert "toy-000002.safetensors" in log.of(Warned)[-1].message
    assert go(desk, project, id) == "done"  # and again, from the start


def test_what_was_drawn_from_a_file_that_is_gone_stays(desk: StandaloneDesk, project: Project) -> None:
    id = new_test(desk, request_for(project))
    go(desk, project, id)
    test = load_test(project, id)
    for path in desk.lora_dir().iterdir():
        path.unlink()
    assert go(desk, project, id) == "done"
    assert marks(load_test(project, id)) == marks(test)
    assert load_test(project, id).surface == test.surface
    with pytest.raises(LoraFileError, match="toy-000001"):
        new_test(desk, request_for(project))


def test_another_checkpoint_is_refused(desk: StandaloneDesk, project: Project) -> None:
    id = new_test(desk, request_for(project))
    change_about(load_test(project, id).folder, base="other")
    with pytest.raises(ConfigError, match="drawn with the checkpoint other, and toyworld is loaded"):
        go(desk, project, id)
    assert load_test(project, id).state == "failed"
    assert list_tests(project)[0].cells == {}


def test_a_second_program_is_refused(desk: StandaloneDesk, project: Project) -> None:
    id = new_test(desk, request_for(project))
    caught: list[str] = []

    def again(event: Event, _: CommandBox) -> None:
        if isinstance(event, CellDrawn) and not caught:
            with pytest.raises(ConfigError, match="is at work") as found:
                go(desk, project, id)
            caught.append(str(found.value))
            with pytest.raises(ConfigError, match="is at work"):
                remove_test(project, id)

    assert go(desk, project, id, Log(again)) == "done"
    assert caught


def test_a_removed_test_is_in_the_trash(desk: StandaloneDesk, project: Project) -> None:
    first, second = (new_test(desk, request_for(project)) for _ in range(2))
    assert first != second
    place = remove_test(project, first)
    assert (place / "test.json").is_file()
    assert project.trash_dir in place.parents
    assert [test.id for test in list_tests(project)] == [second]
