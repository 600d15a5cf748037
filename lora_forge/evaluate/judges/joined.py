"""Several judges as one."""

from __future__ import annotations

from collections.abc import Sequence

from PIL.Image import Image

from lora_forge.evaluate.scores import Asked, Judge, PictureScore


class Joined:
    """Every number from the first judge that can tell it; a picture is as healthy as the strictest of them says."""

    def __init__(self, judges: Sequence[Judge]) -> None:
        self._judges = tuple(judges)

    def score(self, images: Sequence[Image], asked: Asked) -> list[PictureScore]:
        """In the order of ``images``."""
        rows = [judge.score(images, asked) for judge in self._judges]
        return [joined(column) for column in zip(*rows, strict=True)] if rows else [PictureScore(None) for _ in images]


def joined(scores: Sequence[PictureScore]) -> PictureScore:
    """One picture's scores as one."""
    return PictureScore(
        identity=_first([score.identity for score in scores]),
        health=min(score.health for score in scores),
        obedience=_first([score.obedience for score in scores]),
        own_traits=_first([score.own_traits for score in scores]),
        copying=_first([score.copying for score in scores]),
        shown={tag: chance for score in reversed(scores) for tag, chance in score.shown.items()},
    )


def _first(values: Sequence[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)
