"""A toy SD1 checkpoint file, and LoRA files that visibly change what it draws."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lora_forge.config import TrainConfig
from lora_forge.dataset.prepared import PreparedSet
from lora_forge.host.standalone import StandaloneHost
from lora_forge.lora_file.weights import LoraModule, LoraWeights
from lora_forge.lora_file.writer import save_lora
from lora_forge.train.network import Network
from tests.host.real_program import program
from tests.model import ldm
from tests.train import tiny

__all__ = ["program"]

TOY_SIZES = {"sd1": ldm.TOY_SD1, "sd2": ldm.TOY_SD2, "sdxl": ldm.TOY_SDXL}
TOY_HEADS = {"sd1": (4,), "sd2": (4,), "sdxl": (4, 2)}


@pytest.fixture(scope="session")
def base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """float32, LDM layout, random weights."""
    path = tmp_path_factory.mktemp("base") / "toy.safetensors"
    return ldm.save(path, ldm.random_state(ldm.checkpoint(ldm.TOY_SD1)), {"lora_forge.te_heads": "4"})


@pytest.fixture(scope="module")
def host(base_path: Path) -> StandaloneHost:
    """One for all: every borrower gives it back as it was."""
    return StandaloneHost(base_path, device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def lora_dir(base_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """one and two, of one layout (UNet and text); unet, in a subfolder (UNet alone)."""
    folder = tmp_path_factory.mktemp("loras")
    (folder / "sub").mkdir()
    save_lora(folder / "one.safetensors", random_lora(base_path, 1), {})
    save_lora(folder / "two.safetensors", random_lora(base_path, 2), {})
    save_lora(folder / "sub" / "unet.safetensors", random_lora(base_path, 3, has_text=False), {})
    return folder


def random_lora(base_path: Path, seed: int, has_text: bool = True) -> LoraWeights:
    """Rank 2, alpha 2, values large enough to change pictures."""
    config = TrainConfig(name="x", rank=2, alpha=2.0, te_learning_rate=1e-4 if has_text else 0.0)
    generator = torch.Generator().manual_seed(seed)
    with StandaloneHost(base_path, device="cpu").borrow() as model, Network.attach(model, config) as network:
        found = network.weights()
    return {
        name: LoraModule(module.down, torch.randn(module.up.shape, generator=generator) * 0.5, module.alpha)
        for name, module in found.items()
    }


@pytest.fixture(scope="session")
def toy_paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each family, and beside it ``FAMILY-style``, a LoRA for it."""
    folder = tmp_path_factory.mktemp("toys")
    paths = {}
    for name, size in TOY_SIZES.items():
        metadata = {"lora_forge.te_heads": str(TOY_HEADS[name][0]), "lora_forge.te2_heads": str(TOY_HEADS[name][-1])}
        paths[name] = ldm.save(folder / f"{name}.safetensors", ldm.random_state(ldm.checkpoint(size)), metadata)
        save_lora(folder / f"{name}-style.safetensors", random_lora(paths[name], 1), {})
    return paths


@pytest.fixture(scope="session")
def toy_photos(tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    """Two photos of 64 px."""
    return tiny.build_project(tmp_path_factory.mktemp("photos"), ((70, 70), (64, 64)))
