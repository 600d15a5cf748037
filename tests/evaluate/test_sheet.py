"""The picture to share: its size, what is where on it, and letters that this machine may not have."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image, ImageFont

from lora_forge.evaluate import lettering
from lora_forge.evaluate.lettering import can_write
from lora_forge.evaluate.sheet import (
    AMBER,
    BAD,
    GOOD,
    MARGIN,
    PAPER,
    PHOTO_PX,
    TILE_PX,
    WAIT,
    Drawn,
    Sheet,
    render_sheet,
)

BLUE, RED = (10, 20, 200), (200, 20, 10)
TICKS = ((True, "alike 93 %"), (False, "red dress"), (None, "hanfu"))


def sheet(count: int = 9, photos: int = 4, size: tuple[int, int] = (64, 64), **more: Any) -> Sheet:
    drawn = tuple(Drawn(Image.new("RGB", size, BLUE), f"scene {number}", TICKS) for number in range(count))
    values: dict[str, Any] = {
        "title": "anna", "facts": "epoch 7", "stamp": "Passed", "is_pass": True, "sentence": "All is well.",
        "drawn": drawn, "photos": (Image.new("RGB", (300, 500), RED),) * photos, "photos_title": "Real photos",
    }  # fmt: skip
    return Sheet(**{**values, **more})


def colours(image: Image.Image) -> dict[Any, int]:
    return {colour: count for count, colour in image.getcolors(1 << 20) or ()}


def test_nine_pictures_stand_in_three_columns_beside_the_photos() -> None:
    picture = render_sheet(sheet())
    found = colours(picture)
    assert picture.mode == "RGB"
    assert picture.width == 1608
    assert found[BLUE] > 9 * TILE_PX**2 * 0.99
    assert found[RED] > 3 * PHOTO_PX * 200
    assert all(found.get(colour, 0) > 100 for colour in (PAPER, GOOD, BAD, WAIT))


def test_without_photos_the_column_is_gone_and_nothing_of_them_is_left() -> None:
    picture = render_sheet(sheet(photos=0))
    assert picture.width == 2 * MARGIN + 3 * TILE_PX + 2 * 18
    assert RED not in colours(picture)


@pytest.mark.parametrize(("is_pass", "colour"), [(True, GOOD), (False, AMBER), (None, WAIT)])
def test_the_stamp_has_the_verdicts_colour(is_pass: bool | None, colour: tuple[int, int, int]) -> None:
    picture = render_sheet(sheet(count=1, photos=0, is_pass=is_pass))
    assert picture.getpixel((MARGIN + 12, MARGIN + 112 + 8)) == colour


def test_tall_pictures_and_more_than_nine_have_their_room() -> None:
    tall = render_sheet(sheet(count=4, size=(512, 768), photos=0))
    assert colours(tall)[BLUE] > 4 * TILE_PX * 570 * 0.99
    wide = render_sheet(sheet(count=12, photos=0))
    assert wide.width == 2 * MARGIN + 4 * TILE_PX + 3 * 18
    assert colours(wide)[BLUE] > 12 * TILE_PX**2 * 0.99


def test_long_words_stay_within_their_picture() -> None:
    label = "a very long prompt of one's own, " * 9
    ticks = tuple((True, "a tag of many letters and words") for _ in range(4))
    one = Drawn(Image.new("RGB", (64, 64), BLUE), label, ticks)
    picture = render_sheet(sheet(photos=0, drawn=(one, one), sentence=label, title=label, facts=label))
    right = picture.crop((picture.width - MARGIN + 2, 0, picture.width, picture.height))
    assert set(colours(right)) == {PAPER}


def test_an_empty_album_is_no_failure() -> None:
    assert render_sheet(sheet(count=0, photos=0)).height > 200


# ------------------------------------------------------------------ letters


def test_latin_can_always_be_written() -> None:
    assert can_write("Real photos · 93 % – “quoted”")


def test_chinese_takes_a_font_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = lettering._font(False, 16)
    monkeypatch.setattr(lettering, "_font", lambda is_wide, size_px: plain)
    assert not can_write("真实素材")


def test_a_machine_without_scalable_fonts_has_no_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    bitmap = ImageFont.ImageFont()
    monkeypatch.setattr(lettering, "_font", lambda is_wide, size_px: bitmap)
    assert not can_write("真实素材")
    assert can_write("Real photos")
