"""The next round in a real browser: the advice in both languages, a click that begins it, rounds side by side."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lora_forge.config import Family
from lora_forge.dataset.project import Project
from lora_forge.ports import BaseInfo
from tests.browser.conftest import Served
from tests.browser.test_page import wait_idle
from tests.work.planted_rounds import keep_test

CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="session")  # of the program, not of this file: its tests may be run apart
def tested(served: Served, girl: str) -> Project:
    """The girl's three epochs, tested: not like her yet."""
    project = Project.load(served.data / "projects" / girl)
    keep_test(
        project, girl, BaseInfo("toyworld", Family.SD1, "epsilon", "x"), lambda epoch: 0.2 + 0.1 * epoch, (1, 2, 3)
    )
    return project


@pytest.fixture
def step(page: Any, tested: Project) -> Any:
    """The page at the Test step of that project."""
    page.fill("#lora_forge_project input", tested.root.name)
    page.keyboard.press("Enter")
    page.evaluate("window.loraForge.kit.chooseStep('test')")
    page.wait_for_selector("#lora_forge_rounds .lf-choice")
    return page


def test_the_advice_is_begun_with_one_click(step: Any) -> None:
    advised = step.locator('#lora_forge_rounds .lf-choice[data-advised="true"]')
    assert advised.count() == 1
    assert advised.get_attribute("data-choice") == "more_repeats"
    assert "Repeats 2 to " in advised.inner_text()
    table = step.locator("#lora_forge_rounds table")
    assert table.locator("thead th").all_inner_texts() == ["girl"]
    table.scroll_into_view_if_needed()
    step.wait_for_function("document.querySelector('#lora_forge_rounds table img').naturalWidth > 0")
    wait_idle(step)
    advised.get_by_role("button").click()
    step.wait_for_selector("#lora_forge_rounds .lf-note.lf-good")
    assert step.inner_text("#lora_forge_rounds .lf-note.lf-good") == "girl_v2 has begun: its steps are shown in Train."
    step.evaluate("window.loraForge.kit.post('command', {command: 'stop'})")
    wait_idle(step, "stopped")


def test_photos_that_are_blamed_are_shown_on_their_wall(step: Any, tested: Project) -> None:
    keys = [tested.key(path) for path in tested.photo_paths()][:2]
    step.evaluate(
        "(keys) => { window.loraForge.kit.chooseStep('photos'); window.loraForge.photos.wall.show(keys); }", keys
    )
    step.wait_for_selector("#lora_forge_photos .lf-tile")
    assert step.locator("#lora_forge_photos .lf-tile").count() == 2


def test_no_english_is_left_in_chinese(step: Any) -> None:
    step.click('#lora_forge_language input[value="zh"]')
    step.wait_for_selector('#lora_forge_rounds .lf-rounds[data-language="zh"] .lf-choice')
    parts = "#lora_forge_rounds h3, #lora_forge_rounds h4, #lora_forge_rounds p, #lora_forge_rounds li"
    parts += (
        ", #lora_forge_rounds button:not(.lf-round-picture), #lora_forge_rounds th[scope=row], #lora_forge_rounds b"
    )
    shown = [text for text in step.locator(parts).all_inner_texts() if re.search("[A-Za-z]", text)]
    assert [text for text in shown if not CHINESE.search(text)] == []
    assert step.evaluate("document.documentElement.scrollWidth") <= 1280
