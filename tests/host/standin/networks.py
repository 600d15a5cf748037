"""The built-in Lora extension's lists: what of the folder it knows, by name and by the name inside each file."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from lora_forge.lora_file.writer import load_metadata


class Lists(ModuleType):
    """The top-level module ``networks``; a file that came later is known after :meth:`list_available_networks`."""

    def __init__(self, shared: Any) -> None:
        super().__init__("networks")
        self._shared = shared
        self.available_networks: dict[str, Any] = {}
        self.available_network_aliases: dict[str, Any] = {}
        self.forbidden_network_aliases: dict[str, int] = {}
        self.loaded_networks: list[Any] = []
        self.listings = 0

    def list_available_networks(self) -> None:
        self.listings += 1
        self.available_networks.clear()
        self.available_network_aliases.clear()
        self.forbidden_network_aliases.clear()
        self.forbidden_network_aliases.update({"none": 1, "Addams": 1})
        for path in sorted(Path(self._shared.cmd_opts.lora_dir).rglob("*.safetensors")):
            entry = SimpleNamespace(filename=str(path), name=path.stem)
            entry.alias = _alias(path)
            self.available_networks[entry.name] = entry
            if entry.alias in self.available_network_aliases:
                self.forbidden_network_aliases[entry.alias.lower()] = 1
            self.available_network_aliases[entry.name] = entry
            self.available_network_aliases[entry.alias] = entry

    def note(self, names: list[str]) -> dict[str, Path]:
        """The files of those it finds, which are then the loaded ones; the others it leaves out, without a word."""
        found = [self._find(name) for name in names]
        if None in found:
            self.list_available_networks()
            found = [self._find(name) for name in names]
        files = {name: Path(entry.filename) for name, entry in zip(names, found, strict=True) if entry is not None}
        self.loaded_networks = [SimpleNamespace(name=name, mentioned_name=name, modules={}) for name in files]
        return files

    def _find(self, name: str) -> Any:
        is_ambiguous = name.lower() in self.forbidden_network_aliases
        return (self.available_networks if is_ambiguous else self.available_network_aliases).get(name)


def _alias(path: Path) -> str:
    try:
        return load_metadata(path).get("ss_output_name", path.stem)
    except Exception:  # noqa: BLE001  a file of the folder that is none: the host shows it all the same
        return path.stem
