"""A real Chromium and the real page. Without either, these tests skip and say what is missing."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lora_forge.dataset.traits import Traits
from lora_forge.events import CommandBox
from lora_forge.host.desk import StandaloneDesk
from lora_forge.toyworld import checkpoint_path
from lora_forge.toyworld.subject import TRAIT_TAGS, TRIGGER, photos
from lora_forge.work import RunRequest, gather, run

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")


@dataclass(frozen=True)
class Served:
    """A running ``lora-forge ui``."""

    address: str
    data: Path


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium of the machine; nothing is downloaded."""
    playwright = pytest.importorskip("playwright.sync_api", reason="NO BROWSER TEST RAN: playwright is not installed")
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("NO BROWSER TEST RAN: there is no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        # a root user's Chromium starts without its sandbox alone
        launched = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu", *_QUIET])
        yield launched
        launched.close()


def free_port() -> int:
    """A port that stays free until a program that takes its time to start uses it: below those that a system gives to
    whoever opens a connection, and for each process of the tests from another place on."""
    first = os.getpid() * 97 % 8000
    for number in range(8000):
        port = 20000 + (first + number) % 8000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


@dataclass
class Program:
    """``lora-forge ui`` on the toy world, in a process of its own, which a test may kill and start again."""

    data: Path
    process: subprocess.Popen[str] | None = None
    address: str = ""

    def start(self) -> None:
        port = free_port()
        command = [sys.executable, "-m", "lora_forge", "ui", "--no-browser", "--port", str(port)]
        command += ["--data", str(self.data), "--base", str(checkpoint_path())]
        env = {**os.environ, "LC_ALL": "C.UTF-8", "GRADIO_TEMP_DIR": str(self.data / "gradio")}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        assert self.process.stdout is not None
        assert "LoRA Forge is at" in self.process.stdout.readline()
        self.address = f"http://127.0.0.1:{port}/"

    def end(self, signal_number: int = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(signal_number)
        self.process.communicate()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page on the toy world, for all tests that leave it running."""
    pytest.importorskip("gradio", reason="NO BROWSER TEST RAN: gradio is not installed")
    program = Program(tmp_path_factory.mktemp("data"))
    program.start()
    yield Served(program.address, program.data)
    program.end()


def heard(page: Any, errors: list[str]) -> Any:
    """The page; what goes wrong in its scripts is added to ``errors``, with the lines it came from."""
    page.set_default_timeout(60_000)  # twice as usual: a machine may be slow
    page.on("pageerror", lambda error: errors.append(error.stack or str(error)))
    return page


def opened_page(browser: Any, address: str, errors: list[str]) -> Any:
    """The page, ready, 1280 px wide; what goes wrong in its script is added to ``errors``."""
    opened = heard(browser.new_page(viewport={"width": 1280, "height": 1000}), errors)
    opened.goto(address, wait_until="domcontentloaded")
    opened.wait_for_selector("#lora_forge[data-ready][data-step]", timeout=60_000)
    opened.wait_for_selector("#lora_forge_live .lf-state", state="attached", timeout=60_000)
    return opened


@pytest.fixture
def page(browser: Any, served: Served) -> Iterator[Any]:
    """The page, open and ready, 1280 px wide; an error in its script fails the test."""
    errors: list[str] = []
    opened = opened_page(browser, served.address, errors)
    yield opened
    opened.close()
    assert not errors, "\n".join(errors)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three toy photos with captions, and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, (picture, tags) in enumerate(photos(0)[:3], start=1):
        picture.save(folder / f"photo-{number}.png")
        (folder / f"photo-{number}.txt").write_text(", ".join(tags), encoding="utf-8")
    (folder / "broken.png").write_bytes(b"no picture")
    return sorted(str(path) for path in folder.iterdir())


@pytest.fixture(scope="session")
def girl(served: Served, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a project on the served page, and of its LoRA of three epochs, really trained for a few steps."""
    folder = tmp_path_factory.mktemp("girl")
    for number, (picture, tags) in enumerate(photos(0)[:6], start=1):
        picture.save(folder / f"photo-{number}.png")
        kept = [TRIGGER, *(tag for tag in tags if tag not in TRAIT_TAGS)]
        (folder / f"photo-{number}.txt").write_text(", ".join(kept), encoding="utf-8")
    desk = StandaloneDesk(served.data / "projects", served.data / "loras", base=checkpoint_path(), device="cpu")
    gather(desk, "girl", [folder], TRIGGER, lambda event: None, allows_paths=True)
    project = desk.data_root() / "girl"
    answers = {**dict.fromkeys(TRAIT_TAGS, "part"), "white shirt": "changeable"}
    (project / "traits.json").write_text(Traits(answers, {}, "toyworld").text(), encoding="utf-8")
    request = RunRequest(project, "girl", "toyworld", 2, 3, {"preview_every_steps": 0}, trigger_word=TRIGGER)
    assert run(desk, request, lambda event: None, CommandBox()).outcome == "done"
    return "girl"
