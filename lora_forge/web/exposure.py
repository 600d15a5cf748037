"""Whether strangers can reach the page."""

from __future__ import annotations

import ipaddress
import weakref
from typing import Any

WARNING = (
    "Anybody who can reach this address can see these photos and start or stop runs: "
    "the WebUI listens beyond this machine without a login. Start it with --gradio-auth NAME:PASSWORD."
)
_pages: list[weakref.ref[Any]] = []  # the page that was protected last; a reload of the WebUI makes a new one


def is_exposed(page: Any) -> str:
    """The sentence to show while ``page`` (a launched ``gradio.Blocks``) can be reached from elsewhere without a login;
    else empty. A tunnel that gradio knows nothing of, such as ngrok's, is not seen."""
    if page is None or getattr(page, "auth", None) is not None:
        return ""
    is_public = bool(getattr(page, "share", False)) or not _is_local(str(getattr(page, "server_name", "") or ""))
    return WARNING if is_public else ""


def exposure_warning() -> str:
    """:func:`is_exposed` of the page that :func:`remember` was told of; empty before that."""
    return is_exposed(_pages[0]()) if _pages else ""


def remember(page: Any) -> None:
    """Take ``page`` as the one that is shown now."""
    _pages[:] = [weakref.ref(page)]


def _is_local(server_name: str) -> bool:
    if server_name in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(server_name.strip("[]")).is_loopback
    except ValueError:  # a name of this machine
        return False
