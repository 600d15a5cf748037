"""``lora-forge version``."""

from argparse import Namespace

from lora_forge import __version__
from lora_forge.cli.console import Console


def run(_args: Namespace, console: Console) -> int:
    """Print the version."""
    if console.is_json:
        console.object({"event": "Version", "version": __version__})
    console.result(f"lora-forge {__version__}")
    return 0
