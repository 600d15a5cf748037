"""A real WebUI, started for the tests with the extension in a folder of its own; ``test_real_host`` says how."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
WEBUI, PYTHON = os.environ.get("LORA_FORGE_WEBUI", ""), os.environ.get("LORA_FORGE_WEBUI_PYTHON", "")
START_S = 300
IS_FORGE = (Path(WEBUI) / "modules_forge").exists()

MARKS = [
    pytest.mark.host,
    pytest.mark.slow,
    pytest.mark.skipif(not (WEBUI and PYTHON), reason="no WebUI: set LORA_FORGE_WEBUI and LORA_FORGE_WEBUI_PYTHON"),
]


@dataclass
class Program:
    """A WebUI that runs on ``port``, with its files under ``data``."""

    port: int
    data: Path

    def call(self, path: str, body: Any = None, timeout_s: float = 1800) -> Any:
        """JSON there and back."""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=timeout_s) as answer:
            return json.loads(answer.read() or "null")

    def run(self, rule: str, *arguments: str) -> Any:
        """A rule of the contract; its figures."""
        answer = self.call("/lora_forge_test/rule", {"rule": rule, "arguments": arguments})
        print({key: value for key, value in answer.items() if key != "error"})
        assert not answer["error"], answer["error"]
        return answer


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Started once, ended at the end."""
    data = tmp_path_factory.mktemp("webui")
    extensions = data / "extensions"
    (extensions / "lora-forge-tests" / "scripts").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("real_route.py"), extensions / "lora-forge-tests" / "scripts")
    (extensions / "lora-forge").symlink_to(REPOSITORY)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = data / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(_command(port, data), cwd=WEBUI, env=_environment(), stdout=output, stderr=output)
    try:
        _wait(Program(port, data), process, log)
        yield Program(port, data)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _command(port: int, data: Path) -> list[str]:
    flags = "--skip-prepare-environment --skip-install --skip-version-check --skip-torch-cuda-test --api"
    places = ["--port", str(port), "--data-dir", str(data), "--ckpt-dir", f"{WEBUI}/models/Stable-diffusion"]
    places += ["--gradio-allowed-path", WEBUI]  # with a --data-dir Forge refuses its own page's scripts without it
    own = shlex.split(os.environ.get("LORA_FORGE_WEBUI_ARGS", ""))
    return [PYTHON, "launch.py", *flags.split(), *places, *own]


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COMMANDLINE_ARGS"))}
    path = f"{Path(PYTHON).parent}{os.pathsep}{kept.get('PATH', '')}"
    own = {"LORA_FORGE_REPOSITORY": str(REPOSITORY), "SD_WEBUI_RESTARTING": "1"}  # the latter: opens no browser
    return {**kept, **own, "PATH": path, "PYTHONUNBUFFERED": "1"}


def _wait(program: Program, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until a checkpoint is in memory; in Forge, which loads none before the first picture, until one is chosen.

    Nothing is asked before the program says that it has started: a request that comes earlier makes AUTOMATIC1111 fail
    with "Cannot add middleware after an application has started".
    """
    deadline, last = time.monotonic() + START_S, ""
    while time.monotonic() < deadline:
        assert process.poll() is None, f"it ended:\n{log.read_text()[-3000:]}"
        time.sleep(1)
        if "Startup time" not in log.read_text():
            continue
        try:
            answer = program.call("/lora_forge_test/ready", timeout_s=30)
            if "info" in answer:
                return
            last = str(answer)
        except (urllib.error.URLError, OSError, ValueError) as error:
            last = str(error)
    pytest.fail(f"not ready after {START_S} s: {last}\n{log.read_text()[-3000:]}")
