"""python benchmarks/loss_chart.py [--steps 50000] [--rounds 20]: a run's chart, from its journal to Chromium's frames.

Writes a journal of that many steps, asks the real routes for it (cold, warm, and only what was added), then draws it in
Chromium: the frames while a pointer moves over it, while it is zoomed and moved with the keys, and the milliseconds
of one drawing. Needs playwright, uvicorn, a Chromium, and a checkout (its page is the tests' own).
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.sync_api import sync_playwright

from lora_forge.train.journal import FILE_NAME
from tests.browser.view_page import Folder, add_run, serving, write_steps

ROUTE = "/lora_forge/runs/series?project=anna&name=girl"
SHOW = """async () => {
    const started = performance.now();
    await view.chart.show({ project: "anna", name: "girl" });
    await new Promise(requestAnimationFrame);
    return performance.now() - started;
}"""
# Moves, one a frame, and the time between frames; each act stands for what a person does.
FRAMES = """async ([act, seconds]) => {
    const canvas = document.querySelectorAll(".lf-chart-stage canvas")[1];
    const box = canvas.getBoundingClientRect();
    const point = (kind, share) => canvas.dispatchEvent(new PointerEvent(kind, {
        bubbles: true, pointerId: 1, pointerType: "mouse", clientX: box.left + share * box.width, clientY: box.top + 80,
    }));
    const pressed = (name) => new KeyboardEvent("keydown", { key: name, bubbles: true, shiftKey: true });
    const key = (name) => canvas.dispatchEvent(pressed(name));
    const acts = {
        hover: (count) => point("pointermove", 0.1 + 0.8 * ((count % 180) / 180)),
        move: (count) => key(count % 240 < 120 ? "ArrowLeft" : "ArrowRight"),
        redraw: () => document.body.classList.toggle("redrawn"),
    };
    if (act === "move") { key("End"); for (let zoom = 0; zoom < 3; zoom += 1) key("+"); }
    const spans = [];
    const until = performance.now() + seconds * 1000;
    let before = await new Promise(requestAnimationFrame);
    for (let count = 0; performance.now() < until; count += 1) {
        acts[act](count);
        const now = await new Promise(requestAnimationFrame);
        spans.push(now - before);
        before = now;
    }
    if (act === "move") key("Escape");
    return spans;
}"""
# How long the script itself takes for one drawing: what is asked for in one frame is drawn in the next.
DRAWING = """async (rounds) => {
    const taken = [];
    const ask = window.requestAnimationFrame;
    for (let round = 0; round < rounds; round += 1) {
        await new Promise((done) => {
            window.requestAnimationFrame = (act) => ask((now) => {
                const started = performance.now();
                act(now);
                taken.push(performance.now() - started);
                done();
            });
            document.body.classList.toggle("redrawn");
        });
    }
    window.requestAnimationFrame = ask;
    return taken;
}"""


def asked(address: str, query: str = "") -> tuple[float, dict[str, Any], int]:
    """Milliseconds, the answer, and its bytes."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    started = time.perf_counter()
    connection.request("GET", ROUTE + query)
    body = connection.getresponse().read()
    taken = 1000 * (time.perf_counter() - started)
    connection.close()
    return taken, json.loads(body), len(body)


def row(name: str, values: list[float], goal: str = "") -> None:
    ordered = sorted(values)
    late = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    print(f"{name:44} {statistics.median(values):9.1f} {late:9.1f} {ordered[-1]:9.1f}   {goal}")


def ask_routes(address: str, run_dir: Path, steps: int, rounds: int) -> None:
    print(f"{steps} steps, ms{'':33} {'median':>9} {'99 %':>9} {'worst':>9}   goal")
    cold, told, size = asked(address, "&points=2400")
    row("whole run, the journal read for the first time", [cold])
    row("whole run, warm", [asked(address, "&points=2400")[0] for _ in range(rounds)], "100")
    row(
        "a tenth of it, warm",
        [asked(address, f"&points=2400&from={steps // 2}&to={steps * 6 // 10}")[0] for _ in range(rounds)],
    )
    added = []
    for number in range(rounds):
        with (run_dir / FILE_NAME).open("a", encoding="utf-8") as file:
            line = {
                "event": "StepDone",
                "step": steps + 1 + number,
                "loss": 0.1,
                "window_mse": 0.08,
                "learning_rate": 1e-5,
            }
            file.write(json.dumps(line) + "\n")
        taken, more, _ = asked(address, f"&points=2400&since={steps + number}&revision={told['revision']}")
        assert more["steps"] == [steps + 1 + number]
        added.append(taken)
    row("one step more", added)
    journal_mb = (run_dir / FILE_NAME).stat().st_size / 1e6
    print(f"the whole run is {len(told['steps'])} points, {size / 1e3:.0f} kB; its journal {journal_mb:.1f} MB")


def draw(address: str, chromium: str, rounds: int) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for width, height in ((1280, 900), (390, 844)):
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(address)
            print(f"\nin Chromium {browser.version} without a graphics card, {width} px wide")
            row("fetched and drawn, warm", [page.evaluate(SHOW)])
            page.click(".lf-chart-key[data-line=loss]")  # every line: the most there is to draw
            row("one drawing of all five lines", page.evaluate(DRAWING, rounds), "16.7")
            for act, name in (
                ("hover", "a pointer moves"),
                ("move", "zoomed in, moved by keys"),
                ("redraw", "drawn anew every frame"),
            ):
                spans = page.evaluate(FRAMES, [act, 4])
                row(f"frame to frame: {name}", spans, "16.7")
                print(f"{'':44} {1000 / statistics.mean(spans):9.1f} frames a second")
            page.close()
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    chromium = next(
        found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))
    )
    with tempfile.TemporaryDirectory() as folder:
        desk = Folder(Path(folder))
        run_dir = add_run(desk)
        write_steps(run_dir, 1, given.steps, given.steps, given.steps // 50)
        with serving(desk) as address:
            ask_routes(address, run_dir, given.steps, given.rounds)
            draw(address, chromium, given.rounds)


if __name__ == "__main__":
    main()
