"""Everything on the page; the only package that imports gradio."""

from __future__ import annotations

import os
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path

from lora_forge.errors import MissingPartError, TrainingError

__all__ = ["serve"]


def serve(host: str, port: int, base: Path | None, opens_browser: bool, started: Callable[[str], None]) -> None:
    """Serve the page on ``host``:``port`` until KeyboardInterrupt; ``started`` gets the address.

    Raises:
        MissingPartError: gradio is not installed.
        TrainingError: the port is taken.
        CheckpointError: ``base`` is no checkpoint.
    """
    # Read at gradio's import: no usage statistics, no look for updates.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import gradio  # noqa: F401
    except ImportError as cause:
        raise MissingPartError(
            "The page needs gradio, which is not installed.",
            "Start it as: python3 standalone.py ui (installs it beside itself), or: pip install 'gradio>=5.50,<6'",
        ) from cause
    from starlette.middleware import Middleware

    from lora_forge.ui.page import OnlyFromHere, build_page

    page = build_page(base)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            inbrowser=False,
            show_api=False,
            app_kwargs={"middleware": [Middleware(OnlyFromHere)]},
        )
    except OSError as cause:
        raise TrainingError(
            "Port {port} on {host} can't be used.",
            "Choose another one: --port {next}",
            port=port,
            host=host,
            next=port + 1,
        ) from cause
    started(address)
    if opens_browser:
        webbrowser.open(address)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        page.close()
