"""What was asked for in a run, so that it can be changed, done again or gone on with."""

from __future__ import annotations

from typing import Any

from lora_forge import config
from lora_forge.dataset.project import Project
from lora_forge.errors import LoraForgeError
from lora_forge.ports import Desk
from lora_forge.work.planning import RunRequest, settled
from lora_forge.work.runs import RunFacts, find_run
from lora_forge.work.settings import CONFIG_FILE

_KIND = "person"
_SHOWN = ("kind", "values", "trigger_word", "prove", "folder")


def settings_of(desk: Desk, project: Project, name: str) -> dict[str, Any]:
    """``kind``, ``values`` (only what differs from the proposal), ``name`` and the rest of a request.

    Raises:
        TrainingError: there is no such run.
        ConfigError: its settings can't be read.
    """
    run = find_run(project, name)
    found: dict[str, Any] = {"project": project.root.name, "name": name, "kind": _KIND, "trigger_word": ""}
    found.update({"prove": "off", "folder": "", "resume": False})
    if run.asked.get("kind") and isinstance(run.asked.get("values"), dict):
        return {**found, **{key: run.asked[key] for key in _SHOWN if key in run.asked}}
    return {**found, "values": _differences(desk, project, run)}


def _differences(desk: Desk, project: Project, run: RunFacts) -> dict[str, Any]:
    """A run of an older program or of the command line: its config beside what would be proposed today."""
    used = config.load(run.folder / CONFIG_FILE).to_dict() if run.has_config else {}
    try:
        proposed = settled(desk, RunRequest(project.root, "proposal", _KIND)).to_dict()
    except LoraForgeError:  # nothing is loaded, or no photo is left: then all of it
        proposed = {}
    aside = ("name", "schema_version")
    return {key: value for key, value in used.items() if key not in aside and proposed.get(key) != value}
