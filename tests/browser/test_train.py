"""The Train step in a real Chromium: its settings, the test firing, a run and what it is told, the queue, and a program
that is killed and comes back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Program, Served, opened_page
from tests.browser.test_page import bring, go, wait_for_form, wait_for_value, wait_idle

pytestmark = pytest.mark.slow


def state(page: Any, wanted: str) -> None:
    page.wait_for_selector(f"#lora_forge_live .lf-live[data-state={wanted}]", timeout=120_000)


def toyworld(page: Any, project: str, pictures: list[str]) -> None:
    """A project with three photos, and the form with the toy world's defaults."""
    bring(page, project, pictures)
    go(page, "train")
    page.click("#lora_forge_kind label:has-text('Toy world') >> nth=0")
    wait_for_form(page, project)
    wait_for_value(page, "#lora_forge_resolution input", "64")


def knob(page: Any, name: str, value: int) -> None:
    page.fill(f"#lora_forge_{name} input", str(value))


def setting(page: Any, key: str) -> str:
    """The selector of a folded setting, with its row brought into view by the search."""
    page.fill("#lora_forge_more input[type=search]", key)
    return f"#lora_forge_more [data-key={key}]"


def test_settings_are_found_marked_explained_and_put_back(page: Any, pictures: list[str]) -> None:
    toyworld(page, "settings", pictures)
    page.click("#lora_forge_more > summary")
    row = setting(page, "rank")
    page.fill(f"{row} .lf-control input", "8")
    page.wait_for_selector(f"{row}.lf-changed .lf-was:has-text('default: 16')")
    assert "Why this default:" in page.inner_text(row)
    # the ratio of alpha to rank is what the preset chose
    alpha = setting(page, "alpha")
    assert page.input_value(f"{alpha} .lf-control input") == "8"
    page.click(f"{setting(page, 'rank')} .lf-back")
    page.wait_for_selector(f"{row}:not(.lf-changed)")
    # who says how often previews come gets all of them; putting that back puts the share of the time back
    share, often = (f"#lora_forge_more [data-key={key}]" for key in ("preview_share", "preview_every_steps"))
    assert page.input_value(f"{setting(page, 'preview_share')} .lf-control input") == "0.1"
    page.fill(f"{setting(page, 'preview_every_steps')} .lf-control input", "7")
    page.wait_for_selector(f"{often}.lf-changed")
    assert page.input_value(f"{setting(page, 'preview_share')} .lf-control input") == "0"
    page.fill(f"{share} .lf-control input", "0.1")
    page.wait_for_selector(f"{share}.lf-changed .lf-was:has-text('default: 0')")
    page.click(f"{share} .lf-back")
    page.click(f"{setting(page, 'preview_every_steps')} .lf-back")
    assert page.input_value(f"{setting(page, 'preview_share')} .lf-control input") == "0.1"
    page.fill("#lora_forge_more input[type=search]", "no such words")
    page.wait_for_selector("#lora_forge_more :text('No setting has these words.')")
    page.fill(f"{setting(page, 'learning_rate')} .lf-control input", "1000")
    page.wait_for_selector("#lora_forge_steps .lf-error:has-text('learning_rate is 1000')")


def test_a_preset_is_kept_shared_and_taken_and_kohyas_file_comes_in(
    page: Any, pictures: list[str], tmp_path: Path
) -> None:
    toyworld(page, "presets", pictures)
    knob(page, "repeats", 7)
    page.click("#lora_forge_more > summary")
    page.fill(".lf-presets input[placeholder='Name of the preset']", "seven")
    page.click("text=Keep these settings")
    page.wait_for_selector("#lora_forge_train .lf-good:has-text('seven is kept.')")
    page.click("text=All as the type proposes")
    wait_for_value(page, "#lora_forge_repeats input", "20")
    page.select_option("#lora_forge_preset", "seven")
    with page.expect_download() as got:
        page.click("text=Share as a file")
    assert '"repeats": 7' in Path(got.value.path()).read_text(encoding="utf-8")
    page.click("text=Take it")
    wait_for_value(page, "#lora_forge_repeats input", "7")
    settings = tmp_path / "kohya.toml"
    settings.write_text("network_dim = 24\nnetwork_alpha = 12\nmax_train_epochs = 6\nxformers = true\n")
    page.set_input_files(".lf-presets input[type=file]", str(settings))
    wait_for_value(page, "#lora_forge_epochs input", "6")
    page.wait_for_selector(".lf-presets li:has-text('xformers')")


# Chromium without a window shows none: what would be shown is written down.
_NOTIFIED = """window.notified = []; window.Notification = class {
    constructor(title, options) { window.notified.push(`${title}: ${options.body}`); }
    static requestPermission() { this.permission = 'granted'; return Promise.resolve('granted'); }
};"""


def test_a_run_is_tried_told_and_followed(page: Any, served: Served, pictures: list[str]) -> None:
    page.add_init_script(_NOTIFIED)  # for the page as it is opened anew below
    toyworld(page, "told", pictures)
    wait_idle(page)
    page.click("#lora_forge_trial")
    page.wait_for_selector("#lora_forge_trial_result .lf-good", timeout=120_000)
    knob(page, "repeats", 400)  # long enough for all that is done meanwhile
    page.wait_for_selector("#lora_forge_steps :text('300 steps an epoch, 3000 in all')")
    page.click("#lora_forge_start")
    state(page, "running")
    page.wait_for_selector("#lora_forge_live .lf-numbers:has-text('step')")

    page.click("#lora_forge_controls [data-command=pause]")
    page.wait_for_selector("#lora_forge_live .lf-state:has-text('Paused')", timeout=60_000)
    page.click("#lora_forge_prompts")
    page.fill(".lf-prompts textarea", "TRIGGER, white hair\nTRIGGER, red dress")
    page.click("text=Use them from the next preview on")
    page.click("#lora_forge_controls [data-command=preview_now]")
    page.wait_for_function("document.querySelectorAll('.lf-strip-part img').length >= 3", timeout=120_000)
    page.click("#lora_forge_controls [data-command=save_now]")
    page.wait_for_selector("#lora_forge_live .lf-files:has-text('told-step')", timeout=60_000)

    # a page that is opened anew shows the same run
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector("#lora_forge_live .lf-state:has-text('Paused')", timeout=60_000)
    page.wait_for_function("document.querySelectorAll('.lf-strip-part img').length >= 3", timeout=120_000)
    page.click("#lora_forge_controls [data-command=resume]")
    page.wait_for_selector("#lora_forge_live .lf-state:has-text('Running')", timeout=60_000)
    page.click("#lora_forge_report")
    page.wait_for_function("document.querySelector('.lf-report').value.includes('torch')")
    assert str(served.data) not in page.input_value(".lf-report")
    page.check("#lora_forge_notify")
    page.click("#lora_forge_stop_and_save")
    state(page, "stopped")
    page.wait_for_selector("#lora_forge_resume_run")
    assert page.evaluate("window.notified") == ["LoRA Forge: told: Stopped"]


def test_runs_wait_in_a_queue_that_can_be_changed(page: Any, pictures: list[str]) -> None:
    toyworld(page, "queue", pictures)
    knob(page, "repeats", 400)
    wait_idle(page)
    page.click("#lora_forge_start")
    wait_for_value(page, "#lora_forge_name input", "queue_v2")
    page.click("#lora_forge_sweep")
    page.fill("#lora_forge_sweep_values", "0.001, 0.002")
    page.click("text=Put them in the queue")
    page.wait_for_selector("#lora_forge_queue li >> nth=1")
    names = "[...document.querySelectorAll('#lora_forge_queue li b')].map(one => one.textContent)"
    first, second = page.evaluate(names)
    page.click("#lora_forge_queue li >> nth=1 >> text=↑")
    page.wait_for_function(f"{names}[0] === '{second}'")
    page.click("#lora_forge_queue li >> nth=0 >> text=Copy")
    page.wait_for_selector("#lora_forge_queue li >> nth=2")
    page.click("#lora_forge_queue li >> nth=0 >> text=Change")
    page.wait_for_selector("#lora_forge_start:has-text('Keep the changes')")
    knob(page, "epochs", 3)
    page.click("#lora_forge_start")
    page.wait_for_selector("#lora_forge_queue li >> nth=0 >> text=/Epochs 3/")
    for _ in range(3):
        left = page.locator("#lora_forge_queue li").count()
        page.click("#lora_forge_queue li >> nth=0 >> text=Remove")
        page.wait_for_function(f"document.querySelectorAll('#lora_forge_queue li').length < {left}")
    page.click("#lora_forge_stop")
    state(page, "stopped")
    assert first != second


@pytest.fixture
def program(browser: Any, tmp_path: Path) -> Iterator[Program]:
    """One that a test may kill; ``browser`` says first whether there is one."""
    pytest.importorskip("gradio", reason="NO BROWSER TEST RAN: gradio is not installed")
    started = Program(tmp_path / "data")
    started.start()
    yield started
    started.end()


def test_a_program_that_was_killed_offers_the_run_and_it_goes_on(
    browser: Any, program: Program, pictures: list[str]
) -> None:
    errors: list[str] = []
    page = opened_page(browser, program.address, errors)
    toyworld(page, "cut", pictures)
    knob(page, "repeats", 20)
    knob(page, "epochs", 3)
    page.click("#lora_forge_start")
    page.wait_for_selector("#lora_forge_live .lf-files:has-text('cut-000001')", timeout=120_000)
    program.end(signal.SIGKILL)
    page.close()

    program.start()
    page = opened_page(browser, program.address, errors)
    go(page, "train")
    page.wait_for_selector("#lora_forge_runs [data-run='cut/cut'][data-state=interrupted]", timeout=60_000)
    wait_for_value(page, "#lora_forge_repeats input", "20")  # the form comes back too
    page.click("#lora_forge_resume_run")
    state(page, "done")
    loras = sorted(path.name for path in (program.data / "loras").glob("cut-*.safetensors"))
    assert loras == [f"cut-00000{epoch}.safetensors" for epoch in (1, 2, 3)]
    page.close()
    assert not errors, "\n".join(errors)
