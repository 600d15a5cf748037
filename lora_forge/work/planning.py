"""What is asked for in the tab, as one checked config: refused here, before anything long begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

from lora_forge.config import TrainConfig
from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError, TrainingError
from lora_forge.lora_file.names import check_name
from lora_forge.ports import Desk
from lora_forge.train.claim import is_claimed
from lora_forge.work.archive import used_stems
from lora_forge.work.settings import count_photos, new_config, project_settings, resumed_config

Proof = Literal["off", "weights", "picture"]
PROOFS: tuple[Proof, ...] = ("off", "weights", "picture")
_NOT_HERE = ("name", "schema_version")  # a request says the first itself, and the second is ours


@dataclass(frozen=True)
class RunRequest:
    """One run as asked for. ``kind``: of preset. ``repeats`` and ``epochs`` None: the preset's.

    ``trigger_word`` empty: the project's. ``settings``: further fields of :class:`TrainConfig`. ``prove``: compare the
    host before and after, by weights, flags and generators, or by a picture too. ``folder``: where beneath the host's
    Lora folder, with forward slashes.
    A resumed run goes on with the settings it was started with; ``epochs`` (and ``repeats``, ``settings``) given now
    take their place.
    """

    project: Path
    name: str
    kind: str
    repeats: int | None = None
    epochs: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False
    prove: Proof = "off"
    folder: str = ""
    trigger_word: str = ""

    @property
    def run_dir(self) -> Path:
        """Where the run keeps its config, journal and state."""
        return self.project / "runs" / self.name


def plan(desk: Desk, request: RunRequest) -> TrainConfig:
    """The config of the run: the preset for the loaded checkpoint's family, then what is asked for.

    Raises:
        DatasetError: there is no such project, or no photo in it.
        CheckpointError: nothing that can be trained on is loaded.
        ConfigError: a setting is unknown, of the wrong kind or out of range.
        LoraFileError: the name can't be used, or some file in the host's Lora folder has it.
        TrainingError: the run exists already or is at work, or there is none to resume.
    """
    config = settled(desk, request)
    if is_claimed(request.run_dir):
        raise TrainingError("The run {name} is at work already.", "Wait for its end, or stop it.", name=request.name)
    return config


def settled(desk: Desk, request: RunRequest) -> TrainConfig:
    """:func:`plan` for whoever holds the run's folder already."""
    project = Project.load(request.project)
    check_name(request.name, desk.lora_dir(), request.resume, used_stems(desk.data_root()))
    out_dir(desk, request)
    said = _said(request)
    if request.resume:
        return resumed_config(request.run_dir, request.name, said)
    if any((request.run_dir / "state").glob("step-*")):
        raise TrainingError(
            "This project has a run named {name} already.", "Resume it, or choose another name.", name=request.name
        )
    photos = count_photos(project)
    family = desk.info().family
    trigger_word = project.trigger_word
    return new_config(
        request.name, request.kind, family, photos, trigger_word, said, of_project=project_settings(project)
    )


def out_dir(desk: Desk, request: RunRequest) -> Path:
    """Where the run's files go: the host's Lora folder, or ``request.folder`` beneath it.

    Raises:
        ConfigError: the folder would lie elsewhere.
    """
    root, parts = desk.lora_dir().resolve(), request.folder.replace("\\", "/").strip("/").split("/")
    is_plain = all(_is_plain(part) for part in parts) if request.folder else True
    if not is_plain or (request.folder and PureWindowsPath(request.folder).anchor):
        raise ConfigError(
            "Files can't go to the folder {folder!r}.",
            "Name one inside the Lora folder, such as people/anna.",
            folder=request.folder,
        )
    return root.joinpath(*parts) if request.folder else root


def _is_plain(part: str) -> bool:
    return bool(part.strip(" .")) and not part.startswith(".") and not any(char in '<>:"|?*\0' for char in part)


def _said(request: RunRequest) -> dict[str, Any]:
    for name in _NOT_HERE:
        if name in request.settings:
            raise ConfigError("{name} is no setting that can be changed here.", name=name)
    said: dict[str, Any] = {"epochs": request.epochs, "repeats": request.repeats}
    if not request.resume:
        said["trigger_word"] = request.trigger_word or None
    return {**{name: value for name, value in said.items() if value is not None}, **request.settings}
