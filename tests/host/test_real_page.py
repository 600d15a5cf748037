"""A real WebUI's page in a real browser: from photos to files, the test and the one that is kept;
the host draws as before.

Started as ``test_real_host.py`` says; without a Chromium and playwright it skips.
"""

from __future__ import annotations

import base64
import hashlib
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from PIL import Image

from tests.browser.conftest import browser, pictures  # noqa: F401 - fixtures
from tests.browser.test_page import FILES, go, wait_for_value
from tests.host.real_program import MARKS, Program

pytestmark = MARKS

NAME = "pagetest"
CELL_PX = 64
PATIENCE_MS = 900_000  # one CPU core draws a cell in tens of seconds
SETTINGS = {
    "bucket_min_px": "64",
    "bucket_max_px": "128",
    "rank": "4",
    "learning_rate": "0.01",
    "preview_every_steps": "6",
    "preview_steps": "2",
}


@pytest.fixture
def page(program: Program, browser: Any) -> Iterator[Any]:  # noqa: F811 - the fixture
    """The WebUI's page with our tab open; an error of ours in its script fails the test."""
    errors: list[str] = []
    opened = browser.new_page(viewport={"width": 1280, "height": 1200})
    opened.on("pageerror", lambda error: errors.append(f"{error}\n{error.stack}"))
    here = f"http://127.0.0.1:{program.port}/"
    opened.route("**/*", lambda route: route.continue_() if route.request.url.startswith(here) else route.abort())
    opened.goto(here, wait_until="domcontentloaded")
    opened.wait_for_selector("#txt2img_generate", timeout=120_000)
    opened.wait_for_timeout(3000)  # the hosts go on building for a moment, and say nothing when they are done
    opened.click("#tabs button:has-text('LoRA Forge')")
    opened.wait_for_selector("#lora_forge[data-ready][data-step]", timeout=60_000)
    yield opened
    opened.close()
    assert [error for error in errors if "lora_forge" in error] == []


def drawn(program: Program, prompt: str = "a red house") -> str:
    """Digest of the pixels of a picture by the host's own API, always of the same seed."""
    wish = {"prompt": prompt, "seed": 7, "steps": 1, "width": 64, "height": 64, "sampler_name": "Euler"}
    answer = program.call("/sdapi/v1/txt2img", wish)
    with Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))) as picture:
        return hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest()


def train(page: Any, files: list[str]) -> None:
    page.fill("#lora_forge_project input", NAME)
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.set_input_files(FILES, files)
    page.wait_for_selector("#lora_forge_photos .lf-good", timeout=60_000)
    page.wait_for_selector("#lora_forge_stock .lf-good")
    go(page, "train")
    page.wait_for_function(f"document.querySelector('#lora_forge_name input').value === '{NAME}'")
    for name, value in (("repeats", "1"), ("epochs", "2"), ("resolution", str(CELL_PX))):
        page.fill(f"#lora_forge_{name} input", value)
    page.click("#lora_forge_more > summary")
    for key, value in SETTINGS.items():
        page.fill("#lora_forge_more input[type=search]", key)
        page.fill(f"#lora_forge_more [data-key={key}] .lf-control input", value)
    page.wait_for_selector("#lora_forge_steps :text('3 steps an epoch, 6 in all')")
    page.click("#lora_forge_start")
    page.wait_for_selector("#lora_forge_live .lf-live[data-state=done]", timeout=PATIENCE_MS)
    # what was drawn on the way: the trigger word alone, beside the checkpoint without the LoRA
    page.wait_for_function("document.querySelectorAll('.lf-strip-part img').length >= 2", timeout=60_000)


def test_photos_become_files_are_tested_and_kept_and_the_host_draws_as_before(
    page: Any,
    program: Program,
    pictures: list[str],  # noqa: F811 - the fixture
) -> None:
    before = drawn(program)
    train(page, pictures)
    log = page.inner_text("#lora_forge_live .lf-log")
    assert "unused" not in log, log
    assert drawn(program) == before
    stems = [f"{NAME}-000001", f"{NAME}-000002"]
    assert sorted(path.stem for path in program.data.rglob(f"{NAME}-*.safetensors")) == stems
    open_cards(page)
    for stem in stems:  # without a restart, and hidden by no family
        page.wait_for_selector(card(stem), timeout=60_000)

    theirs = grid_by_their_plot(page, program)
    ours = finished(page, program, lambda: page.click("#lora_forge_test_start"))
    assert [ours["1:1"], ours["2:1"]] == theirs, "our pictures are not those of the host's own plot"
    assert len({*ours.values()}) == len(ours) == 3, "the baseline and two epochs"
    read = finished(page, program, lambda: open_their_grid(page))
    assert read == {"1:1": theirs[0], "2:1": theirs[1]}
    assert drawn(program) == before

    keep_the_second(page, program, before)
    assert drawn(program) == before


def open_cards(page: Any) -> None:
    page.click("#tabs button:has-text('txt2img')")
    page.locator("#txt2img_extra_tabs button:has-text('Lora')").first.click()


def card(name: str) -> str:
    return f"#txt2img_lora_cards .card:has(.name:text-is('{name}'))"


def ask_for_a_small_grid(page: Any) -> None:
    page.click("#tabs button:has-text('LoRA Forge')")
    go(page, "test")
    wait_for_value(page, "#lora_forge_test_lora", NAME)
    page.check("#lora_forge_test input[name=lf_test_mode][value=full]")
    if page.locator("#lora_forge_test_more").get_attribute("open") is None:
        page.click("#lora_forge_test_more > summary")
    wanted = {"strengths": "1", "swaps": "", "width": str(CELL_PX), "height": str(CELL_PX), "steps": "1"}
    for key, value in wanted.items():
        page.fill(f"#lora_forge_test [data-key={key}] input", value)


def grid_by_their_plot(page: Any, program: Program) -> list[bytes]:
    """By one click in our tab; the pixels of its two pictures."""
    ask_for_a_small_grid(page)
    page.click("#lora_forge_test_txt2img")
    page.wait_for_function(
        """() => document.querySelector('#txt2img_gallery img')
            && getComputedStyle(document.querySelector('#txt2img_interrupt')).display === 'none'""",
        timeout=PATIENCE_MS,
    )
    (grid,) = program.data.rglob("xyz_grid-*.png")
    with Image.open(grid) as opened:
        (width, height), shown = opened.size, opened.convert("RGB")
    # labels lie to the left and above
    places = [(width - count * CELL_PX, height - CELL_PX, width - (count - 1) * CELL_PX, height) for count in (2, 1)]
    return [shown.crop(place).tobytes() for place in places]


def finished(page: Any, program: Program, start: Callable[[], object]) -> dict[str, bytes]:
    """A test that ``start`` starts, until it is done: pixels by "epoch:strength"."""
    ask_for_a_small_grid(page)
    before = page.evaluate("loraForge.test.now().id")
    start()
    page.wait_for_function("before => ![before, ''].includes(loraForge.test.now().id)", arg=before, timeout=PATIENCE_MS)
    query = urlencode({"project": NAME, "id": page.evaluate("loraForge.test.now().id")})
    until = time.monotonic() + PATIENCE_MS / 1000
    while (told := program.call(f"/lora_forge/test/state?{query}"))["state"] not in ("done", "failed"):
        assert time.monotonic() < until
        time.sleep(1)
    assert told["state"] == "done", told
    page.wait_for_function(
        "count => document.querySelectorAll('#lora_forge_test .lf-cell img[src]').length === count",
        arg=len(told["cells"]),
    )
    found = {f"{cell['epoch']}:{cell['strength']:g}": cell["pictures"][0] for cell in told["cells"]}
    assert all(cell["scores"] for cell in told["cells"])
    return {key: pixels(program.data / "lora_forge" / path) for key, path in found.items()}


def open_their_grid(page: Any) -> None:
    page.click("#lora_forge_test_open")
    page.click("dialog .lf-finding button")


def pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        assert picture.size == (CELL_PX, CELL_PX)
        return picture.convert("RGB").tobytes()


def keep_the_second(page: Any, program: Program, plain: str) -> None:
    """Its card, clicked in txt2img, writes a prompt that draws what the chosen cell drew."""
    page.evaluate("loraForge.test.choose({epoch: 2, strength: 1})")
    go(page, "keep")
    wait_for_value(page, "#lora_forge_keep_epoch", "2")
    wait_for_value(page, "#lora_forge_keep_name", NAME)
    words = page.input_value("#lora_forge_keep_activation")
    wanted = drawn(program, f"a red house <lora:{NAME}-000002:1.0> {words}".rstrip())
    assert wanted != plain
    page.click("#lora_forge_keep_it")
    page.wait_for_selector("#lora_forge_keep_undo", timeout=60_000)
    lora = [path.name for path in program.data.rglob(f"{NAME}*.safetensors") if "archive" not in path.parts]
    assert lora == [f"{NAME}.safetensors"]
    open_cards(page)
    page.wait_for_selector(card(NAME), timeout=60_000)  # the list was refreshed
    page.wait_for_selector(card(f"{NAME}-000002"), state="detached", timeout=60_000)
    page.fill("#txt2img_prompt textarea", "a red house")
    page.click(card(NAME))
    page.wait_for_function("document.querySelector('#txt2img_prompt textarea').value.includes('<lora:')")
    prompt = page.input_value("#txt2img_prompt textarea")
    assert prompt == f"a red house <lora:{NAME}:1> {words}".rstrip()
    assert drawn(program, prompt) == wanted
