"""A run's numbered files with all that may lie beside them, and what a folder holds, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lora_forge.lora_file.writer import save_lora
from tests.lora_file.adapters import both

METADATA = {
    "ss_base_model_version": "sd_v1",
    "ss_training_comment": "LoRA Forge 0",
    "ss_steps": "30",
    "modelspec.title": "old",
    "modelspec.trigger_phrase": "ohwx",
    "modelspec.hash_sha256": "0xab",
    "ss_tag_frequency": json.dumps({"10_a": {"ohwx": 4, "1girl": 4, "smile": 2}}),
    "ss_dataset_dirs": json.dumps({"10_a": {"n_repeats": 10, "img_count": 4}}),
}


def make_run(folder: Path, name: str = "girl", epochs: int = 3) -> None:
    """Numbered files, one between two epochs, cards and previews of some; a neighbour that is no part of it."""
    folder.mkdir(parents=True, exist_ok=True)
    for epoch in range(1, epochs + 1):
        path = folder / f"{name}-{epoch:06d}.safetensors"
        save_lora(path, both(4, epoch, torch.float16), {**METADATA, "ss_epoch": str(epoch)})
    save_lora(folder / f"{name}-step00000025.safetensors", both(4, 99, torch.float16), METADATA)
    (folder / f"{name}-000001.json").write_text('{"notes": "first", "mine": [1, 2]}', encoding="utf-8")
    (folder / f"{name}-000001.preview.png").write_bytes(b"a picture")
    (folder / f"{name}-000002.civitai.info").write_bytes(b"{}")
    (folder / "other-000001.safetensors").write_bytes(b"another's")
    (folder / f"{name}.txt").unlink(missing_ok=True)


def picture(path: Path) -> Path:
    """A large PNG with a prompt and a place in it."""
    info = PngInfo()
    info.add_text("parameters", "a secret prompt")
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x010E] = "at home"
    Image.new("RGB", (1600, 1000), (10, 200, 30)).save(path, pnginfo=info, exif=exif)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file beneath ``folder`` with its bytes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
