"""A baked file at strength 1 draws what the other drew at its strength: to within 1/255 of every pixel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lora_forge.dataset.project import Project
from lora_forge.host.desk import StandaloneDesk
from lora_forge.lora_file.names import epoch_path
from lora_forge.lora_file.weights import LoraModule
from lora_forge.lora_file.writer import save_lora
from lora_forge.ports import PictureRequest
from lora_forge.toyworld import checkpoint_path
from lora_forge.work import keeping
from lora_forge.work.keeping import KeepRequest
from tests.host.conftest import random_lora

STRENGTHS = (0.35, 0.7, 0.8, 1.3)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> StandaloneDesk:
    """On the bundled toy world, with a LoRA that changes its pictures plainly, saved as float16 as all are."""
    root = tmp_path_factory.mktemp("desk")
    made = StandaloneDesk(root / "data", root / "loras", base=checkpoint_path(), device="cpu")
    weights = {
        name: LoraModule(one.down, one.up * 0.15, 16.0) for name, one in random_lora(checkpoint_path(), 3).items()
    }
    save_lora(epoch_path(made.lora_dir(), "toy", 1), weights, {}, torch.float16)
    Project.create(made.data_root() / "anna", "ohwx")
    return made


def pictures(desk: StandaloneDesk, tag: str) -> np.ndarray:
    asked = [PictureRequest(f"a girl, red dress {tag}", width=64, height=64, steps=6, seed=seed) for seed in range(3)]
    return np.stack([np.asarray(picture, np.int16) for picture in desk.draw(asked, [desk.lora_dir()])])


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_same_picture_to_one_step_of_255(desk: StandaloneDesk, strength: float) -> None:
    wanted = pictures(desk, f"<lora:toy-000001:{strength}>")
    base = pictures(desk, "")
    assert np.abs(wanted - base).max() > 40, "the LoRA changes nothing worth comparing"
    project = Project.load(desk.data_root() / "anna")
    request = KeepRequest(project, "toy", 1, strength, f"toy_at_{round(100 * strength)}", bake=True)
    made = keeping.keep(desk, request)
    try:
        weight = json.loads(Path(made.file).with_suffix(".json").read_text("utf-8"))["preferred weight"]
        assert weight == 1
        got = pictures(desk, f"<lora:{made.file.stem}:{weight:g}>")
    finally:
        keeping.undo(desk, made.entry.id)
    assert np.abs(got - wanted).max() <= 1
