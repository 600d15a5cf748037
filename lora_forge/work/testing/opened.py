"""Grids that the host's own X/Y/Z plot drew, found in its folder and taken in as tests like any other."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError
from lora_forge.evaluate.xyz_read import HostGrid, axes_of_file, read_host_grid
from lora_forge.work.testing.files import change_about
from lora_forge.work.testing.request import TestRequest
from lora_forge.work.testing.run import keep_cell
from lora_forge.work.testing.store import create

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_LOOKED_AT, _SHOWN = 200, 40


@dataclass(frozen=True)
class FoundGrid:
    """``id``: the file, from the host's folder of grids. ``name``: of the LoRA. ``made_at``: Unix seconds."""

    id: str
    file: str
    name: str
    epochs: tuple[int, ...]
    strengths: tuple[float, ...]
    made_at: float


def host_grids(folder: Path | None) -> list[FoundGrid]:
    """The newest grids of a LoRA's epochs and strengths in the host's folder, by their texts alone."""
    found: list[FoundGrid] = []
    if folder is None or not folder.is_dir():
        return found
    for made_at, path in heapq.nlargest(_LOOKED_AT, _grid_files(folder)):
        try:
            plan = axes_of_file(path).plan
        except ConfigError:  # a grid of something else
            continue
        id = path.relative_to(folder).as_posix()
        found.append(FoundGrid(id, path.name, plan.name, plan.epochs, plan.strengths, made_at))
        if len(found) == _SHOWN:
            break
    return found


def host_grid_path(folder: Path | None, id: str) -> Path:
    """The file of a found grid.

    Raises:
        ConfigError: there is none of that id in the host's folder.
    """
    path = None if folder is None else (folder / id).resolve()
    if folder is None or path is None or not path.is_relative_to(folder.resolve()) or not _is_grid(path):
        raise ConfigError("There is no grid {id} in the WebUI's folder.", "Look again.", id=id)
    return path


def open_grid(project: Project, kind: str, file: Path | bytes) -> str:
    """A new test of a grid's pictures; its id. Its scores are made by ``run_test``.

    Raises:
        ConfigError: the file is no grid that can be read.
        OSError: the project's folder can't be written.
    """
    grid = read_host_grid(file)
    id = create(project, _request(project, kind, grid), grid.axes.base, time.time())
    for cell in grid.axes.plan.cells():
        if cell in grid.pictures:
            keep_cell(project, id, cell, [grid.pictures[cell]])
    change_about(project.root / "tests" / id, source=file.name if isinstance(file, Path) else "")
    return id


def _request(project: Project, kind: str, grid: HostGrid) -> TestRequest:
    plan = grid.axes.plan
    return TestRequest(
        project=project.root,
        name=plan.name,
        kind=kind,
        mode="xyz",
        epochs=plan.epochs,
        strengths=plan.strengths,
        prompt=plan.prompt,
        negative=plan.negative_prompt,
        width=plan.width,
        height=plan.height,
        steps=plan.steps,
        guidance=plan.guidance,
        sampler=plan.sampler,
        clip_skip=plan.clip_skip,
        seeds=plan.seeds,
    )


def _grid_files(folder: Path) -> Iterator[tuple[float, Path]]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            if _is_grid(path):
                yield path.stat().st_mtime, path


def _is_grid(path: Path) -> bool:
    """``xyz_grid-0001-...``, as the script names its files."""
    return path.name.lower().startswith("xyz_grid") and path.suffix.lower() in _SUFFIXES and path.is_file()
