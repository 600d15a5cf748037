"""``lora-forge ui``: the page is served, loads nothing from elsewhere, and a missing gradio is a sentence."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from lora_forge.toyworld import checkpoint_path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ui_command(port: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "lora_forge", "ui", "--no-browser", "--port", str(port), *more]


@pytest.mark.once
def test_without_gradio_there_is_a_sentence_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "gradio.py").write_text("raise ImportError('not here')", encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(ui_command(free_port()), capture_output=True, text=True, check=False, env=env, timeout=120)
    assert done.returncode == 1
    assert "needs gradio" in done.stderr
    assert "standalone.py ui" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a console, not to a process")
def test_the_page_is_served_from_here_alone_and_a_taken_port_is_told(tmp_path: Path) -> None:
    gradio = pytest.importorskip("gradio")
    if int(gradio.__version__.split(".")[0]) < 5:
        pytest.skip("the page without a WebUI is served by gradio 5; older ones belong to a WebUI, which serves it")
    port = free_port()
    with subprocess.Popen(
        ui_command(port, "--base", str(checkpoint_path()), "--data", str(tmp_path)), stdout=subprocess.PIPE, text=True
    ) as served:
        try:
            assert served.stdout is not None
            assert served.stdout.readline() == f"LoRA Forge is at http://127.0.0.1:{port}/ (Ctrl-C ends it)\n"
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
                page, policy = answer.read().decode("utf-8"), answer.headers["content-security-policy"]
            assert "LoRA Forge" in page
            assert "the convention for SD1.x" in page
            assert policy.startswith("default-src 'self'")
            other = subprocess.run(
                ui_command(port, "--data", str(tmp_path)), capture_output=True, text=True, check=False, timeout=300
            )
            assert other.returncode == 1
            assert f"Port {port} on 127.0.0.1 can't be used" in other.stderr
        finally:
            served.terminate()  # a shell's background job never sees SIGINT
        assert served.wait(timeout=60) == 0
