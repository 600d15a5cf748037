"""Routes of the Photos step for what takes longer: processing and the checkup. Work goes to the board of chores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lora_forge.dataset import checkup
from lora_forge.dataset.crops import plan_cut
from lora_forge.dataset.faces import find_detector
from lora_forge.dataset.manifest import PrepareSettings, load_manifest
from lora_forge.dataset.prepared import load_prepared, manifest_path
from lora_forge.dataset.processing import FaceFinder, ProcessSettings, process
from lora_forge.dataset.project import Project
from lora_forge.dataset.project_file import CROP_MODES
from lora_forge.errors import DatasetError, TrainingError
from lora_forge.events import CommandBox, Emit, Warned
from lora_forge.i18n import Said, word
from lora_forge.presets import KINDS
from lora_forge.train import claim
from lora_forge.web.answers import RefusedError, answer, field, read_json
from lora_forge.web.serving import Served, in_pool

_RESOLUTIONS = range(64, 4097)
_PREPARE, _CHECKUP = word("Prepare"), word("Check-up")


class PhotoChores:
    """What goes to the board, and what came of it."""

    def __init__(self, served: Served) -> None:
        self._served = served

    async def process(self, request: Request) -> Response:
        """``{"project", "resolution_px", "use_buckets", "crop": "subject", "faces", "face_padding", "face_repeats",
        "kind"}``: what training will see, by :func:`lora_forge.dataset.processing.process`."""
        values = await read_json(request)
        wanted = _settings(values)
        kind, dirs = _kind(values), self._model_dirs()
        project = await in_pool(self._served.project, field(values, "project", str))
        await in_pool(_check_unused, project)

        def work(emit: Emit, commands: CommandBox) -> str:
            needs_faces = wanted.faces or wanted.crop == "subject"
            finder = _finder(project, dirs, kind, emit) if needs_faces else None
            return process(project, wanted, finder, emit, commands)

        self._served.chores.start(Said(_PREPARE), work)
        return answer(self._served.chores.snapshot())

    async def prepared(self, request: Request) -> Response:
        """``?project=NAME``: what training will see of each photo, in px of the upright photo."""
        name = request.query_params.get("project", "")
        return answer(await in_pool(lambda: _prepared(self._served.project(name))))

    async def checkup(self, request: Request) -> Response:
        """``{"project", "kind", "resolution_px"}``: look at every photo and judge the set."""
        values = await read_json(request)
        kind, dirs, resolution_px = _kind(values), self._model_dirs(), _resolution(values)
        project = await in_pool(self._served.project, field(values, "project", str))

        def work(emit: Emit, commands: CommandBox) -> str:
            report = checkup.run(project, kind, resolution_px, emit, commands, models_dirs=dirs)
            return "stopped" if report is None else "done"

        self._served.chores.start(Said(_CHECKUP), work)
        return answer(self._served.chores.snapshot())

    async def last_checkup(self, request: Request) -> Response:
        """``?project=NAME&language=zh``: the last report; ``made_at`` is null where there is none."""
        query = request.query_params

        def work() -> dict[str, Any]:
            project = self._served.project(query.get("project", ""))
            report = checkup.Report.load(project)
            if report is None:
                return {"made_at": None, "is_stale": True, "findings": [], "detector": None}
            return report.told(project, query.get("language", "en"))

        return answer(await in_pool(work))

    async def remedy(self, request: Request) -> Response:
        """``{"project", "finding", "remedy", "keys": [...] or null}``: do what a finding of the report proposes."""
        values = await read_json(request)
        finding, remedy = field(values, "finding", str), field(values, "remedy", str)
        keys, language = field(values, "keys", list, None), field(values, "language", str, "en")

        def work() -> dict[str, Any]:
            project = self._served.project(field(values, "project", str))
            done = checkup.apply(project, finding, remedy, keys)
            return {"did": done.did.text(language), "undo": done.undo}

        return answer(await in_pool(work))

    async def take_back(self, request: Request) -> Response:
        """``{"project", "undo"}``: take a remedy back, with what its answer gave."""
        values = await read_json(request)
        what, language = field(values, "undo", dict), field(values, "language", str, "en")

        def work() -> dict[str, Any]:
            project = self._served.project(field(values, "project", str))
            return {"did": checkup.undo(project, what).text(language), "undo": None}

        return answer(await in_pool(work))

    def _model_dirs(self) -> Sequence[Path]:
        return self._served.desk.model_dirs().get("insightface", ())


def _check_unused(project: Project) -> None:
    """Nothing, unless a run may still read the prepared photos.

    Raises:
        RefusedError: one is at work.
    """
    for lock in project.runs_dir.glob(f"*/{claim.FILE_NAME}"):
        try:
            with claim.claimed(lock.parent):
                pass
        except TrainingError as cause:
            what, remedy = "A run is using these photos.", "Wait for its end, or stop it first."
            raise RefusedError(409, what, remedy) from cause


def _settings(values: dict[str, Any]) -> ProcessSettings:
    crop, padding = field(values, "crop", str, "subject"), values.get("face_padding", 0.5)
    if crop not in CROP_MODES:
        raise RefusedError(400, "There is no crop mode {mode!r}.", "Say one of {known}.", mode=crop, known=CROP_MODES)
    if not isinstance(padding, (int, float)) or isinstance(padding, bool) or not 0 <= padding <= 2:
        raise RefusedError(400, "{name} must be {kind}.", name="face_padding", kind=Said("a number from 0 to 2"))
    repeats = field(values, "face_repeats", int, None)
    if repeats is not None and repeats < 1:
        raise RefusedError(400, "{name} must be {kind}.", name="face_repeats", kind=Said("a number above 0"))
    size = PrepareSettings.of_resolution(_resolution(values), field(values, "use_buckets", bool, True))
    return ProcessSettings(size, crop, field(values, "faces", bool, False), float(padding), repeats)


def _resolution(values: dict[str, Any]) -> int:
    resolution_px = int(field(values, "resolution_px", int))
    if resolution_px not in _RESOLUTIONS:
        raise RefusedError(400, "{name} must be {kind}.", name="resolution_px", kind=Said("a number from 64 to 4096"))
    return resolution_px


def _kind(values: dict[str, Any]) -> str:
    kind = str(field(values, "kind", str, "person"))
    if kind not in KINDS:
        raise RefusedError(400, "There is no type {kind!r}.", "Say one of {known}.", kind=kind, known=[*KINDS])
    return kind


def _finder(project: Project, dirs: Sequence[Path], kind: str, emit: Emit) -> FaceFinder | None:
    detector = find_detector(dirs, kind)
    finder = FaceFinder.of(detector, project)
    if finder is None:
        emit(Warned("{sentence}", {"sentence": detector.sentence}))
    return finder


def _prepared(project: Project) -> dict[str, Any]:
    manifest = load_manifest(manifest_path(project))
    if manifest is None:
        return {"photos": [], "settings": None, "is_stale": True}
    size, there = manifest.settings, {project.key(photo.path) for photo in project.photos()}
    photos = [
        {"key": key, "bucket": entry.bucket, "crop": plan_cut(entry.original_size, [entry.bucket], entry.aim).box}
        for key, entry in sorted(manifest.entries.items())
        if not entry.error and key in there
    ]
    try:
        load_prepared(project)
        is_stale = False
    except DatasetError:
        is_stale = True
    settings = {"resolution_px": size.resolution_px, "use_buckets": size.use_buckets, "crop": project.crop_mode}
    return {"photos": photos, "settings": settings, "is_stale": is_stale}
