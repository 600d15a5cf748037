"""Model files from the outside: fetched only when a person says so, with source, size and licence said before.

``items`` says what there is, ``fetching`` brings one file over an unreliable line, ``checks`` looks at what came,
``shelf`` holds the state of each item in a folder of models. Standard library alone.
"""

from __future__ import annotations

from lora_forge.downloads.checks import DownloadError, LicenceError
from lora_forge.downloads.items import ITEMS, Item, RemoteFile, item_of
from lora_forge.downloads.mirrors import Mirrors
from lora_forge.downloads.shelf import Shelf, Standing

__all__ = [
    "ITEMS",
    "DownloadError",
    "Item",
    "LicenceError",
    "Mirrors",
    "RemoteFile",
    "Shelf",
    "Standing",
    "item_of",
]
