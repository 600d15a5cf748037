"""``lora-forge ui``."""

from __future__ import annotations

import signal
from argparse import Namespace
from typing import Any

from lora_forge.cli.console import Console
from lora_forge.host.desk import StandaloneDesk
from lora_forge.jobs import board
from lora_forge.ui import serve
from lora_forge.ui.around import Around

LOCAL = ("127.0.0.1", "localhost", "::1")


def run(args: Namespace, console: Console) -> int:
    """Serve the page until Ctrl-C, which is the way to end it, or SIGTERM, which is a service's way: 0."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    desk = StandaloneDesk(args.data / "projects", args.loras or args.data / "loras", args.checkpoints, args.base)

    def started(address: str) -> None:
        if console.is_json:
            console.object({"event": "Serving", "address": address})
        console.result(f"LoRA Forge is at {address} (Ctrl-C ends it)")

    def mount(app: Any, page: Any) -> None:
        from lora_forge import web

        web.mount(app, desk, board(), lambda request: True, allows_paths=args.host in LOCAL)
        web.protect(page, desk.data_root())

    exposed = "Everyone who can reach this machine can use this page: --host opens it, and it has no login."
    around = Around(
        warning=lambda: "" if args.host in LOCAL else exposed,
        reads_folders=lambda: args.host in LOCAL,
    )
    serve(args.host, args.port, desk, around, mount, not args.no_browser, started)
    return 0
