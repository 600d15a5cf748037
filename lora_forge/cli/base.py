"""What a command wants to know of a base checkpoint before it is read."""

from __future__ import annotations

from pathlib import Path

from lora_forge.model.read import read_header


def is_toyworld(path: Path) -> bool:
    """Whether this is the bundled toy checkpoint, whose size and rates are its own.

    Raises:
        CheckpointError: the file is missing or no checkpoint.
    """
    return read_header(path).metadata.get("lora_forge.toyworld") == "1"
