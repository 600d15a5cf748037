"""A real WebUI's page in a real browser: from photos to files to the grid, and the host draws as before.

Started as ``test_real_host.py`` says; without a Chromium and playwright it skips.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from tests.browser.conftest import browser, pictures  # noqa: F401 - fixtures
from tests.browser.test_page import FILES, go
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


def drawn(program: Program) -> str:
    """Digest of the pixels of a picture by the host's own API, always of the same seed."""
    wish = {"prompt": "a red house", "seed": 7, "steps": 1, "width": 64, "height": 64, "sampler_name": "Euler"}
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


def test_photos_become_files_and_a_grid_and_the_host_draws_as_before(
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
    page.click("#tabs button:has-text('txt2img')")
    page.locator("#txt2img_extra_tabs button:has-text('Lora')").first.click()
    for stem in stems:  # without a restart, and hidden by no family
        page.wait_for_selector(f"#txt2img_lora_cards .card .name:text('{stem}')", timeout=60_000)

    page.click("#tabs button:has-text('LoRA Forge')")
    go(page, "test")
    page.wait_for_function(f"document.querySelector('#lora_forge_test_lora').value === '{NAME}'")
    page.fill("#lora_forge_test [data-key=strengths] input", "0, 1")
    page.click("#lora_forge_test_more > summary")
    for key, value in (("width", CELL_PX), ("height", CELL_PX), ("steps", 1)):
        page.fill(f"#lora_forge_test [data-key={key}] input", str(value))
    page.wait_for_timeout(1000)
    page.click("#lora_forge_test_txt2img")
    page.wait_for_function(
        """() => document.querySelector('#txt2img_gallery img')
            && getComputedStyle(document.querySelector('#txt2img_interrupt')).display === 'none'""",
        timeout=PATIENCE_MS,
    )
    grids = sorted(program.data.rglob("xyz_grid-*.png"))
    assert len(grids) == 1
    drawn_cells = cells(grids[0])
    assert drawn_cells[0] == drawn_cells[1], "strength 0 is the checkpoint alone, whatever the epoch"
    assert len(drawn_cells) == 4
    assert len(set(drawn_cells)) == 3
    assert drawn(program) == before


def cells(path: Any) -> list[bytes]:
    """The pixels of a 2 x 2 grid's pictures; labels lie to their left and above them."""
    with Image.open(path) as grid:
        width, height = grid.size
        corners = [(width - x * CELL_PX, height - y * CELL_PX) for y in (2, 1) for x in (2, 1)]
        return [grid.convert("RGB").crop((x, y, x + CELL_PX, y + CELL_PX)).tobytes() for x, y in corners]
