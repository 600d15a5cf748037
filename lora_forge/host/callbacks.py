"""Where a WebUI calls us: when it builds its tabs, and when its web application is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

TAB_ID = "lora_forge_tab"


def register(title: str, build: Callable[[], Any], started: Callable[[Any, Any], None]) -> None:
    """Have the WebUI show ``build()`` (a ``gradio.Blocks``) as a tab, and call ``started(app, page)``.

    To be called once by a script that the WebUI runs: on Reload UI it forgets all callbacks and runs the scripts anew.
    """
    from modules import script_callbacks

    script_callbacks.on_ui_tabs(lambda: [(build(), title, TAB_ID)])
    script_callbacks.on_app_started(lambda page, app: started(app, page))


def api_auth() -> str:
    """``--api-auth``; empty without."""
    from modules import shared

    return str(getattr(shared.cmd_opts, "api_auth", None) or "")


def reads_folders() -> bool:
    """Whether a person may name folders of the machine: not where the WebUI hides its own such fields."""
    from modules import shared

    return not getattr(shared.cmd_opts, "hide_ui_dir_config", False)
