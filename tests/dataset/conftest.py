"""A folder whose name holds Chinese, a space and an accent: every dataset test runs in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_forge.dataset.project import Project
from lora_forge.events import Event

Paint = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "我的 数据 é"
    made.mkdir()
    return made


@pytest.fixture
def project(folder: Path) -> Project:
    return Project.create(folder / "项目 ü", "ohwx")


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def paint() -> Paint:
    """``paint(path, width, height, seed)``: a smooth picture that differs for every seed; its caption if given."""

    def make(path: Path, width: int = 96, height: int = 80, seed: int = 0, caption: str | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
        if caption is not None:
            path.with_suffix(".txt").write_text(caption, encoding="utf-8")
        return path

    return make
