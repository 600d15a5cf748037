"""A desk with one project of three drawn photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_forge.dataset.prepare import PrepareSettings, prepare
from lora_forge.dataset.project import Project
from lora_forge.work import RunRequest
from tests.train import tiny
from tests.work.desk import TinyDesk

SMALL: dict[str, Any] = {
    "resolution_px": 64,
    "bucket_min_px": 64,
    "bucket_max_px": 128,
    "bucket_step_px": 16,
    "rank": 2,
    "batch_size": 1,
    "validation_photos": 0,
    "min_snr_gamma": 0.0,
    "learning_rate": 1e-3,
}


@pytest.fixture
def desk(tmp_path: Path) -> TinyDesk:
    made = TinyDesk(tmp_path)
    root = made.data_root() / "anna"
    tiny.build_project(root, ((70, 70), (90, 70), (70, 70)))
    prepare(Project.load(root), PrepareSettings(64, True, 16, 64, 128), lambda _: None)
    return made


def request_for(desk: TinyDesk, **changes: Any) -> RunRequest:
    """A run of two epochs of three steps."""
    values: dict[str, Any] = {"name": "girl", "kind": "person", "repeats": 1, "epochs": 2, "settings": SMALL}
    return RunRequest(**{"project": desk.data_root() / "anna", **values, **changes})
