"""A real desk on the bundled toy world, its project of 24 photos, and LoRA files of three epochs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from lora_forge.dataset.project import Project
from lora_forge.demo import write_project
from lora_forge.host.desk import TOYWORLD, StandaloneDesk
from lora_forge.lora_file.weights import LoraModule
from lora_forge.lora_file.writer import save_lora
from lora_forge.toyworld import checkpoint_path
from lora_forge.work.testing import TestRequest

NAME = "toy"


@pytest.fixture(scope="session")
def toy_loras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, stronger with the epoch: nothing is learned, but each file draws otherwise."""
    from tests.host.conftest import random_lora

    folder = tmp_path_factory.mktemp("loras")
    weights = random_lora(checkpoint_path(), 1)
    for epoch in (1, 2, 3):
        scaled = {key: LoraModule(one.down, one.up * 0.05 * epoch, one.alpha) for key, one in weights.items()}
        save_lora(folder / f"{NAME}-{epoch:06d}.safetensors", scaled, {"modelspec.trigger_phrase": "sks"})
    return folder


@pytest.fixture(scope="session")
def toy_host(tmp_path_factory: pytest.TempPathFactory) -> StandaloneDesk:
    """Read once for all tests."""
    desk = StandaloneDesk(tmp_path_factory.mktemp("none") / "data", tmp_path_factory.mktemp("none") / "loras")
    desk.switch(TOYWORLD)
    return desk


@pytest.fixture
def desk(tmp_path: Path, toy_host: StandaloneDesk, toy_loras: Path) -> StandaloneDesk:
    made = StandaloneDesk(tmp_path / "data", tmp_path / "loras")
    made._host, made._title = toy_host._host, toy_host._title
    shutil.copytree(toy_loras, made.lora_dir(), dirs_exist_ok=True)
    return made


@pytest.fixture
def project(desk: StandaloneDesk) -> Project:
    made, _ = write_project(desk.data_root() / "anna.demo")
    (made.root).rename(desk.data_root() / "anna")
    shutil.rmtree(desk.data_root() / "anna.demo")
    return Project.load(desk.data_root() / "anna")


def request_for(project: Project, **changes: Any) -> TestRequest:
    """Two epochs, two strengths, one seed, a plain prompt and one with a red dress: 5 cells, 10 pictures."""
    values: dict[str, Any] = {
        "name": NAME, "kind": "toyworld", "mode": "full", "epochs": (1, 2), "strengths": (0.5, 1.0),
        "prompt": "sks, 1girl, blue dress", "swaps": ("red dress",), "width": 64, "height": 64, "steps": 2,
    }  # fmt: skip
    return TestRequest(**{"project": project.root, **values, **changes})
