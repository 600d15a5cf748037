"""The tiny checkpoint, its project, and a run that nothing happened to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.ports import BorrowedModel
from tests.faults import checks
from tests.train import tiny


@pytest.fixture(scope="session")
def shared_model() -> BorrowedModel:
    return tiny.build_model()


@pytest.fixture
def model(shared_model: BorrowedModel) -> Iterator[BorrowedModel]:
    """Lent to each test, which must give it back as it was, whatever happened."""
    before = checks.marks(shared_model)
    yield shared_model
    assert checks.marks(shared_model) == before


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    return tiny.build_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def straight(tmp_path_factory: pytest.TempPathFactory, shared_model: BorrowedModel, prepared: PreparedSet) -> Path:
    where = tmp_path_factory.mktemp("straight")
    assert tiny.run(where, checks.SETTINGS, prepared, shared_model).outcome == "done"
    return where
