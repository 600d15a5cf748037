"""``lora-forge ui``."""

from __future__ import annotations

from argparse import Namespace

from lora_forge.cli.console import Console
from lora_forge.ui import serve


def run(args: Namespace, console: Console) -> int:
    """Serve the page until Ctrl-C, which is the way to end it: 0."""

    def started(address: str) -> None:
        if console.is_json:
            console.object({"event": "Serving", "address": address})
        console.result(f"LoRA Forge is at {address} (Ctrl-C ends it)")

    serve(args.host, args.port, args.base, not args.no_browser, started)
    return 0
