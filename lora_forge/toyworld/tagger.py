"""The toy world's judge as a tagger: tags for drawn photos, for the demo and the tests. Nothing to download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image

from lora_forge.dataset.taggers.labels import Label
from lora_forge.dataset.taggers.tagger import Thresholds
from lora_forge.toyworld.judge import Judge, Sighting, load_judge, weights_path
from lora_forge.toyworld.world import COLOURS, EYES, GARMENTS, HAIR, PLACES, vocabulary

TOY_ID = "toyworld"
THRESHOLDS = Thresholds(0.5, 0.5)
_STYLES = {"short hair": "short", "long hair": "long", "twintails": "twintails"}


class ToyTagger:
    """Scores for every tag of the toy world."""

    id = TOY_ID
    batch_size = 16

    def __init__(self) -> None:
        self.labels: Sequence[Label] = tuple(Label(tag) for tag in vocabulary())

    @property
    def fingerprint(self) -> str:
        """Of the bundled weights, which change with the program alone."""
        return f"toyworld-{weights_path().stat().st_size}"

    @cached_property
    def _judge(self) -> Judge:
        return load_judge()

    def score(self, images: Sequence[Image.Image]) -> npt.NDArray[np.float32]:
        """(B, L): how likely the judge finds each tag."""
        rows = [
            [chances[label.name] for label in self.labels] for chances in map(_chances, self._judge.look_at(images))
        ]
        return np.asarray(rows, dtype=np.float32).reshape(len(images), len(self.labels))


def _chances(seen: Sighting) -> Mapping[str, float]:
    see = seen.probability
    found = {"1girl": 1.0, "hat": see("hat", "yes"), "smile": see("smile", "yes")}
    found["glasses"] = 1 - see("glasses", "none")
    found |= {f"{colour} hair": see("hair", colour) for colour in HAIR}
    found |= {tag: see("style", style) for tag, style in _STYLES.items()}
    found |= {f"{colour} eyes": see("eyes", colour) for colour in EYES}
    found |= {f"{one} {kind}": see("colour", one) * see("garment", kind) for one in COLOURS for kind in GARMENTS}
    return found | {place: see("place", place) for place in PLACES}
