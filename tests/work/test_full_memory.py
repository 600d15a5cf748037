"""A run from the tab on a card that is too small: down the ladder, photos prepared again, the host as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from lora_forge.config import load as load_config
from lora_forge.dataset.manifest import load_manifest
from lora_forge.dataset.prepared import manifest_path
from lora_forge.dataset.project import Project
from lora_forge.events import CommandBox, StageDone, Warned
from lora_forge.work import RunRequest, run
from lora_forge.work.speeds import load_speeds
from tests.train import full, tiny
from tests.work.desk import TinyDesk

SETTINGS = {
    "resolution_px": 128,
    "bucket_step_px": 16,
    "bucket_min_px": 64,
    "bucket_max_px": 256,
    "rank": 2,
    "alpha": 2.0,
    "batch_size": 2,
    "validation_photos": 0,
    "preview_every_steps": 0,
    "state_every_steps": 1,
}


def test_the_whole_ladder_from_the_tab(tmp_path: Path) -> None:
    desk = TinyDesk(tmp_path)
    project = Project.create(desk.data_root() / "anna", "ohwx")
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (140, 140, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(project.images_dir / "photos" / f"{number}.png")
    said = tiny.Recorder()
    request = RunRequest(project.root, "girl", "person", 4, 2, SETTINGS, prove="weights")
    with full.small_card(desk.model, 12 * 12):
        result = run(desk, request, said, CommandBox())
    assert (result.outcome, [path.name for path in result.files]) == (
        "done", ["girl-000001.safetensors", "girl-000002.safetensors"],
    )  # fmt: skip
    assert desk.checked == ["girl-000001.safetensors", "girl-000002.safetensors"]
    assert len([one for one in said.of(Warned) if "The memory is full" in one.message]) == 4
    assert load_config(request.run_dir / "config.json").resolution_px == 96
    manifest = load_manifest(manifest_path(project))
    assert manifest is not None
    assert manifest.settings.resolution_px == 96
    (speed,) = load_speeds(desk.data_root())
    assert (speed.shape.resolution_px, speed.shape.batch_size, speed.shape.is_checkpointed) == (96, 1, True)
    assert "bit for bit" in said.of(StageDone)[-1].summary
