"""A run's chart and its previews in a real Chromium, with the real routes and without the rest of the page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from lora_forge.train.journal import FILE_NAME
from tests.browser.conftest import heard
from tests.browser.view_page import Folder, add_run, serving, write_previews, write_steps

pytestmark = pytest.mark.slow

SHOW = """async (name) => {
    const run = { project: "anna", name };
    await Promise.all([view.chart.show(run), view.strip.show(run)]);
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
UPDATE = """async () => {
    await Promise.all([view.chart.update(), view.strip.update()]);
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
# Until what was asked for is drawn.
FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
# Rows (from the top, CSS px) where the lower canvas has the colour of a line, in one column of it.
ROWS = """([line, share]) => {
    const canvas = document.querySelector(".lf-chart-stage canvas");
    const key = document.querySelector(`.lf-chart-key[data-line=${line}] i`);
    const wanted = getComputedStyle(key).backgroundColor.match(/\\d+/g).map(Number);
    const x = Math.round(canvas.width * share);
    const found = [];
    const pixels = canvas.getContext("2d").getImageData(x, 0, 1, canvas.height).data;
    for (let row = 0; row < canvas.height; row += 1) {
        const off = [0, 1, 2].map((at) => Math.abs(pixels[4 * row + at] - wanted[at]));
        if (Math.max(...off) < 12 && pixels[4 * row + 3] > 200) found.push(row);
    }
    return found;
}"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    made = Folder(tmp_path_factory.mktemp("runs"))
    run_dir = add_run(made)
    write_steps(run_dir, 1, 600, 1000, 100)
    write_previews(run_dir, list(range(10, 601, 10)), 600)
    return made


@pytest.fixture(scope="module")
def address(desk: Folder) -> Iterator[str]:
    with serving(desk) as served:
        yield served


@pytest.fixture
def view(browser: Any, address: str) -> Iterator[Any]:
    """The page, empty, 1280 px wide; an error in its scripts fails the test."""
    errors: list[str] = []
    page = heard(browser.new_page(viewport={"width": 1280, "height": 900}), errors)
    page.goto(address)
    yield page
    page.close()
    assert not errors, "\n".join(errors)


def legend(page: Any, line: str) -> str:
    text: str = page.inner_text(f".lf-chart-key[data-line={line}] b")
    return text


def at(page: Any, share: float) -> tuple[float, float]:
    """A place in the chart, by the share of its width."""
    box = page.locator(".lf-chart-stage").bounding_box()
    return box["x"] + box["width"] * share, box["y"] + box["height"] / 2


def tip(page: Any, share: float) -> str:
    page.mouse.move(*at(page, share))
    page.evaluate(FRAMES)
    page.wait_for_selector(".lf-chart-tip strong")
    text: str = page.inner_text(".lf-chart-tip").replace("\u2009", "")
    return text


def step_in(text: str) -> int:
    found = re.search(r"step (\d+), epoch (\d+)", text)
    assert found is not None, text
    assert int(found[2]) == (int(found[1]) - 1) // 100 + 1
    return int(found[1])


def test_the_lines_follow_the_run_and_a_resume(view: Any, desk: Folder) -> None:
    run_dir = add_run(desk, "followed")
    view.evaluate(SHOW, "followed")
    assert view.is_visible(".lf-chart-empty")
    write_steps(run_dir, 1, 40, 100, 10)
    view.evaluate(UPDATE)
    assert view.is_hidden(".lf-chart-empty")
    steps = [json.loads(line) for line in (run_dir / FILE_NAME).read_text().splitlines()]
    newest = [one for one in steps if one["event"] == "StepDone"][-1]
    assert legend(view, "window_mse") == f"{newest['window_mse']:.4f}"
    assert legend(view, "loss") == f"{newest['loss']:.4f}"
    assert "step 40" in str(view.get_attribute(".lf-chart-stage canvas >> nth=1", "aria-label"))

    write_steps(run_dir, 31, 33, 100, 10, level=0.5)  # resumed from the state of step 30
    view.evaluate(UPDATE)
    assert "step 33" in str(view.get_attribute(".lf-chart-stage canvas >> nth=1", "aria-label"))
    assert step_in_place(tip(view, 0.98)) == 33


def step_in_place(text: str) -> int:
    found = re.search(r"step (\d+)", text)
    assert found is not None
    return int(found[1])


def test_a_line_is_drawn_where_its_values_are_and_can_be_hidden(view: Any) -> None:
    view.evaluate(SHOW, "girl")
    drawn = view.evaluate(ROWS, ["window_mse", 0.5])
    assert drawn
    assert max(drawn) - min(drawn) < 40, "one line, not a block"
    view.click(".lf-chart-key[data-line=window_mse]")
    view.evaluate(FRAMES)
    assert view.evaluate(ROWS, ["window_mse", 0.5]) == []
    assert view.get_attribute(".lf-chart-key[data-line=window_mse]", "aria-pressed") == "false"
    view.reload()
    view.evaluate(SHOW, "girl")
    assert view.get_attribute(".lf-chart-key[data-line=window_mse]", "aria-pressed") == "false", "it is kept"
    view.click(".lf-chart-key[data-line=window_mse]")


def test_the_pointer_shows_the_values_of_a_step(view: Any, desk: Folder) -> None:
    view.evaluate(SHOW, "girl")
    text = tip(view, 0.5)
    step = step_in(text)
    assert 250 < step < 350
    journal = (desk.data_root() / "anna" / "runs" / "girl" / FILE_NAME).read_text().splitlines()
    told = next(one for one in map(json.loads, journal) if one["event"] == "StepDone" and one["step"] == step)
    assert f"{told['window_mse']:.4f}" in text
    rate = view.inner_text(".lf-chart-tip [data-line=learning_rate] b")
    assert float(rate) == pytest.approx(told["learning_rate"], rel=0.01)
    view.mouse.move(5, 5)
    view.wait_for_selector(".lf-chart-tip", state="hidden")


def test_dragging_zooms_and_a_double_click_shows_all(view: Any) -> None:
    view.evaluate(SHOW, "girl")
    left, right = step_in(tip(view, 0.4)), step_in(tip(view, 0.6))
    view.mouse.move(*at(view, 0.4))
    view.mouse.down()
    view.mouse.move(*at(view, 0.6), steps=4)
    view.mouse.up()
    view.wait_for_selector(".lf-chart-legend .lf-button:has-text('Whole run')")
    assert abs(step_in(tip(view, 0.06)) - left) <= 2
    assert abs(step_in(tip(view, 0.94)) - right) <= 2
    view.mouse.dblclick(*at(view, 0.5))
    view.wait_for_selector(".lf-chart-legend .lf-button", state="hidden")
    assert step_in(tip(view, 0.06)) < 20


def test_the_chart_by_keyboard(view: Any) -> None:
    view.evaluate(SHOW, "girl")
    view.focus(".lf-chart-stage canvas >> nth=1")
    view.keyboard.press("End")
    view.wait_for_selector(".lf-chart-tip:has-text('step 600')")
    view.keyboard.press("+")
    view.wait_for_selector(".lf-chart-legend .lf-button:has-text('Whole run')")
    view.keyboard.press("ArrowLeft")
    view.wait_for_selector(".lf-chart-tip:has-text('step 597')")
    view.keyboard.press("Escape")
    view.wait_for_selector(".lf-chart-legend .lf-button", state="hidden")


def test_one_step_that_jumps_in_a_long_run_is_seen(view: Any, desk: Folder) -> None:
    run_dir = add_run(desk, "long")
    lines = [
        {
            "event": "StepDone",
            "step": step,
            "loss": 0.1,
            "window_mse": 0.6 if step == 10_000 else 0.1,
            "learning_rate": 0,
        }
        for step in range(1, 20_001)
    ]
    (run_dir / FILE_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    view.evaluate(SHOW, "long")
    heights = [view.evaluate(ROWS, ["window_mse", 0.5 + off / 2000]) for off in range(-40, 41)]
    stage = view.locator(".lf-chart-stage").bounding_box()["height"]
    assert min(row for rows in heights for row in rows) < 0.2 * stage


def test_the_strip_has_the_newest_first_and_only_what_is_in_sight(view: Any) -> None:
    view.evaluate(SHOW, "girl")
    shown = view.locator(".lf-shot").count()
    assert 6 <= shown <= 12, "of 60"
    assert view.inner_text(".lf-strip-head .lf-count") == "60"
    names = view.locator(".lf-shot").evaluate_all(
        "all => all.sort((a, b) => a.offsetLeft - b.offsetLeft).map((one) => one.dataset.step)"
    )
    assert names[:3] == ["600", "590", "580"]
    assert view.inner_text(".lf-strip-scroll .lf-strip-label >> nth=1") == "ohwx, portrait, snow, white hair, red dress"
    view.wait_for_function(
        "[...document.querySelectorAll('.lf-strip img')].filter((one) => one.complete && one.naturalWidth).length > 10"
    )
    assert view.inner_text(".lf-strip-base b") == "Without LoRA"
    view.evaluate("document.querySelector('.lf-strip-scroll').scrollLeft = 1e6")
    view.wait_for_selector(".lf-shot[data-step='10']")


def test_new_previews_come_in_front_and_leave_what_is_looked_at(view: Any, desk: Folder) -> None:
    run_dir = add_run(desk, "growing")
    write_previews(run_dir, list(range(10, 400, 10)), 400)
    view.evaluate(SHOW, "growing")
    view.evaluate("document.querySelector('.lf-strip-scroll').scrollLeft = 1440")
    place = "document.querySelector(\".lf-shot[data-step='280']\").getBoundingClientRect().left"
    view.wait_for_selector(".lf-shot[data-step='280']")
    before = view.evaluate(place)
    write_previews(run_dir, [400], 400)
    view.evaluate(UPDATE)
    assert abs(view.evaluate(place) - before) < 1
    view.evaluate("document.querySelector('.lf-strip-scroll').scrollLeft = 0")
    view.wait_for_selector(".lf-shot.lf-newest[data-step='400']")


def test_two_steps_are_compared_with_a_slider(view: Any) -> None:
    view.evaluate(SHOW, "girl")
    assert view.is_disabled(".lf-strip-head .lf-button")
    view.check(".lf-shot[data-step='600'] input")
    view.check(".lf-shot[data-step='560'] input")
    view.check(".lf-shot[data-step='570'] input")  # the third takes the place of the first
    assert not view.is_checked(".lf-shot[data-step='600'] input")
    view.click(".lf-strip-head .lf-button:has-text('Compare: step 560 | step 570')")
    view.wait_for_selector(".lf-compare-slider")
    assert view.inner_text(".lf-compare h4") == "step 560 | step 570"
    cut = "document.querySelectorAll('.lf-compare-stage img')[1].style.clipPath"
    assert view.evaluate(cut) == "inset(0px 50% 0px 0px)"
    view.wait_for_function("document.activeElement.matches('.lf-compare-slider')")
    view.keyboard.press("Home")
    assert view.evaluate(cut) == "inset(0px 100% 0px 0px)"
    box = view.locator(".lf-compare-stage").bounding_box()
    view.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 50)
    assert re.fullmatch(r"inset\(0px 7[3-7](\.5)?% 0px 0px\)", view.evaluate(cut))
    sources = view.locator(".lf-compare-stage img").evaluate_all("all => all.map((one) => one.src)")
    assert ["00000570-1" in sources[0], "00000560-1" in sources[1]] == [True, True]

    view.click(".lf-compare .lf-tab >> nth=1")
    sources = view.locator(".lf-compare-stage img").evaluate_all("all => all.map((one) => one.src)")
    assert ["00000570-2" in sources[0], "00000560-2" in sources[1]] == [True, True]
    view.select_option(".lf-compare select", "base")
    assert view.inner_text(".lf-compare h4") == "Without LoRA | step 570"
    view.keyboard.press("Escape")
    view.wait_for_selector(".lf-compare", state="detached")


def test_the_strip_by_keyboard(view: Any) -> None:
    view.evaluate(SHOW, "girl")
    view.focus(".lf-strip-scroll")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
        view.keyboard.press(key)
    view.wait_for_selector(".lf-compare")
    assert view.inner_text(".lf-compare h4") == "step 590"
    assert "00000590-2" in view.get_attribute(".lf-compare-stage img", "src")
    view.keyboard.press("ArrowRight")
    assert view.inner_text(".lf-compare h4") == "step 580"
    view.keyboard.press("Escape")
    view.wait_for_selector(".lf-compare", state="detached")
    view.focus(".lf-strip-scroll")
    for key in (" ", "End", " ", "c"):
        view.keyboard.press(key)
    view.wait_for_selector(".lf-compare h4:text-is('step 10 | step 590')")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("theme", ["", "dark"])
def test_it_fits_the_page_in_light_and_dark(view: Any, width: int, theme: str) -> None:
    view.set_viewport_size({"width": width, "height": 844})
    view.evaluate(f"document.body.className = '{theme}'")
    view.evaluate(SHOW, "girl")
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    drawn = view.locator(".lf-chart-stage canvas >> nth=0").bounding_box()["width"]
    assert drawn <= width - 32
    columns = [view.evaluate(ROWS, ["validation", share / 100]) for share in range(40, 60)]
    assert any(columns), "in the colour of its key"
    if width == 390:
        assert view.locator(".lf-shot").count() <= 6


def test_it_is_all_in_chinese(view: Any, address: str) -> None:
    view.goto(f"{address}?zh")
    view.evaluate(SHOW, "girl")
    tip_text = view.evaluate("document.querySelector('#view').innerText")
    view.check(".lf-shot[data-step='600'] input")
    view.check(".lf-shot[data-step='590'] input")
    view.click(".lf-strip-head .lf-button")
    every = tip_text + view.inner_text(".lf-compare")
    titles = view.locator("#lora_forge [title]").evaluate_all("all => all.map((one) => one.title).join(' ')")
    plain = re.sub(r"ohwx, portrait, snow(, white hair, red dress)?|LoRA|loss|Esc|\d+e-\d+", "", every + titles)
    assert re.findall(r"[A-Za-z]{2,}", plain) == []
