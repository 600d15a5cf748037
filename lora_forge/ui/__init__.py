"""Everything on the page; the only package that imports gradio."""

from __future__ import annotations

import os
import time
import webbrowser
from collections.abc import Callable
from typing import Any

from lora_forge.errors import MissingPartError, TrainingError
from lora_forge.ports import Desk
from lora_forge.ui.around import Around

__all__ = ["serve"]


def serve(
    host: str,
    port: int,
    desk: Desk,
    around: Around,
    mount: Callable[[Any, Any], None],
    opens_browser: bool,
    started: Callable[[str], None],
) -> None:
    """Serve the page on ``host``:``port`` until KeyboardInterrupt; ``started`` gets the address.

    ``mount(app, page)`` adds the routes to the web application once it is there.

    Raises:
        MissingPartError: gradio is not installed.
        TrainingError: the port is taken.
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

    page = build_page(desk, around)
    try:
        app, address, _ = page.queue().launch(
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
    mount(app, page)
    started(address)
    if opens_browser:
        webbrowser.open(address)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        page.close()
