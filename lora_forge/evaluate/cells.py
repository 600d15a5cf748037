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
        found = self.load_each(epoch, strength)
        pictures = [picture for picture in found if picture is not None]
        return pictures if len(pictures) == len(found) else None

    def load_each(self, epoch: int, strength: float) -> list[Image.Image | None]:
        """The pictures of a cell one by one; None for each that is missing, damaged or drawn from something else.

        Of an epoch whose file is gone there is nothing to compare with: what was drawn from it counts as it is.
        """
        if self._folder is None:
            return [None] * self._plan.pictures_a_cell
        paths, requests = self.paths(epoch, strength), self._plan.requests(epoch, strength)
        return [
            _read(path, self._mark(epoch, request) if self._has_file(epoch) else None)
            for path, request in zip(paths, requests, strict=True)
        ]

    def save(self, epoch: int, strength: float, pictures: Sequence[Image.Image]) -> None:
        """Write the pictures of a cell, each whole or not at all."""
        for number, picture in enumerate(pictures):
            self.save_one(epoch, strength, number, picture)

    def save_one(self, epoch: int, strength: float, number: int, picture: Image.Image) -> None:
        """Write the picture with that ``number`` (from 0) among the cell's requests."""
        if self._folder is not None:
            request = self._plan.requests(epoch, strength)[number]
            _write(self.paths(epoch, strength)[number], picture, self._mark(epoch, request))

    def paths(self, epoch: int, strength: float) -> list[Path]:
        """Where the pictures of a cell are, or would be, in the order of the plan's requests; none without a folder."""
        if self._folder is None:
            return []
        stem = "baseline" if epoch == NO_EPOCH else f"{file_stem(self._plan.name, epoch)}_{strength:g}"
        kinds = ("", "_swapped")[: len(self._plan.prompts())]
        return [self._folder / f"{stem}{kind}_seed{seed}.png" for kind in kinds for seed in self._plan.seeds]

    def mark(self, epoch: int, strength: float) -> str:
        """What a cell is drawn from, as one fingerprint; empty where its file is gone."""
        if not self._has_file(epoch):
            return ""
        marks = [self._mark(epoch, request) for request in self._plan.requests(epoch, strength)]
        return hashlib.sha256("".join(marks).encode()).hexdigest()

    def _has_file(self, epoch: int) -> bool:
        return epoch == NO_EPOCH or epoch in self._files

    def _mark(self, epoch: int, request: PictureRequest) -> str:
        if epoch in self._files and epoch not in self._hashes:
            self._hashes[epoch] = hashlib.sha256(self._files[epoch].read_bytes()).hexdigest()
        told = [self._base, dataclasses.asdict(request), self._hashes.get(epoch, "")]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _write(path: Path, picture: Image.Image, mark: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text(_KEY, mark)
    write_atomically(path, lambda temporary: picture.save(temporary, format="PNG", pnginfo=info))


def _read(path: Path, mark: str | None) -> Image.Image | None:
    """The picture, if it carries ``mark``, or any where that is None."""
    try:
        with Image.open(path) as picture:
            found = picture.info.get(_KEY)
            return picture.convert("RGB") if found and mark in (None, found) else None
    except (OSError, UnidentifiedImageError):
        return None
