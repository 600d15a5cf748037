"""python benchmarks/tag_page.py [--photos 2000] [--tags 30]: the Tags step in a real Chromium, in milliseconds.

Serves a made-up project with `lora-forge ui`, and times what a person waits for: opening the step until the photos are
drawn, a filter, one edit of all captions until the page shows it, a letter typed, a frame while the wall scrolls.
Needs playwright, gradio, a Chromium.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from lora_forge.toyworld import checkpoint_path

TILES = "#lora_forge_tags .lf-desk > .lf-grid .lf-tile"
FOUND = "#lora_forge_tags .lf-count:has-text('photos')"
GOALS_MS = {"open": 1500, "filter": 100, "edit all": 500, "undo": 500, "letter": 16, "frame": 33}


def make_project(folder: Path, photos: int, tags: int) -> None:
    """``photos`` small pictures of ``tags`` tags each, out of 400."""
    images = folder / "images" / "photos"
    images.mkdir(parents=True)
    for number in range(photos):
        picture = io.BytesIO()
        Image.new("RGB", (512, 512), (number % 256, number // 256 * 20 % 256, 90)).save(picture, "JPEG")
        (images / f"p{number:05d}.jpg").write_bytes(picture.getvalue())
        caption = ", ".join(f"tag {(number * 7 + place * 3) % 400}" for place in range(tags))
        (images / f"p{number:05d}.txt").write_text(caption, encoding="utf-8")
    plain = '{"schema_version": 1, "trigger_word": "ohwx", "groups": [], "faces": {}}'
    (folder / "project.json").write_text(plain, encoding="utf-8")


def timed(act: Callable[[], Any]) -> float:
    """Milliseconds of wall clock."""
    started = time.perf_counter()
    act()
    return (time.perf_counter() - started) * 1000


def measure(page: Any, rounds: int) -> dict[str, list[float]]:
    """Each figure ``rounds`` times."""
    found: dict[str, list[float]] = {name: [] for name in GOALS_MS}
    for number in range(rounds):
        page.click("[data-step=photos]")
        page.wait_for_timeout(1500)
        found["frame"] += page.evaluate(
            """async () => {
                const wall = document.querySelector('#lora_forge_photos .lf-grid');
                const frames = [];
                let before = await new Promise(requestAnimationFrame);
                for (let step = 0; step < 60; step += 1) {
                    wall.scrollTop += 150;
                    const now = await new Promise(requestAnimationFrame);
                    frames.push(now - before);
                    before = now;
                }
                wall.scrollTop = 0;
                return frames;
            }"""
        )
        # as the page counts it: from the click to the answer drawn, and a second time with everything there
        found["open"].append(page.evaluate(
            """async () => {
                const started = performance.now();
                await window.loraForge.tags.refresh();
                await new Promise(requestAnimationFrame);
                return performance.now() - started;
            }"""))  # fmt: skip
        page.click("[data-step=tags]")
        page.wait_for_selector(TILES)
        page.wait_for_timeout(2500)
        field = page.locator("#lora_forge_tags input[type=search]").first
        field.fill("")
        page.wait_for_timeout(500)
        found["filter"].append(page.evaluate(
            """async (query) => {
                const field = document.querySelector('#lora_forge_tags input[type=search]');
                const count = field.nextElementSibling;
                const before = count.textContent;
                field.value = query;
                const started = performance.now();
                field.dispatchEvent(new Event('input', {bubbles: true}));
                while (count.textContent === before) await new Promise((done) => setTimeout(done, 1));
                return performance.now() - started;
            }""", f"tag {number + 3}, NOT tag {number + 4}"))  # fmt: skip
        field.fill("")
        page.wait_for_timeout(1500)
        for name, act in (("edit all", "add"), ("undo", "undo")):
            found[name].append(page.evaluate(
                """async ([act, tag]) => {
                    const root = document.querySelector('#lora_forge_tags');
                    const buttons = [...root.querySelectorAll('.lf-acts button')];
                    const named = (text) => buttons.find((one) => one.textContent === text);
                    const undo = [...root.querySelectorAll('button')].find((one) => one.textContent === '↶');
                    const field = root.querySelector('.lf-acts .lf-suggesting input');
                    const before = undo.title;
                    if (act === 'add') field.value = tag;
                    const started = performance.now();
                    (act === 'add' ? named('Add') : undo).click();
                    while (undo.title === before) await new Promise((done) => setTimeout(done, 1));
                    await new Promise(requestAnimationFrame);
                    return performance.now() - started;
                }""", [act, f"new {number}"]))  # fmt: skip
            page.wait_for_timeout(1500)
        entry = page.locator("#lora_forge_tags .lf-acts .lf-suggesting input").first
        entry.click()
        for letter in "pink shirt":
            found["letter"].append(page.evaluate(
                """async (letter) => {
                    const field = document.querySelector('#lora_forge_tags .lf-acts .lf-suggesting input');
                    const started = performance.now();
                    field.value += letter;
                    field.dispatchEvent(new Event('input', {bubbles: true}));
                    const blocked = performance.now() - started;
                    await new Promise((done) => setTimeout(done, 120));
                    return blocked;
                }""", letter))  # fmt: skip
        entry.fill("")
        page.keyboard.press("Escape")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--tags", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    chromium = next(
        found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))
    )
    with tempfile.TemporaryDirectory() as folder:
        make_project(Path(folder) / "projects" / "many", given.photos, given.tags)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "lora_forge", "ui", "--no-browser", "--port", str(port), "--data", folder]
        with subprocess.Popen(
            [*command, "--base", str(checkpoint_path())], stdout=subprocess.PIPE, text=True, env=os.environ
        ) as server, sync_playwright() as driver:  # fmt: skip
            assert server.stdout is not None
            assert "LoRA Forge is at" in server.stdout.readline()
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            page.goto(f"http://127.0.0.1:{port}/", wait_until="domcontentloaded")
            page.wait_for_selector("#lora_forge[data-ready]", timeout=60_000)
            page.wait_for_selector("#lora_forge_photos .lf-tile", timeout=60_000)
            page.wait_for_timeout(3000)
            first = timed(lambda: (page.click("[data-step=tags]"), page.wait_for_selector(TILES)))
            found = measure(page, given.rounds)
            browser.close()
            server.terminate()
    print(f"{given.photos} photos x {given.tags} tags, ms (median, worst; goal)")
    print(f"open, the very first time   {first:8.0f}")
    for name, values in found.items():
        print(f"{name:26} {statistics.median(values):8.1f} {max(values):8.1f} {GOALS_MS[name]:8}")


if __name__ == "__main__":
    main()
