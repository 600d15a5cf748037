"""What describes a photo in its own words: the host's interrogators, a captioner of transformers."""

from __future__ import annotations

from typing import Literal, Protocol

from PIL import Image


class Interrogator(Protocol):
    """Describes one photo at a time; heavy models stay its own business."""

    @property
    def id(self) -> str:
        """Short name, unique among those on offer."""
        ...

    @property
    def name(self) -> str:
        """What to call it."""
        ...

    @property
    def kind(self) -> Literal["tags", "sentence"]:
        """Tags separated by commas, or a sentence."""
        ...

    @property
    def problem(self) -> str:
        """Why it can't be used now, as an English sentence of the catalogue; empty when it can."""
        ...

    def __call__(self, image: Image.Image) -> str:
        """What an RGB image shows.

        Raises:
            LoraForgeError: it failed, or a file it needs is not there.
        """
        ...
