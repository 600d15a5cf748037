from __future__ import annotations

from pathlib import Path

import pytest

from lora_forge.errors import ConfigError, LoraFileError
from lora_forge.evaluate.grid import GridPlan, draw_grid
from lora_forge.events import CellDrawn, Event, Progress, StageDone, StageStarted

from .fake import FlatHost, colour_of, make_files


def plan(**changes: object) -> GridPlan:
    values = {"epochs": (1, 2), "strengths": (0.0, 0.5, 1.0), "seeds": (4, 5), "width": 64, "height": 64, **changes}
    return GridPlan("x <lora:NAME-NUM:STRENGTH>", **values)  # type: ignore[arg-type]


def test_every_cell_gets_its_own_pictures_and_is_told_of(tmp_path: Path) -> None:
    make_files(tmp_path, "toy", (1, 2, 3))
    host, events = FlatHost(), list[Event]()
    grid = draw_grid(host, plan(), [tmp_path], "toy", events.append)
    assert grid.is_complete
    assert host.is_closed
    prompts = [
        "x",
        "x <lora:toy-000001:0.5>",
        "x <lora:toy-000001:1>",
        "x <lora:toy-000002:0.5>",
        "x <lora:toy-000002:1>",
    ]
    assert [(request.prompt, request.seed) for request in host.asked] == [(p, seed) for p in prompts for seed in (4, 5)]
    for cell, pictures in grid.cells.items():
        wanted = [colour_of(request) for request in grid.plan.requests(*cell)]
        assert [picture.getpixel((0, 0)) for picture in pictures] == wanted
    assert grid.pictures(2, 0.0) is grid.cells[0, 0.0]
    assert events[0] == StageStarted("grid", 5, "cells")
    assert isinstance(events[-1], StageDone)
    drawn = [event for event in events if isinstance(event, CellDrawn)]
    assert drawn[0] == CellDrawn(0, 0.0, 1, 5)
    assert drawn[-1] == CellDrawn(2, 1.0, 5, 5)
    assert [e.done for e in events if isinstance(e, Progress)] == [1, 2, 3, 4, 5]


def test_missing_epochs_are_all_named_before_drawing(tmp_path: Path) -> None:
    make_files(tmp_path, "toy", (2,))
    host = FlatHost()
    with pytest.raises(LoraFileError) as caught:
        draw_grid(host, plan(epochs=(1, 2, 3)), [tmp_path], "toy", lambda _: None)
    text = str(caught.value)
    assert "toy-000001.safetensors, toy-000003.safetensors" in text
    assert str(tmp_path) in text
    assert "toy-000002" not in text
    assert host.asked == []


def test_one_file_name_twice_is_told_as_that(tmp_path: Path) -> None:
    make_files(tmp_path / "a", "toy", (1,))
    make_files(tmp_path / "b", "toy", (1,))
    with pytest.raises(LoraFileError, match="two files named"):
        draw_grid(FlatHost(), plan(epochs=(1,)), [tmp_path], "toy", lambda _: None)


def test_a_grid_of_nothing_but_the_baseline_needs_no_file(tmp_path: Path) -> None:
    grid = draw_grid(FlatHost(), plan(strengths=(0.0,)), [tmp_path], "toy", lambda _: None)
    assert list(grid.cells) == [(0, 0.0)]


def test_another_loras_prompt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        draw_grid(FlatHost(), plan().named("cat"), [tmp_path], "toy", lambda _: None)


def test_stopping_keeps_what_is_there_and_a_second_call_goes_on(tmp_path: Path) -> None:
    loras, cells = tmp_path / "loras", tmp_path / "cells"
    make_files(loras, "toy", (1, 2))
    events: list[Event] = []
    first = FlatHost()
    part = draw_grid(
        first, plan(), [loras], "toy", events.append, lambda: sum(isinstance(e, CellDrawn) for e in events) == 2, cells
    )
    assert not part.is_complete
    assert list(part.cells) == [(0, 0.0), (1, 0.5)]
    assert len(first.asked) == 4
    assert first.is_closed
    second = FlatHost()
    whole = draw_grid(second, plan(), [loras], "toy", events.append, cells_dir=cells)
    assert whole.is_complete
    assert len(second.asked) == 6
    assert whole.cells[1, 0.5][1].tobytes() == part.cells[1, 0.5][1].tobytes()
    assert events[-1].summary.endswith("2 taken from an earlier drawing")  # type: ignore[attr-defined]
    third = FlatHost()
    assert draw_grid(third, plan(), [loras], "toy", events.append, cells_dir=cells).is_complete
    assert third.asked == []


def asked_again(tmp_path: Path, changed: GridPlan, base: str = "base") -> int:
    """How many pictures a second drawing draws after the first of :func:`plan`."""
    host = FlatHost(base)
    draw_grid(host, changed, [tmp_path / "loras"], "toy", lambda _: None, cells_dir=tmp_path / "cells")
    return len(host.asked)


def test_kept_cells_count_only_for_what_they_were_drawn_from(tmp_path: Path) -> None:
    make_files(tmp_path / "loras", "toy", (1, 2))
    assert asked_again(tmp_path, plan()) == 10
    assert asked_again(tmp_path, plan()) == 0
    assert asked_again(tmp_path, plan(guidance=3.0)) == 10
    assert asked_again(tmp_path, plan(guidance=3.0), base="other") == 10
    assert asked_again(tmp_path, plan(guidance=3.0), base="other") == 0
    (tmp_path / "loras" / "toy-000002.safetensors").write_bytes(b"retrained")
    assert asked_again(tmp_path, plan(guidance=3.0), base="other") == 4
    (tmp_path / "cells" / "toy-000001_1_seed5.png").write_bytes(b"cut short")
    assert asked_again(tmp_path, plan(guidance=3.0), base="other") == 2
    assert asked_again(tmp_path, plan(guidance=3.0, strengths=(0.5, 0.7)), base="other") == 4
