"""Preparing a project's photos once more, while a run is at work on them: for a lower resolution."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lora_forge.config import TrainConfig
from lora_forge.dataset.manifest import PrepareSettings
from lora_forge.dataset.prepare import prepare
from lora_forge.dataset.prepared import PreparedSet
from lora_forge.dataset.project import Project
from lora_forge.events import CommandBox, Emit, Event, Progress


def preparing_again(project: Path, emit: Emit, commands: CommandBox) -> Callable[[TrainConfig], PreparedSet]:
    """For :func:`lora_forge.train.run.train`; a stop is obeyed between two photos."""

    def emit_or_stop(event: Event) -> None:
        from lora_forge.train.encoding import StoppedError

        emit(event)
        if isinstance(event, Progress) and commands.asks_to_stop():
            raise StoppedError

    return lambda config: prepare(Project.load(project), PrepareSettings.from_config(config), emit_or_stop)
