"""Toy checkpoints of every family, written once a session; models are built anew for each test that takes one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lora_forge.model.build import build_model
from lora_forge.model.read import read_checkpoint
from lora_forge.ports import BorrowedModel

from . import ldm

SIZES = {"sd1": ldm.TOY_SD1, "sd2": ldm.TOY_SD2, "sdxl": ldm.TOY_SDXL}
BuildToy = Callable[[str], BorrowedModel]


@pytest.fixture(scope="session")
def toy_paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """float32 checkpoints in LDM layout, with text heads as a real file of that width would have them."""
    folder = tmp_path_factory.mktemp("checkpoints")
    metadata = {"lora_forge.te_heads": "4", "lora_forge.te2_heads": "2"}
    return {
        name: ldm.save(folder / f"{name}.safetensors", ldm.random_state(ldm.checkpoint(size)), metadata)
        for name, size in SIZES.items()
    }


@pytest.fixture(scope="session")
def toys(toy_paths: dict[str, Path]) -> dict[str, BorrowedModel]:
    """One model of each family, shared by tests that only look."""
    return {name: build_model(read_checkpoint(path), torch.device("cpu")) for name, path in toy_paths.items()}


@pytest.fixture
def build_toy(toy_paths: dict[str, Path]) -> BuildToy:
    """A fresh model of a family, for tests that change it."""
    return lambda name: build_model(read_checkpoint(toy_paths[name]), torch.device("cpu"))
