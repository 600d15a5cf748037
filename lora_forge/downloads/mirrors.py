"""Other addresses for the same files: a mirror of the model hub, a proxy for releases."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from lora_forge.atomic import write_json
from lora_forge.downloads.checks import DownloadError
from lora_forge.downloads.items import HUB, RELEASES, Item, RemoteFile

SETTINGS_FILE = "downloads.json"
_HOSTS = {"hub": HUB, "releases": RELEASES}


class Mirrors:
    """What a person set, in ``settings_path`` (JSON).

    A mirror takes the host's place (``https://mirror.example`` for the model hub), or, where it holds ``{url}``, the
    place of the whole address (``https://proxy.example/{url}``). Where none is set for the hub, the environment's
    HF_ENDPOINT counts, which other programs obey too.
    """

    def __init__(self, settings_path: Path) -> None:
        self._path = settings_path

    def all(self) -> dict[str, str]:
        """By ``hub`` and ``releases``; empty where the original is asked."""
        kept = self._read()
        hub = kept.get("hub") or os.environ.get("HF_ENDPOINT", "").strip()
        return {"hub": hub, "releases": kept.get("releases", "")}

    def set(self, url: str, which: str = "hub") -> None:
        """Use ``url`` from now on; empty for the original.

        Raises:
            DownloadError: it is no address, or there is no such host.
            OSError: the settings can't be written.
        """
        if which not in _HOSTS:
            raise DownloadError("There is no mirror for {which!r}.", "Say hub or releases.", which=which)
        address = url.strip().rstrip("/")
        parts = urlsplit(address.replace("{url}", "x"))
        if address and (parts.scheme not in ("http", "https") or not parts.netloc or " " in address):
            raise DownloadError(
                "{url!r} is no address of a mirror.", "It begins with https:// and names a server.", url=url
            )
        write_json(self._path, {**self._read(), which: address})

    def url(self, item: Item, file: RemoteFile) -> str:
        """Where to ask for ``file``."""
        which = next((name for name, host in _HOSTS.items() if host == item.host), "")
        mirror = self.all().get(which, "") if which else ""
        if "{url}" in mirror:
            return mirror.replace("{url}", item.host + file.path)
        return (mirror.rstrip("/") or item.host) + file.path

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}  # nothing set yet, or torn by hand: the originals are asked
        if not isinstance(found, dict):
            return {}
        return {name: found[name] for name in _HOSTS if isinstance(found.get(name), str)}
