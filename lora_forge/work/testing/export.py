"""A kept test as pictures to save: the labelled grid, the heat maps. Both carry the plan and the hosts' text."""

from __future__ import annotations

import io

from PIL import Image

from lora_forge.errors import ConfigError
from lora_forge.evaluate.grid import Grid
from lora_forge.evaluate.heat import render_heat_map
from lora_forge.evaluate.picture import png_text, render_grid
from lora_forge.evaluate.plan import NO_EPOCH
from lora_forge.work.testing.store import KeptTest

WHATS = ("grid", "swaps", "heat")


class KeptGrid(Grid):
    """The pictures of a kept test, each read when it is asked for: a hundred large ones are more than memory bears."""

    def __init__(self, test: KeptTest) -> None:
        super().__init__(test.plan)
        self._test = test

    def pictures(self, epoch: int, strength: float) -> list[Image.Image]:
        """Those of a cell that can be read; empty when one can't."""
        cell = (epoch, strength) if strength else (NO_EPOCH, 0.0)
        found = []
        for path in self._test.cells.get(cell, ()):
            try:
                with Image.open(path) as picture:
                    found.append(picture.convert("RGB"))
            except OSError:
                return []
        return found


def export_picture(test: KeptTest, what: str, language: str) -> Image.Image:
    """``grid``: the plain pictures with their scores; ``swaps``: those of the second prompt; ``heat``: the maps.

    Raises:
        ConfigError: there is nothing to show, or no such picture.
    """
    if what not in WHATS:
        raise ConfigError(
            "There is no picture {name!r} of a test.", "Choose one of {known}.", name=what, known=", ".join(WHATS)
        )
    if not test.cells or (what == "heat" and not test.surface):
        raise ConfigError("There is nothing to show of this test yet.", "Wait for its first pictures.")
    if what == "heat":
        return render_heat_map(test.surface, test.recommendation, 2, plan=test.plan, language=language)
    return render_grid(
        KeptGrid(test),
        test.surface,
        test.recommendation,
        test.base,
        shows_swapped=what == "swaps",
        is_sparse=test.request.mode == "smart",
        language=language,
    )


def export_png(test: KeptTest, what: str, language: str) -> bytes:
    """:func:`export_picture` as a PNG with the plan and, where their plot can do it, the hosts' text.

    Raises:
        ConfigError: as there.
    """
    file = io.BytesIO()
    export_picture(test, what, language).save(file, format="PNG", pnginfo=png_text(test.plan))
    return file.getvalue()
