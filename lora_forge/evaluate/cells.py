"""Cells of a grid on disk: one PNG a picture, each knowing exactly what it was drawn from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from lora_forge.atomic import write_atomically
from lora_forge.evaluate.plan import NO_EPOCH, GridPlan, file_stem
from lora_forge.ports import BaseInfo, PictureRequest

_KEY = "lora_forge_drawn_from"


class CellStore:
    """Keeps cells in a folder, or keeps nothing when the folder is None.

    A picture is taken back only when its request, its LoRA file's content and the base checkpoint are the same as now.
    The base is told by name, family and prediction type: a file that was replaced under its own name is not noticed.
    """

    def __init__(self, folder: Path | None, base: BaseInfo, plan: GridPlan, files: Mapping[int, Path]) -> None:
        self._folder = folder
        self._base = [base.name, base.family.value, base.prediction_type, base.zero_terminal_snr]
        self._plan = plan
        self._files = files
        self._hashes: dict[int, str] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def load(self, epoch: int, strength: float) -> list[Image.Image] | None:
        """The pictures of a cell, or None when one is missing, damaged or drawn from something else."""
        if self._folder is None:
            return None
        pictures = []
        for request in self._plan.requests(epoch, strength):
            picture = _read(self._path(epoch, strength, request.seed), self._mark(epoch, request))
            if picture is None:
                return None
            pictures.append(picture)
        return pictures

    def save(self, epoch: int, strength: float, pictures: Sequence[Image.Image]) -> None:
        """Write the pictures of a cell, each whole or not at all."""
        if self._folder is None:
            return
        for request, picture in zip(self._plan.requests(epoch, strength), pictures, strict=True):
            _write(self._path(epoch, strength, request.seed), picture, self._mark(epoch, request))

    def _path(self, epoch: int, strength: float, seed: int) -> Path:
        assert self._folder is not None
        stem = "baseline" if epoch == NO_EPOCH else f"{file_stem(self._plan.name, epoch)}_{strength:g}"
        return self._folder / f"{stem}_seed{seed}.png"

    def _mark(self, epoch: int, request: PictureRequest) -> str:
        if epoch != NO_EPOCH and epoch not in self._hashes:
            self._hashes[epoch] = hashlib.sha256(self._files[epoch].read_bytes()).hexdigest()
        told = [self._base, dataclasses.asdict(request), self._hashes.get(epoch, "")]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _write(path: Path, picture: Image.Image, mark: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text(_KEY, mark)
    write_atomically(path, lambda temporary: picture.save(temporary, format="PNG", pnginfo=info))


def _read(path: Path, mark: str) -> Image.Image | None:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB") if picture.info.get(_KEY) == mark else None
    except (OSError, UnidentifiedImageError):
        return None
