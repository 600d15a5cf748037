"""Grids as the host's X/Y/Z plot writes them, found in its folder and opened as tests."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError
from lora_forge.evaluate.xyz import infotext
from lora_forge.events import CommandBox
from lora_forge.host.desk import StandaloneDesk
from lora_forge.work.testing import list_tests, load_test, run_test
from lora_forge.work.testing.opened import host_grid_path, host_grids, open_grid
from tests.evaluate.host_grid import cell_picture, rendered, save, told
from tests.work.testing.conftest import request_for

PROMPT, X, Y = "ohwx <lora:a-000001:0.5>", '"000001, 000002"', '"0.5, 1.0"'


def plain_grid() -> Image.Image:
    return rendered([[cell_picture(c, r) for c in (0, 1)] for r in (0, 1)], ["000001", "000002"], ["0.5", "1.0"])


def test_what_is_opened_is_what_was_drawn(desk: StandaloneDesk, project: Project, tmp_path: Path) -> None:
    """Drawn on the toy world, laid out as the host does, opened, and scored to the same numbers as a test of ours."""
    request = request_for(project, swaps=())
    plan = request.plan()
    cells = {cell: next(iter(desk.draw(plan.requests(*cell), [desk.lora_dir()]))) for cell in plan.cells()}
    rows = [[cells[(epoch, strength) if strength else (0, 0.0)] for epoch in (1, 2)] for strength in (0.0, 0.5, 1.0)]
    grid = rendered(rows, ["000001", "000002"], ["0.0", "0.5", "1.0"], margin=6)
    path = save(tmp_path / "xyz_grid-0001.png", grid, infotext(plan, {"Model": "toy"}))
    id = open_grid(project, "toyworld", path)
    assert run_test(desk, project, id, lambda _: None, CommandBox()) == "done"
    test = load_test(project, id)
    assert (test.request.mode, test.state, test.base, test.is_complete) == ("xyz", "done", "toy", True)
    for cell, (shown,) in test.cells.items():
        with Image.open(shown) as picture:
            assert np.array_equal(np.asarray(picture.convert("RGB")), np.asarray(cells[cell])), cell
    ours = _scored_by_us(desk, project)
    assert set(test.surface) == set(ours)
    assert test.surface == ours


def _scored_by_us(desk: StandaloneDesk, project: Project) -> object:
    from lora_forge.work.testing import new_test

    id = new_test(desk, request_for(project, swaps=()))
    run_test(desk, project, id, lambda _: None, CommandBox())
    return load_test(project, id).surface


def test_grids_are_found_by_their_text_the_newest_first(tmp_path: Path) -> None:
    folder = tmp_path / "txt2img-grids"
    for number, (name, text) in enumerate(
        [
            ("2026-11-21/xyz_grid-0001-7.png", told(PROMPT, X, Y)),
            ("2026-11-22/xyz_grid-0002-7.png", told("b <lora:b-000003:1>", '"000003, 000004, 000005"', "", Y_Type="")),
            ("2026-11-22/xyz_grid-0003-7.png", told(PROMPT, '"1, 2"', Y, X_Type="Seed")),
            ("2026-11-22/grid-0004.png", told(PROMPT, X, Y)),
        ]
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, plain_grid(), text)
        os.utime(path, (1000 + number, 1000 + number))
    (folder / "xyz_grid-0005.png").write_bytes(b"no picture")
    found = host_grids(folder)
    assert [(one.file, one.name, one.epochs, one.strengths, one.made_at) for one in found] == [
        ("xyz_grid-0002-7.png", "b", (3, 4, 5), (1.0,), 1001.0),
        ("xyz_grid-0001-7.png", "a", (1, 2), (0.5, 1.0), 1000.0),
    ]
    assert host_grid_path(folder, found[1].id) == (folder / found[1].id).resolve()
    assert host_grids(None) == host_grids(tmp_path / "none") == []


@pytest.mark.parametrize("id", ["", "../secret/xyz_grid-1.png", "grid-0004.png", "xyz_grid-9.png", "/etc/passwd"])
def test_only_grids_of_the_hosts_folder_are_opened(tmp_path: Path, id: str) -> None:
    folder = tmp_path / "grids"
    (tmp_path / "secret").mkdir()
    folder.mkdir()
    for path in (tmp_path / "secret" / "xyz_grid-1.png", folder / "grid-0004.png"):
        save(path, plain_grid(), told(PROMPT, X, Y))
    with pytest.raises(ConfigError, match="There is no grid"):
        host_grid_path(folder, id)
    with pytest.raises(ConfigError, match="There is no grid"):
        host_grid_path(None, id)


def test_what_cannot_be_read_makes_no_test(project: Project) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        open_grid(project, "person", b"no picture")
    assert list_tests(project) == []
