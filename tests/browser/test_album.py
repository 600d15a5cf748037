"""The generalisation test in a real Chromium: scenes, pictures with their ticks, the verdict, one large, the sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.test_page import wait_idle
from tests.browser.test_test_step import open_girl

pytestmark = pytest.mark.slow

PANEL = "#lora_forge_album"
PATIENCE_MS = 240_000


def test_nine_scenes_are_offered_and_three_are_drawn_judged_enlarged_and_saved(
    page: Any, girl: str, tmp_path: Path
) -> None:
    open_girl(page, girl)
    page.wait_for_selector(f"{PANEL} .lf-album-which:has-text('{girl}')")
    page.click(f"{PANEL} .lf-scenes > summary")
    # what she excludes is marked: those of the type that was chosen before have come and gone
    odd = f"[...document.querySelectorAll('{PANEL} .lf-scene-odd')].map((one) => one.textContent).join()"
    page.wait_for_function(f"{odd} === 'White hair'")
    assert page.locator(f"{PANEL} .lf-scene input:checked").count() == 9
    # a changeable trait in another colour comes first
    assert page.locator(f"{PANEL} .lf-scene").first.text_content() == "red shirt"

    page.click(f"{PANEL} button:has-text('Choose none')")
    assert page.is_disabled("#lora_forge_album_start")
    page.check(f"{PANEL} .lf-scene[data-id=toy-snow] input")
    page.check(f"{PANEL} .lf-scene[data-id=toy-red-dress] input")
    page.fill(f"{PANEL} textarea", "city, smile")
    page.fill(f"{PANEL} [data-key=steps] input", "4")
    assert page.text_content("#lora_forge_album_start") == "Draw 3 pictures"
    wait_idle(page)
    page.click("#lora_forge_album_start")
    page.wait_for_selector("#lora_forge_album_verdict", timeout=PATIENCE_MS)
    tiles = page.locator(f"{PANEL} .lf-album-tile")
    assert [one.strip() for one in tiles.locator("figcaption b").all_text_contents()] == [
        *("In the snow", "In a red dress"),
        "city, smile",
    ]
    for number, ticks in enumerate((2, 2, 3)):
        assert tiles.nth(number).locator(".lf-tick").count() >= ticks
    assert page.locator(f"{PANEL} .lf-album-photos img").count() == 6
    page.wait_for_function(
        "[...document.querySelectorAll('#lora_forge_album img')].every((one) => one.complete && one.naturalWidth > 0)"
    )

    tiles.first.locator("button").click()
    assert page.locator("dialog .lf-pair figure").count() == 2
    page.keyboard.press("ArrowRight")
    assert page.text_content("dialog h4") == "In a red dress"
    page.keyboard.press("Escape")

    page.uncheck(f"{PANEL} label:has-text('Show real photos in it') input")
    with page.expect_download() as coming:
        page.click("#lora_forge_album_sheet")
    coming.value.save_as(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width < 1400  # no column of photos
    assert coming.value.suggested_filename.startswith(f"{girl}-20")


def test_the_panel_speaks_chinese_and_fits_a_phone(page: Any, girl: str) -> None:
    page.evaluate("window.loraForge.kit.chooseStep('test')")
    page.click("#lora_forge_language label:has-text('简体中文')")
    page.wait_for_selector(f"{PANEL} h3:has-text('泛化测试')")
    page.set_viewport_size({"width": 390, "height": 800})
    page.click("#lora_forge_kind label >> nth=6")
    page.fill("#lora_forge_project input", girl)
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.wait_for_selector(f"{PANEL} .lf-scenes summary:has-text('场景：已选 9 个')")
    page.click(f"{PANEL} .lf-scenes > summary")
    page.wait_for_selector(f"{PANEL} .lf-scene >> nth=0 >> text='红色衬衫'")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.click("#lora_forge_language label:has-text('English')")
    page.wait_for_selector(f"{PANEL} h3:has-text('Generalisation test')")
