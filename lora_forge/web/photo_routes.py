"""Routes of the Photos step."""

from __future__ import annotations

from lora_forge.web.serving import Routes, Served


def photo_routes(served: Served) -> Routes:
    """GET and POST handlers by name."""
    return Routes({}, {})
