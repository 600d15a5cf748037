"""Composition root in a WebUI: picks the host, builds the tab, mounts the routes."""

from __future__ import annotations

import traceback
from functools import lru_cache
from typing import Any

TITLE = "LoRA Forge"


def register() -> None:
    """Register the tab with the WebUI around us. Called by the extension's script at each start and Reload UI."""
    from lora_forge.host import callbacks

    callbacks.register(TITLE, build, started)


@lru_cache(maxsize=1)
def desk() -> Any:
    """The host, chosen once; it outlives Reload UI, as the run that may hold its checkpoint does.

    Raises:
        CheckpointError: this WebUI is none that we know.
    """
    from lora_forge.errors import CheckpointError
    from lora_forge.host.finding import find_host

    found = find_host()
    if found is None:
        raise CheckpointError(
            "LoRA Forge does not know this WebUI.", "It runs in AUTOMATIC1111, Forge, reForge and Forge Classic."
        )
    return found


def build() -> Any:
    """The tab; where it can't be built, a card that says what is missing."""
    try:
        return _build()
    except Exception as problem:  # noqa: BLE001 - a host's callback: the tab must open whatever is wrong
        traceback.print_exc()
        from lora_forge.ui.failure import failure_page

        return failure_page(problem)


def _build() -> Any:
    from lora_forge import web
    from lora_forge.host.pasting import WebUITxt2Img
    from lora_forge.ui.around import Around
    from lora_forge.ui.tab import build_tab

    around = Around(txt2img=WebUITxt2Img(), warning=web.exposure_warning, reads_folders=_reads_folders)
    return build_tab(desk(), around)


def started(app: Any, page: Any) -> None:
    """Add the routes to the web application; after Reload UI it is a new one."""
    from lora_forge import web
    from lora_forge.host import callbacks
    from lora_forge.jobs import board

    web.protect(page, desk().data_root())
    web.mount(app, desk(), board(), api_auth=callbacks.api_auth(), allows_paths=_reads_folders())


def _reads_folders() -> bool:
    """Whether a page may name any folder of the machine: as the host's own pages, and never where strangers come in."""
    from lora_forge import web
    from lora_forge.host import callbacks

    return callbacks.reads_folders() and not web.exposure_warning()
