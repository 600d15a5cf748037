"""Photos into a project: uploads from the page, or places on the server where those are allowed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lora_forge.dataset.importing import ImportReport, import_source
from lora_forge.dataset.naming import free_stem, safe_stem
from lora_forge.dataset.project import Project
from lora_forge.errors import DatasetError
from lora_forge.events import Emit
from lora_forge.ports import Desk
from lora_forge.work.projects import project_dir
from lora_forge.work.proposing import suggest_trigger

UPLOADS = ".uploads"  # in the data root; hidden, so that it is no project and hosts' file routes refuse it too
_ONE_AT_A_TIME = threading.Lock()


def gather(
    desk: Desk,
    project_name: str,
    sources: Iterable[Path],
    trigger_word: str,
    emit: Emit,
    *,
    allows_paths: bool = False,
    upload_dirs: Sequence[Path] = (),
) -> ImportReport:
    """Make the project when there is none, and copy the photos of ``sources`` into it, with captions beside them.

    ``sources``: photos, captions, zips and folders. Each must lie in one of ``upload_dirs``, unless ``allows_paths``
    says that whoever asks may name any place on this machine. Uploaded files are taken together, wherever each lies,
    so that a caption finds its photo; it finds the caption beside a photo elsewhere too. An empty ``trigger_word``
    leaves the project's as it is; one that has none gets its name's. Imports wait for each other.

    Raises:
        DatasetError: the project's name is no plain folder name, a source is missing or may not be read, or the disk
            can't be written. Photos that can't be read do not raise; they are listed.
    """
    root = project_dir(desk.data_root(), project_name)
    places = [folder.resolve() for folder in upload_dirs]
    checked = [_check_source(Path(source), allows_paths, places) for source in sources]
    single = [source for source in checked if not _is_many(source) and _is_in(source, places)]
    with _ONE_AT_A_TIME:
        project = Project.open(root, trigger_word)
        trigger_word = trigger_word or project.trigger_word or suggest_trigger(project_name)
        if trigger_word and trigger_word != project.trigger_word:
            project.set_trigger_word(trigger_word)
        reports = [import_source(source, project, emit) for source in checked if source not in single]
        if single:
            with _side_by_side(single, uploads_dir(desk)) as folder:
                reports.append(import_source(folder, project, emit))
    return ImportReport(
        tuple(path for report in reports for path in report.imported),
        tuple(left_out for report in reports for left_out in report.skipped),
        tuple(path for report in reports for path in report.present),
    )


def uploads_dir(desk: Desk) -> Path:
    """Where uploads wait until they are imported: on the projects' own disk."""
    folder = desk.data_root() / UPLOADS
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _check_source(source: Path, allows_paths: bool, upload_dirs: Sequence[Path]) -> Path:
    try:
        place = source.resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as cause:  # missing, a null byte, a loop of links
        raise DatasetError("{source} is not there.", "Check the path.", source=str(source)) from cause
    if allows_paths or _is_in(place, upload_dirs):
        return place
    raise DatasetError(
        "{source} can't be imported from here: folders on the server are closed to this page.",
        "Upload the photos, or a zip of them.",
        source=str(source),
    )


def _is_in(place: Path, folders: Sequence[Path]) -> bool:
    return any(place.is_relative_to(folder) for folder in folders)


def _is_many(source: Path) -> bool:
    return source.is_dir() or zipfile.is_zipfile(source) or source.suffix.lower() == ".zip"


@contextlib.contextmanager
def _side_by_side(files: Sequence[Path], parent: Path) -> Iterator[Path]:
    """A folder for a while with all ``files`` under their own names; of two of one name the second gets a number."""
    with tempfile.TemporaryDirectory(prefix="files-", dir=parent) as made:
        folder, taken = Path(made) / "photos", dict[str, set[str]]()
        folder.mkdir()
        for file in files:
            # by kind, so that a caption keeps the name of its photo
            stems = taken.setdefault(file.suffix.lower(), set())
            _put(file, folder / (free_stem(stems, safe_stem(file.stem)) + file.suffix))
        yield folder


def _put(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
