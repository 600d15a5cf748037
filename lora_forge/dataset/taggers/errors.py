"""What can be wrong with a tagger."""

from __future__ import annotations

from lora_forge.errors import DatasetError


class TaggerError(DatasetError):
    """A tagger is not there, its files do not fit together, or it failed on a photo."""
