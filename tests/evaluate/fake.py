"""A host that draws flat colours: what was asked can be read off the picture, and every call is kept."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from lora_forge.config import Family
from lora_forge.ports import BaseInfo, BorrowedModel, PictureRequest


class FlatHost:
    """Keeps ``asked`` (requests drawn) and ``closed`` (whether the drawing was ended properly)."""

    def __init__(self, name: str = "base") -> None:
        self.name = name
        self.asked: list[PictureRequest] = []
        self.is_closed = False

    def info(self) -> BaseInfo:
        return BaseInfo(self.name, Family.SD1, "epsilon", "made so")

    def borrow(self) -> contextlib.AbstractContextManager[BorrowedModel]:
        raise AssertionError("a grid has no need to borrow")

    def draw(
        self, requests: Sequence[PictureRequest], lora_dirs: Sequence[Path], _: Any = None
    ) -> Iterator[Image.Image]:
        try:
            for request in requests:
                self.asked.append(request)
                yield Image.new("RGB", (request.width, request.height), colour_of(request))
        finally:
            self.is_closed = True


def colour_of(request: PictureRequest) -> tuple[int, int, int]:
    digest = hashlib.sha256(f"{request.prompt}|{request.seed}".encode()).digest()
    return digest[0], digest[1], digest[2]


def make_files(folder: Path, name: str, epochs: Sequence[int]) -> None:
    """Files of the right names; a grid looks at names and bytes alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for epoch in epochs:
        (folder / f"{name}-{epoch:06d}.safetensors").write_bytes(f"{name} {epoch}".encode())
