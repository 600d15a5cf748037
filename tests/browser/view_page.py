"""A small page with a run's chart and its strip of previews, served with the real routes; and runs made up for it."""

from __future__ import annotations

import html
import json
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from lora_forge import web
from lora_forge.dataset.project import Project
from lora_forge.i18n import say
from lora_forge.jobs import JobBoard
from lora_forge.train.journal import FILE_NAME
from lora_forge.ui import assets
from lora_forge.ui.chart_words import CHART_WORDS, PREVIEW_WORDS

LIGHT = {
    "body-text-color": "#27272a",
    "border-color-primary": "#e4e4e7",
    "background-fill-primary": "#ffffff",
    "background-fill-secondary": "#fafafa",
    "block-background-fill": "#ffffff",
    "color-accent": "#f97316",
}
DARK = {
    **LIGHT,
    "body-text-color": "#f4f4f5",
    "border-color-primary": "#3f3f46",
    "background-fill-primary": "#0f0f11",
    "background-fill-secondary": "#18181b",
    "block-background-fill": "#18181b",
}
# The Train step itself is left out: its panel would show the same parts once more.
SCRIPTS = ("", "_kit", *(f"_train_{name}" for name in ("chart", "compare", "plot", "previews", "series")))
# Both parts, and what they are told to show.
_MOUNT = """
const place = document.querySelector("#view");
const { chart, strip } = window.loraForge.train;
window.view = { chart: chart(place), strip: strip(place) };
place.append(window.view.chart.element, window.view.strip.element);
"""


class Folder:
    """As much of a desk as these routes need: where the projects are."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def data_root(self) -> Path:
        return self._root


def page_html(language: str = "en") -> str:
    """The page; ``class="dark"`` on its body makes it dark."""
    words = {name: say(text, language) for name, text in {**CHART_WORDS, **PREVIEW_WORDS}.items()}

    def colours(of: dict[str, str]) -> str:
        return "".join(f"--{name}: {value};" for name, value in of.items())

    style = (
        f"body {{ {colours(LIGHT)} margin: 0; padding: 1rem; font: 16px/1.5 system-ui, sans-serif;"
        " background: var(--background-fill-primary); }"
        f"body.dark {{ {colours(DARK)} color-scheme: dark; }}"
        "#lora_forge_live { display: none; }"
        "#view { display: flex; flex-direction: column; gap: 1rem; }"
    )
    folder = assets.ROOT / "javascript"
    script = "\n".join((folder / f"lora_forge{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    data = html.escape(json.dumps(words, ensure_ascii=False))
    return (
        f"<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<style>{style}{assets.style()}</style><body><div id=lora_forge>"
        f"<div id=lora_forge_live><div class=lf-live data-language={language} data-words='{{}}'></div></div>"
        f'<div class=lf-step><div id=view data-words="{data}"></div></div></div>'
        f"<script>{script}</script><script>{_MOUNT}</script>"
    )


@contextmanager
def serving(desk: Any) -> Iterator[str]:
    """The page's address; ``?zh`` is the Chinese one. The routes are the real ones."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse(page_html("zh" if "zh" in request.query_params else "en"))

    app = Starlette(routes=[Route("/", page)])
    web.mount(app, desk, JobBoard(), side_board=JobBoard())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, args=([probe],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/"
        server.should_exit = True
        thread.join(10)


def add_run(desk: Any, name: str = "girl", project: str = "anna") -> Path:
    """The folder of a run without a journal yet."""
    root = desk.data_root() / project
    if not (root / "project.json").is_file():
        Project.create(root, "ohwx")
    run_dir: Path = root / "runs" / name
    (run_dir / "previews").mkdir(parents=True, exist_ok=True)
    return run_dir


def write_steps(run_dir: Path, first: int, last: int, total: int, steps_per_epoch: int, level: float = 0.081) -> None:
    """Steps as a run tells them, by a fixed draw: a noisy objective, its mean, a warm-up and a cosine."""
    losses = np.random.default_rng(7).gamma(3.0, level / 3.0, total + 1)
    falling = 1 + 0.35 * np.exp(-np.arange(total + 1) / (total / 6))
    losses *= falling
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    with (run_dir / FILE_NAME).open("a", encoding="utf-8") as file:
        for event in _events(losses, sums, first, last, total, steps_per_epoch):
            file.write(json.dumps({"time": 1.0, **event}) + "\n")


def _events(
    losses: Any, sums: Any, first: int, last: int, total: int, steps_per_epoch: int
) -> Iterator[dict[str, Any]]:
    yield {"event": "RunStarted", "total_steps": total, "first_step": first, "steps_per_epoch": steps_per_epoch}
    for step in range(first, last + 1):
        epoch, since = (step - 1) // steps_per_epoch + 1, max(0, step - steps_per_epoch)
        warm = min(1.0, step / (0.05 * total))
        yield {
            "event": "StepDone",
            "step": step,
            "total_steps": total,
            "epoch": epoch,
            "loss": float(losses[step]),
            "mse": float(losses[step]),
            "window_mse": float((sums[step + 1] - sums[since + 1]) / (step - since)),
            "learning_rate": 1e-4 * warm * 0.5 * (1 + math.cos(math.pi * step / total)),
        }
        if step % steps_per_epoch == 0:
            share = step / total
            yield {"event": "Validated", "epoch": epoch, "step": step, "loss": 0.094 - 0.02 * share + 0.012 * share**3}
            yield {"event": "EpochEnded", "epoch": epoch, "step": step}


def write_previews(run_dir: Path, steps: list[int], total: int) -> None:
    """The picture without the LoRA once, and two columns at each step: a figure that grows clear."""
    lines: list[dict[str, Any]] = []
    for step in steps:
        if not (run_dir / "previews" / "base-1.png").exists():
            _figure(0.0, (120, 90, 60), (90, 110, 150)).save(run_dir / "previews" / "base-1.png")
            lines.append(_made("base-1.png", step, "ohwx, portrait, snow", 0))
        for column, (hair, dress) in enumerate((((60, 40, 30), (60, 90, 170)), ((235, 232, 225), (190, 40, 45))), 1):
            name = f"step-{step:08d}-{column}.png"
            _figure(step / total, hair, dress).save(run_dir / "previews" / name)
            prompt = "ohwx, portrait, snow" + (", white hair, red dress" if column == 2 else "")
            lines.append(_made(name, step, prompt, column))
    with (run_dir / FILE_NAME).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def _made(name: str, step: int, prompt: str, column: int) -> dict[str, Any]:
    return {"time": 1.0, "event": "PreviewMade", "path": name, "step": step, "prompt": prompt, "column": column}


def _figure(clear: float, hair: tuple[int, int, int], dress: tuple[int, int, int]) -> Image.Image:
    """A face with hair over a dress, less noisy as ``clear`` goes to 1."""
    picture = Image.new("RGB", (256, 256), (176, 196, 214))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 190, 256, 256), fill=(236, 240, 245))
    pen.polygon(((128, 130), (40, 256), (216, 256)), fill=dress)
    pen.ellipse((66, 32, 190, 190), fill=hair)
    pen.ellipse((84, 62, 172, 172), fill=(233, 196, 172))
    for x in (106, 150):
        pen.ellipse((x - 7, 104, x + 7, 118), fill=(40, 45, 60))
    pen.arc((108, 124, 148, 152), 20, 160, fill=(160, 70, 70), width=4)
    pixels = np.asarray(picture, dtype=np.float64)
    noise = np.random.default_rng(1).normal(0, 70, (64, 64, 3)).repeat(4, axis=0).repeat(4, axis=1)
    return Image.fromarray(np.clip(pixels + noise * (1 - clear) ** 1.5, 0, 255).astype(np.uint8))
