from __future__ import annotations

from collections.abc import Sequence

from PIL.Image import Image, new

from lora_forge.evaluate.judges.joined import Joined
from lora_forge.evaluate.scores import Asked, PictureScore


class Says:
    """The same of every picture."""

    def __init__(self, score: PictureScore) -> None:
        self.said = score

    def score(self, images: Sequence[Image], asked: Asked) -> list[PictureScore]:
        return [self.said for _ in images]


def test_each_number_from_the_first_who_can_tell_and_the_worst_health() -> None:
    judges = [
        Says(PictureScore(None, 0.9, shown={"snow": 0.7})),
        Says(PictureScore(0.4, 1.0, copying=0.2, shown={"snow": 0.1, "hat": 0.5})),
        Says(PictureScore(0.8, 0.3, obedience=0.6)),
    ]
    told = Joined(judges).score([new("RGB", (8, 8))] * 2, Asked("x"))
    assert told == [PictureScore(0.4, 0.3, 0.6, None, 0.2, {"snow": 0.7, "hat": 0.5})] * 2


def test_nobody_tells_nothing() -> None:
    assert Joined([]).score([new("RGB", (8, 8))], Asked("x")) == [PictureScore(None)]
