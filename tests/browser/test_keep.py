"""The Keep step in a real browser: one kept, the others away and back; tools on the host's files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lora_forge.dataset.project import Project
from lora_forge.lora_file.writer import load_lora
from lora_forge.toyworld.subject import photos
from tests.browser.conftest import Served
from tests.browser.test_page import wait_for_value
from tests.lora_file.adapters import write_file
from tests.lora_file.test_facts import KOHYA, SD1
from tests.work.kept import contents, make_run

CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="session")  # of the program, not of this file: its tests may be run apart
def loras(served: Served) -> Path:
    """A project with a run of three epochs, two previews, and a file of another trainer."""
    folder = served.data / "loras"
    project = Project.create(served.data / "projects" / "keeper", "ohwx")
    make_run(folder, "keeper")
    write_file(folder / "miku.safetensors", SD1, KOHYA)
    previews = project.runs_dir / "keeper" / "previews"
    previews.mkdir(parents=True)
    lines = []
    for step, (picture, _) in zip((10, 30), photos(1), strict=False):
        name = f"step-{step:08d}-1.png"
        picture.save(previews / name)
        lines.append({"event": "PreviewMade", "time": 1, "path": name, "step": step, "prompt": "ohwx", "column": 1})
    (previews.parent / "run.json").write_text("{}")
    (previews.parent / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def step(page: Any, loras: Path) -> Any:
    """The page at the Keep step of that project."""
    page.fill("#lora_forge_project input", "keeper")
    page.keyboard.press("Enter")
    page.evaluate("window.loraForge.kit.chooseStep('keep')")
    page.wait_for_selector("#lora_forge_keep_it:visible")
    wait_for_value(page, "#lora_forge_keep_lora", "keeper")
    page.wait_for_selector('#lora_forge_loras [data-file="miku.safetensors"]')
    return page


def test_one_is_kept_and_all_come_back(step: Any, loras: Path) -> None:
    before = contents(loras)
    step.select_option("#lora_forge_keep_epoch", "2")
    step.wait_for_function("document.querySelector('#lora_forge_keep_epoch').value === '2'")
    step.fill("#lora_forge_keep_strength", "0.8")
    step.keyboard.press("Tab")
    step.wait_for_function("!document.querySelector('#lora_forge_keep_bake').disabled")
    assert step.input_value("#lora_forge_keep_weight") == "0.8"
    step.check("#lora_forge_keep_bake")
    assert step.input_value("#lora_forge_keep_weight") == "1"
    assert step.input_value("#lora_forge_keep_activation") == "ohwx, 1girl"
    pictures = step.locator("#lora_forge_keep .lf-keep-picture")
    assert pictures.count() == 3
    pictures.nth(1).click()
    assert pictures.nth(1).get_attribute("aria-pressed") == "true"
    step.fill("#lora_forge_keep_name", "keeper_final")
    step.click("#lora_forge_keep_it")
    undo = step.locator("#lora_forge_keep_undo")
    undo.wait_for()
    assert "baked in" in step.inner_text("#lora_forge_keep .lf-note.lf-good")
    there = {name for name in contents(loras) if name.startswith("keeper")}
    assert there == {"keeper_final.safetensors", "keeper_final.json", "keeper_final.png"}
    card = json.loads((loras / "keeper_final.json").read_text("utf-8"))
    assert (card["activation text"], card["preferred weight"], card["sd version"]) == ("ohwx, 1girl", 1, "SD1")
    step.wait_for_selector('#lora_forge_loras [data-file="keeper_final.safetensors"]')
    undo.click()  # what was said goes, and comes back with what was done
    step.wait_for_selector("#lora_forge_keep .lf-note.lf-good")
    assert contents(loras) == before
    wait_for_value(step, "#lora_forge_keep_name", "keeper")


def test_a_name_that_is_taken_is_refused_where_it_was_asked(step: Any, loras: Path) -> None:
    before = contents(loras)
    step.fill("#lora_forge_keep_name", "miku")
    step.click("#lora_forge_keep_it")
    step.wait_for_selector("#lora_forge_keep .lf-note.lf-error")
    assert "exists already" in step.inner_text("#lora_forge_keep .lf-note.lf-error")
    assert step.input_value("#lora_forge_keep_name") == "miku"
    assert contents(loras) == before


def test_another_trainers_settings_are_taken(step: Any) -> None:
    step.fill("#lora_forge_loras_search", "MIKU sd1")
    rows = step.locator("#lora_forge_loras [data-file]")
    assert rows.count() == 1
    rows.first.get_by_role("button").first.click()
    step.wait_for_selector("dialog[open] .lf-facts")
    assert "anylora.safetensors" in step.inner_text("dialog[open]")
    assert "twintails" in step.inner_text("dialog[open] .lf-lora-words")
    step.click("#lora_forge_take_settings")
    step.wait_for_function("window.loraForge.kit.step() === 'train'")
    taken = step.evaluate("window.loraForge.train.form.values")
    assert (taken["rank"], taken["conv_rank"], taken["epochs"]) == (64, 8, 12)


def test_a_lower_rank_states_its_error(step: Any, loras: Path) -> None:
    step.click('#lora_forge_loras [data-file="keeper-000001.safetensors"] button:nth-child(2)')
    step.wait_for_selector("dialog[open]")
    step.fill("dialog[open] input[type=number]", "2")
    step.click("dialog[open] .lf-primary")
    step.wait_for_selector('#lora_forge_loras [data-file="keeper-000001_r2.safetensors"]')
    assert "Off by" in step.inner_text("#lora_forge_loras .lf-chore")
    made = loras / "keeper-000001_r2.safetensors"
    assert {module.rank for module in load_lora(made).weights.values()} == {2}
    made.unlink()


def test_no_english_is_left_in_chinese(step: Any) -> None:
    step.click('#lora_forge_language input[value="zh"]')
    step.wait_for_selector('#lora_forge_keep .lf-keep[data-language="zh"]')
    step.wait_for_selector("#lora_forge_keep_it:visible")
    texts = "#lora_forge_keep b, #lora_forge_keep small, #lora_forge_keep button, #lora_forge_keep summary"
    shown = [text for text in step.locator(texts).all_inner_texts() if text.strip() and text != "LoRA"]
    assert len(shown) > 8
    assert [text for text in shown if not CHINESE.search(text)] == []
    tools = step.locator("#lora_forge_loras h3, #lora_forge_loras button:visible").all_inner_texts()
    assert [text for text in tools if not CHINESE.search(text)] == []
    assert step.evaluate("document.documentElement.scrollWidth") <= 1280
