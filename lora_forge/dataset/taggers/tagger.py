"""What every tagger can do, wherever it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from lora_forge.dataset.taggers.labels import Label


@dataclass(frozen=True)
class Thresholds:
    """Above which score a tag counts, by the maker's advice."""

    general: float = 0.35
    character: float = 0.85


class Tagger(Protocol):
    """Scores for tags."""

    @property
    def id(self) -> str:
        """Short name, unique among those on offer."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of the files and of how photos are prepared: equal fingerprints give equal scores."""
        ...

    @property
    def labels(self) -> Sequence[Label]:
        """What the scores are of, in order."""
        ...

    @property
    def batch_size(self) -> int:
        """How many photos it takes at once."""
        ...

    def score(self, images: Sequence[Image.Image]) -> npt.NDArray[np.float32]:
        """(B, L) in 0..1 for RGB images of any size.

        Raises:
            MissingPartError: a library it needs is absent.
            TaggerError: the model failed.
        """
        ...
