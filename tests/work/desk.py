"""A desk on a real, tiny diffusers checkpoint: one lock, one Lora folder, and a memory of what it was asked."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image

from lora_forge.errors import CheckpointError
from lora_forge.host.lending import held
from lora_forge.host.traces import generator_marks, module_marks
from lora_forge.ports import BaseInfo, BorrowedModel, PictureRequest, Traces, helper_model_dirs, never
from tests.train import tiny


class TinyDesk:
    """``lock`` is what a WebUI's generation lock is. ``unused``: keys the host's loader would leave."""

    name = "Tiny 1.0"

    def __init__(self, root: Path, model: BorrowedModel | None = None) -> None:
        self.root, self.model = root, model or tiny.build_model()
        self.lock = threading.Lock()
        self.unused: Any = ()
        self.checked: list[str] = []
        self.reports: list[tuple[int, int, str]] = []
        self.looks: list[bool] = []

    def info(self) -> BaseInfo:
        return self.model.info

    @contextlib.contextmanager
    def borrow(self, label: str = "LoRA Forge", should_stop: Callable[[], bool] = never) -> Iterator[BorrowedModel]:
        with held(self.lock, should_stop):
            yield dataclasses.replace(self.model)

    def draw(self, requests: Sequence[PictureRequest], lora_dirs: Sequence[Path], _: Any = None) -> Iterator[Image]:
        raise CheckpointError("Not here.")

    def language(self) -> str:
        return "en"

    def checkpoints(self) -> tuple[str, ...]:
        return (self.model.info.name,)

    def loaded(self) -> str:
        return self.model.info.name

    def switch(self, title: str) -> None:
        raise CheckpointError("There is one checkpoint here.")

    def data_root(self) -> Path:
        (self.root / "data").mkdir(exist_ok=True)
        return self.root / "data"

    def grids_dir(self) -> Path:
        return self.root / "grids"

    def lora_dir(self) -> Path:
        (self.root / "Lora").mkdir(exist_ok=True)
        return self.root / "Lora"

    def model_dirs(self) -> Mapping[str, tuple[Path, ...]]:
        return helper_model_dirs(self.data_root() / "models")

    def check_loads(self, path: Path) -> tuple[str, ...]:
        assert self.lock.locked(), "looked at while the checkpoint is ours"
        self.checked.append(path.name)
        if isinstance(self.unused, Exception):
            raise self.unused
        return tuple(self.unused)

    def report(self, step: int, total: int, text: str) -> None:
        self.reports.append((step, total, text))

    def traces(self, with_picture: bool = False) -> Traces:
        with self.lock:
            self.looks.append(with_picture)
            marks = {**generator_marks(), **module_marks("unet", self.model.unet)}
        return Traces(marks)
