"""The tab as a page of its own."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from lora_forge.ports import Desk
from lora_forge.ui import assets
from lora_forge.ui.around import Around
from lora_forge.ui.dialect import MAJOR
from lora_forge.ui.tab import fill_tab


class OnlyFromHere:
    """ASGI middleware: the browser loads nothing from elsewhere. gradio's page names two hosts of scripts and fonts."""

    POLICY = b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"content-security-policy", self.POLICY)]}
            await send(message)

        await self._app(scope, receive, send_with_policy)


def build_page(desk: Desk, around: Around) -> Any:
    """The page as ``gradio.Blocks``, not yet served."""
    # Fonts of the system: gradio's own theme fetches them from the web.
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    with gr.Blocks(title="LoRA Forge", css=assets.style(), theme=theme, analytics_enabled=False) as page:
        fill_tab(desk, around)
        # as text that is run when the page is there: the one way that all three gradios know
        script = {"_js" if MAJOR == 3 else "js": f"() => {{ (0, eval)({json.dumps(assets.script())}); return []; }}"}
        page.load(fn=None, inputs=None, outputs=None, **script)
    return page
