"""The Test step in a real Chromium: a grid that is drawn, scored and read, one cell beside a photo, stop and go on."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from PIL import Image

from tests.browser.conftest import Served
from tests.browser.test_page import go, wait_for_value, wait_idle

pytestmark = pytest.mark.slow

TEST = "#lora_forge_test"
PATIENCE_MS = 240_000


def open_girl(page: Any, girl: str) -> None:
    page.click("#lora_forge_kind label:has-text('Toy world') >> nth=0")
    page.fill("#lora_forge_project input", girl)
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    go(page, "test")
    page.wait_for_selector(f"#lora_forge_test_lora > option[value={girl}]", state="attached")  # of the project itself
    page.select_option("#lora_forge_test_lora", girl)  # another test may have begun a newer one
    wait_for_value(page, f"{TEST} [data-key=epochs] input", "1-3")


def ask_for(page: Any, mode: str, **fields: str) -> None:
    page.check(f"{TEST} input[name=lf_test_mode][value={mode}]")
    more = page.locator("#lora_forge_test_more")
    if more.get_attribute("open") is None:
        page.click("#lora_forge_test_more > summary")
    for key, value in fields.items():
        page.fill(f"{TEST} [data-key={key}] input", value)


def start(page: Any, wanted: str = "done") -> None:
    wait_idle(page)
    page.click("#lora_forge_test_start")
    page.wait_for_selector(f"{TEST} .lf-note:has-text('The test has started')")
    if wanted:
        page.wait_for_selector(
            "#lora_forge_live .lf-live[data-state=" + wanted + "]", state="attached", timeout=PATIENCE_MS
        )


def pictures(page: Any) -> int:
    return int(page.evaluate("document.querySelectorAll('#lora_forge_test .lf-cell img[src]').length"))


def test_a_grid_is_drawn_scored_and_read(page: Any, served: Served, girl: str) -> None:
    open_girl(page, girl)
    page.wait_for_selector(f"{TEST} .lf-judges li[data-score=identity]", state="attached")
    ask_for(page, "full", strengths="0.5, 1", width="64", height="64", steps="4")
    page.wait_for_selector("#lora_forge_test_plan .lf-info")
    start(page)
    page.wait_for_function(
        "document.querySelectorAll('#lora_forge_test .lf-cell img[src]').length === 7", timeout=PATIENCE_MS
    )
    # read: maps with a number in each cell, a sentence, a diagnosis with its evidence
    page.wait_for_selector("#lora_forge_verdict .lf-plan:has-text('epoch')", timeout=PATIENCE_MS)
    page.wait_for_selector("#lora_forge_verdict .lf-diagnosis li", state="attached")
    spots = page.locator(f"{TEST} [data-score=identity] .lf-spot")
    numbers = spots.all_inner_texts()
    assert len(numbers) == 7
    assert all(re.fullmatch(r"\d{1,3}", one) for one in numbers)

    # one cell, large, beside a photo; the arrows walk
    page.click(f"{TEST} .lf-cell[data-cell='2:0.5']")
    view = page.locator("dialog.lf-cell-view")
    assert "epoch 2 at strength 0.5" in view.locator("h4").inner_text()
    assert view.locator("figure").count() == 2
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert "epoch 3 at strength 1" in view.locator("h4").inner_text()
    page.wait_for_function("[...document.querySelectorAll('.lf-pair img')].every((one) => one.naturalWidth > 0)")
    view.locator(".lf-primary").click()
    assert page.get_attribute("#lora_forge", "data-step") == "keep"
    assert page.evaluate("[loraForge.test.now().epoch, loraForge.test.now().strength]") == [3, 1]

    # the whole of it as one picture
    go(page, "test")
    for what in ("grid", "heat"):
        answer = page.request.get(page.get_attribute(f"{TEST} [data-export={what}]", "href"))
        with Image.open(io.BytesIO(answer.body())) as picture:
            assert picture.width > 200

    # in Chinese, without an English sentence
    page.click("#lora_forge_language label:has-text('简体中文')")
    page.wait_for_selector("#lora_forge_verdict .lf-plan:has-text('轮')")
    assert re.findall(r"[A-Za-z]{3,} [a-z]{3,} [a-z]{2,}", page.inner_text("#lora_forge_verdict")) == []
    page.click("#lora_forge_language label:has-text('English')")
    page.wait_for_selector("#lora_forge_test_start:has-text('Start the test')")


def test_the_project_changes_while_the_form_is_on_its_way(page: Any, girl: str) -> None:
    page.click("#lora_forge_kind label:has-text('Toy world') >> nth=0")
    go(page, "test")
    page.evaluate(
        """() => {
            const fetched = window.fetch;
            window.late = 0;
            window.fetch = async (address, options) => {
                const answer = await fetched(address, options);
                if (!String(address).includes("test/form")) return answer;
                window.late += 1;
                await loraForge.kit.wait(800);
                window.late -= 1;
                return answer;
            };
        }"""
    )
    page.fill("#lora_forge_project input", "nobody")
    page.wait_for_selector(f"{TEST} .lf-error:has-text('nobody')")
    page.fill("#lora_forge_project input", girl)
    page.wait_for_function("window.late > 0")
    page.fill("#lora_forge_project input", "nobody_here")
    page.wait_for_selector(f"{TEST} .lf-error:has-text('nobody_here')")
    page.fill("#lora_forge_project input", girl)
    page.wait_for_function(f"(loraForge.test.form.told || {{loras: []}}).name === '{girl}'")


def test_a_test_is_stopped_goes_on_and_is_thrown_away(page: Any, served: Served, girl: str) -> None:
    open_girl(page, girl)
    ask_for(page, "full", strengths="0.1-1.0", width="64", height="64", steps="6")
    before = page.locator("#lora_forge_tests option").count()
    start(page, "")
    page.wait_for_function(
        "document.querySelectorAll('#lora_forge_test .lf-cell img[src]').length >= 2", timeout=PATIENCE_MS
    )
    page.click(f"{TEST} [data-act=stop]")
    page.wait_for_selector(f"{TEST} [data-act=resume]", timeout=PATIENCE_MS)
    drawn = pictures(page)
    assert 2 <= drawn < 31
    page.click(f"{TEST} [data-act=resume]")
    page.wait_for_function(
        f"document.querySelectorAll('{TEST} .lf-cell img[src]').length > {drawn}", timeout=PATIENCE_MS
    )
    page.click(f"{TEST} [data-act=stop]")
    page.wait_for_selector(f"{TEST} [data-act=remove]", timeout=PATIENCE_MS)
    page.click(f"{TEST} [data-act=remove]")
    page.wait_for_selector(f"{TEST} .lf-good:has-text('trash')")
    assert page.locator("#lora_forge_tests option").count() == before
    wait_idle(page, "stopped")
