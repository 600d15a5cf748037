"""The tiny checkpoint and project, made once."""

from __future__ import annotations

import pytest

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.ports import BorrowedModel
from tests.train import tiny


@pytest.fixture(scope="session")
def model() -> BorrowedModel:
    """Shared by all tests: a run must leave it as it was."""
    return tiny.build_model()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    """Three photos in two buckets."""
    return tiny.build_project(tmp_path_factory.mktemp("project"))
