"""The toy world's desk and project of the test job's tests, and a desk that paints what it is asked for."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL.Image import Image

from lora_forge.config import Family
from lora_forge.dataset.project import Project
from lora_forge.dataset.traits import Traits
from lora_forge.host.desk import StandaloneDesk
from lora_forge.ports import PictureRequest
from lora_forge.toyworld.subject import TRAIT_TAGS, subject_look
from lora_forge.toyworld.world import COLOURS, GARMENTS, PLACES, Look, draw, random_look
from lora_forge.work.albums.request import AlbumRequest
from lora_forge.work.albums.request import request_for as made_request
from tests.work.testing.conftest import desk, project, toy_host, toy_loras

__all__ = ["desk", "project", "toy_host", "toy_loras"]

NINE = (
    *("toy-snow", "toy-city", "toy-night", "toy-red-dress", "toy-black-dress", "toy-green-shirt"),
    *("toy-hat-snow", "toy-red-snow", "toy-smile"),
)


class Painter:
    """Draws by the toy world's own brush what a perfect LoRA would, or one with a planted fault. ``kept``: pictures
    until the host fails; None for all."""

    def __init__(self, behind: StandaloneDesk, fault: str = "", kept: int | None = None) -> None:
        self._behind, self.fault, self.kept = behind, fault, kept
        self.asked: list[PictureRequest] = []
        self.is_closed = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

    def draw(self, requests: Sequence[PictureRequest], lora_dirs: Sequence[Path], _: Any = None) -> Iterator[Image]:
        self.is_closed = False
        try:
            for request in requests:
                if self.kept is not None and len(self.asked) >= self.kept:
                    raise OSError("the card is gone")
                self.asked.append(request)
                yield draw(self._look(request))
        finally:
            self.is_closed = True

    def _look(self, request: PictureRequest) -> Look:
        rng = random.Random(request.seed)
        has_lora = "<lora:" in request.prompt
        look = subject_look(rng) if has_lora and self.fault != "stranger" else random_look(rng)
        return look if has_lora and self.fault == "deaf" else asked_for(look, request.prompt)


def asked_for(look: Look, prompt: str) -> Look:
    """``look`` as the prompt wants it."""
    for tag in (part.strip() for part in prompt.split(",")):
        colour, _, thing = tag.partition(" ")
        if tag in PLACES:
            look = replace(look, place=tag)
        elif tag in ("hat", "smile"):
            look = replace(look, **{tag: True})
        elif thing in GARMENTS and colour in COLOURS:
            look = replace(look, garment=thing, colour=colour)
        elif thing == "hair" and colour == "white":
            look = replace(look, hair="white")
    return look


@pytest.fixture
def answered(project: Project) -> Project:
    """Her traits are part of her, as the demo's captions have it."""
    text = Traits(dict.fromkeys(TRAIT_TAGS, "part"), {}, "toyworld").text()
    (project.root / "traits.json").write_text(text, encoding="utf-8")
    return project


def request_for(project: Project, scenes: Sequence[str] = NINE, **more: Any) -> AlbumRequest:
    """Epoch 2 of the toy LoRA at strength 1."""
    values: dict[str, Any] = {"own": (), "steps": 2, **more}
    return made_request(project, "toyworld", Family.SD1, "toy", 2, 1.0, scenes, **values)
