"""The whole first tab in a real browser: a LoRA is trained on the toy world, from the photos to its command line."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.browser.conftest import Served

pytestmark = pytest.mark.slow


# beside it is one that takes folders
FILES = "#lora_forge_upload input[type=file]:not([webkitdirectory])"


def go(page: Any, step: str) -> None:
    """To another step. A click is lost where gradio draws the bar anew under it, and made again as a person would."""
    for _ in range(5):
        page.click(f"#lora_forge_steps_bar [data-step={step}]")
        if page.evaluate("document.querySelector('#lora_forge').dataset.step") == step:
            return
        page.wait_for_timeout(300)
    page.wait_for_selector(f"#lora_forge[data-step={step}]")


def text_field(name: str) -> str:
    """gradio 3 and 4 make a textarea of what is an input in gradio 5."""
    return f"#lora_forge_{name} textarea, #lora_forge_{name} input"


def bring(page: Any, project: str, pictures: list[str]) -> None:
    """Photos into a project, the first of which makes it."""
    page.fill("#lora_forge_project input", project)
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.set_input_files(FILES, pictures)
    page.wait_for_selector("#lora_forge_stock :text('3 photos, 3 with a caption.')", timeout=60_000)


def wait_for_value(page: Any, selector: str, value: str) -> None:
    """Wait for a field's value; says which it has instead."""
    read = "(selector) => (document.querySelector(selector) || {}).value"
    for _ in range(600):
        if page.evaluate(read, selector) == value:
            return
        page.wait_for_timeout(100)
    assert page.evaluate(read, selector) == value, selector


def wait_for_form(page: Any, project: str) -> None:
    """Until the Train step's form is that project's, and of the type that is chosen."""
    page.wait_for_function(
        "(name) => { const { told } = loraForge.train.form;"
        " return told && told.project === name && told.kind === loraForge.kit.kind(); }",
        arg=project,
    )


def wait_idle(page: Any, state: str = "") -> None:
    """Until the program, which a worker's tests share, is at work on nothing; what it did last ended in ``state``."""
    for _ in range(600):  # wait_for_function takes any promise for a yes
        now = page.evaluate("loraForge.kit.get('status').then((told) => told.state)")
        if now not in ("waiting", "running", "stopping"):
            break
        page.wait_for_timeout(100)
    assert now in ([state] if state else ["idle", "done", "stopped", "failed"])


def test_a_lora_from_photos_to_files(page: Any, served: Served, pictures: list[str]) -> None:
    bring(page, "anna_v2", pictures)
    said = page.inner_text("#lora_forge_photos .lf-note")
    assert "3 photos added." in said
    assert "broken.png" in said

    go(page, "train")
    wait_for_value(page, "#lora_forge_name input", "anna_v2")
    wait_for_value(page, "#lora_forge_trigger input", "anna")
    page.click("#lora_forge_kind label:has-text('Toy world') >> nth=0")
    wait_for_form(page, "anna_v2")
    wait_for_value(page, "#lora_forge_resolution input", "64")
    page.fill("#lora_forge_repeats input", "2")
    page.fill("#lora_forge_epochs input", "2")
    page.wait_for_selector("#lora_forge_steps :text('= 2 steps an epoch, 4 in all')")
    page.wait_for_selector("#lora_forge_repeats.lf-changed :text('default: 20')")

    wait_idle(page)
    page.click("#lora_forge_start")
    page.wait_for_selector("#lora_forge_live .lf-live[data-state=done]:has-text('step 4/4')", timeout=300_000)
    live = page.inner_text("#lora_forge_live")
    assert "step 4/4" in live
    assert "anna_v2-000001.safetensors, anna_v2-000002.safetensors" in live
    assert re.search(r"mean of the last epoch \d\.\d{4}", live)
    files = sorted(path.name for path in (served.data / "loras").glob("anna*"))
    assert files == ["anna_v2-000001.safetensors", "anna_v2-000002.safetensors"]
    # its name is used now; the form is ready for the next
    wait_for_value(page, "#lora_forge_name input", "anna_v3")
    page.wait_for_selector("#lora_forge_runs [data-run='anna_v2/anna_v2'][data-state=done]")

    # it is the one to test, without a reload
    go(page, "test")
    wait_for_value(page, "#lora_forge_test_lora", "anna_v2")
    wait_for_value(page, "#lora_forge_test [data-key=epochs] input", "1-2")
    wait_for_value(page, "#lora_forge_test [data-key=prompt] textarea", "anna, 1girl, <lora:anna_v2-NUM:STRENGTH>")
    page.click("#lora_forge_test_command")
    page.wait_for_selector("#lora_forge_test pre")
    assert "--epochs 1-2" in page.inner_text("#lora_forge_test pre")

    # a used name is refused
    go(page, "train")
    page.fill("#lora_forge_name input", "anna_v2")
    page.click("#lora_forge_start")
    page.wait_for_selector("#lora_forge_train .lf-note.lf-error")
    with page.expect_response(lambda kept: "train/draft" in kept.url and '"bea"' in (kept.request.post_data or "")):
        page.fill("#lora_forge_name input", "bea")  # it is kept a moment later

    # another page shows the same: the run, and what the form said
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector("#lora_forge_live .lf-live[data-state=done]", timeout=60_000)
    assert page.get_attribute("#lora_forge", "data-step") == "train"
    assert "anna_v2: done." in page.inner_text("#lora_forge_live .lf-log")
    wait_for_value(page, "#lora_forge_name input", "bea")
    assert page.input_value("#lora_forge_project input") == "anna_v2"
    wait_for_value(page, "#lora_forge_repeats input", "2")
    page.wait_for_selector("#lora_forge_kind label:has(input[value=toyworld]:checked)")


def test_the_language_changes_without_a_reload_and_is_kept(page: Any) -> None:
    go(page, "train")
    page.click("#lora_forge_language label:has-text('简体中文')")
    page.wait_for_selector("#lora_forge_start:has-text('开始炼丹')")
    page.wait_for_selector("#lora_forge_live .lf-live[data-language=zh] .lf-state")
    page.wait_for_selector("#lora_forge_base:has-text('底模')")
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector("#lora_forge_start:has-text('开始炼丹')", timeout=60_000)
    page.click("#lora_forge_language label:has-text('English')")
    page.wait_for_selector("#lora_forge_start:has-text('Start')")


def test_a_refusal_is_a_sentence_beside_the_button(page: Any, pictures: list[str]) -> None:
    bring(page, "refused", pictures)
    go(page, "test")
    page.wait_for_function("(loraForge.test.form.told || {}).strengths === '0.1-1.0'")
    page.fill("#lora_forge_test [data-key=strengths] input", "much")
    page.click("#lora_forge_test_command")
    page.wait_for_selector("#lora_forge_test .lf-error:has-text('much')")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_the_page_in_both_themes(browser: Any, served: Served, theme: str) -> None:
    for width in (1280, 820):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(f"{served.address}?__theme={theme}", wait_until="domcontentloaded")
        page.wait_for_selector("#lora_forge[data-step]", timeout=60_000)
        for step in ("photos", "tags", "test", "keep", "train"):
            go(page, step)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, step
        text, paper = page.evaluate(
            """() => {
                const root = document.querySelector('#lora_forge .lf-facts dd');
                let place = root;
                let paper = 'rgba(0, 0, 0, 0)';
                while (place && /, 0\\)$/.test(paper)) {
                    paper = getComputedStyle(place).backgroundColor;
                    place = place.parentElement;
                }
                return [getComputedStyle(root).color, paper];
            }"""
        )
        bright = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (text, paper)]
        assert (bright[0] > bright[1]) == (theme == "dark"), (text, paper)
        assert abs(bright[0] - bright[1]) > 300
        page.close()
