"""Import: photos are copied into the project with their captions; the originals are only read."""

from __future__ import annotations

import contextlib
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lora_forge.dataset import files
from lora_forge.dataset.archive import open_zip
from lora_forge.dataset.captions import read_caption
from lora_forge.dataset.images import IMAGE_SUFFIXES, UnreadableImageError, read_image, read_mask
from lora_forge.dataset.manifest import sha256_of
from lora_forge.dataset.naming import free_stem, safe_stem, taken_stems
from lora_forge.dataset.prepared import Skipped
from lora_forge.dataset.project import DEFAULT_GROUP, Group, Project, caption_path
from lora_forge.dataset.sources import (
    Candidate,
    Found,
    Item,
    Place,
    common_depth,
    find_file,
    find_in_folder,
    place_of,
    set_prior_aside,
)
from lora_forge.dataset.stages import Stage
from lora_forge.errors import DatasetError
from lora_forge.events import Emit, Warned, text_of
from lora_forge.i18n import Said, Text, word

__all__ = ["ImportReport", "Skipped", "import_source"]

PRIOR_GROUP = "prior"


@dataclass(frozen=True)
class ImportReport:
    """What an import did. ``imported``: the copies' paths. ``skipped``: everything else that was there, and why;
    ``present``: those photos of the project that some of the skipped ones are already."""

    imported: tuple[Path, ...]
    skipped: tuple[Skipped, ...]
    present: tuple[Path, ...] = ()


def import_source(source: Path, project: Project, emit: Emit, *, is_prior: bool = False) -> ImportReport:
    """Copy the photos of ``source`` (a photo, a folder with its subfolders, or a zip) into ``project``.

    kohya's ``10_name`` folders become groups with that many repeats, and a photo without a caption in one gets the
    folder's name as caption, which is what kohya trains on. Other subfolders become groups too. ``is_prior`` marks
    everything as prior preservation pictures; without it, folders named ``reg`` are left out and listed. A photo
    that is in the project already, byte for byte, is skipped, so that importing twice changes nothing.

    Raises:
        DatasetError: the source is missing, lies in the project, is another kind of archive, or the project's disk
            can't be written. Photos that can't be read do not raise; they are listed.
    """
    source = Path(source)
    _check_source(source, project)
    with _open_source(source, project) as found, tempfile.TemporaryDirectory(prefix="lora-forge-") as scratch:
        if not is_prior:
            set_prior_aside(found)
        for skipped in found.skipped:
            emit(Warned("{name}: {reason}.", {"name": skipped.name, "reason": skipped.reason}))
        importer = _Importer(project, found, is_prior, Path(scratch), emit)
        stage = Stage(emit, "import", len(found.candidates))
        for candidate in found.candidates:
            importer.take(candidate)
            stage.advance()
        importer.finish()
        report = ImportReport(tuple(importer.imported), tuple(found.skipped), tuple(importer.present))
        stage.finish(
            "{count} photos imported, {skipped} files left out.",
            count=len(report.imported),
            skipped=len(report.skipped),
        )
    return report


def _check_source(source: Path, project: Project) -> None:
    if not source.exists():
        raise DatasetError("{source} does not exist.", "Check the path.", source=source)
    if source.resolve().is_relative_to(project.root.resolve()):
        raise DatasetError(
            "{source} lies in the project itself.", "Import from a folder outside the project.", source=source
        )


@contextlib.contextmanager
def _open_source(source: Path, project: Project) -> Iterator[Found]:
    if source.is_dir():
        yield find_in_folder(source, project.root.resolve())
    elif source.suffix.lower() in IMAGE_SUFFIXES:
        yield find_file(source)
    elif zipfile.is_zipfile(source) or source.suffix.lower() == ".zip":
        with open_zip(source) as found:
            yield found
    else:
        raise DatasetError(
            "{source} is neither a folder, a zip nor a photo.",
            "Unpack other archives first; save other pictures as JPEG or PNG.",
            source=source,
        )


class _Importer:
    """Takes candidates one by one; what it did is in ``imported``, ``present`` and ``found.skipped``."""

    def __init__(self, project: Project, found: Found, is_prior: bool, scratch: Path, emit: Emit) -> None:
        self.imported: list[Path] = []
        self.present: list[Path] = []
        self._project, self._found, self._is_prior, self._scratch = project, found, is_prior, scratch
        self._emit, self._depth = emit, common_depth(found)
        self._present = _Present(project)
        self._groups: dict[Place, str] = {}
        self._taken: dict[Path, set[str]] = {}

    def take(self, candidate: Candidate) -> None:
        """Copy one photo with its caption and mask, or list why not."""
        try:
            local = candidate.image.fetch(self._scratch)
            twin = self._present.find(local)
            if twin is not None:
                self.present.append(twin)
                reason = self._take_caption_only(candidate, twin)
                self._found.skipped.append(Skipped(candidate.image.name, reason))  # no warning: nothing is wrong
            else:
                read_image(local)
                self._copy(candidate, local)
        except UnreadableImageError as cause:
            self._skip(candidate.image, cause.reason)
        except DatasetError as cause:
            if isinstance(cause, _DiskError):
                raise
            self._skip(candidate.image, cause)
        except OSError as cause:
            self._skip(candidate.image, cause.strerror or str(cause))
        finally:
            for leftover in self._scratch.iterdir():
                leftover.unlink()

    def _copy(self, candidate: Candidate, local: Path) -> None:
        place = self._place(candidate.image)
        caption = self._caption(candidate.caption) or place.caption
        mask = self._mask(candidate.mask)
        name = Path(candidate.image.parts[-1])
        try:
            target = self._free_place(self._project.images_dir / self._group(place), name)
            files.copy_quickly(local, target)
            if caption:
                files.write_quickly(target.with_suffix(".txt"), lambda path: _write_caption(path, caption))
            if mask is not None:
                files.copy_quickly(mask, self._project.mask_place(target))
        except OSError as cause:
            raise _DiskError(
                "{name} can't be copied into the project: {cause}.",
                "Free some space, or check that the folder may be written. What was imported so far is complete.",
                name=candidate.image.name,
                cause=cause,
            ) from cause
        self._present.add(target)
        self.imported.append(target)

    def finish(self) -> None:
        """Wait until all copies are on the disk."""
        written = [other for path in self.imported for other in (path, path.with_suffix(".txt"))]
        try:
            files.sync([*written, *map(self._project.mask_place, self.imported)])
        except OSError as cause:
            raise _DiskError("The disk of {root} failed: {cause}.", root=self._project.root, cause=cause) from cause

    def _free_place(self, folder: Path, name: Path) -> Path:
        if folder not in self._taken:
            self._taken[folder] = taken_stems(folder)
        return folder / (free_stem(self._taken[folder], safe_stem(name.stem)) + name.suffix.lower())

    def _place(self, item: Item) -> Place:
        return place_of(item, self._found.root_name, self._depth, PRIOR_GROUP if self._is_prior else DEFAULT_GROUP)

    def _caption(self, item: Item | None) -> str:
        if item is None:
            return ""
        try:
            return read_caption(item.fetch(self._scratch))
        except DatasetError as cause:
            self._skip(item, cause)
            return ""

    def _mask(self, item: Item | None) -> Path | None:
        if item is None:
            return None
        try:
            path = item.fetch(self._scratch)
            read_mask(path)
            return path
        except DatasetError as cause:
            self._skip(item, cause.values.get("reason", cause))
            return None

    def _take_caption_only(self, candidate: Candidate, twin: Path) -> Text:
        """A photo that is there already: its caption is taken where the project has none, never over an edit."""
        place = {"photo": self._project.key(twin)}
        present = Said(word("already in the project as {photo}"), place)
        if candidate.caption is None or caption_path(twin).exists():
            return present
        caption = self._caption(candidate.caption)
        if not caption:
            return present
        self._project.set_caption(twin, caption)
        return Said(word("already in the project as {photo}; its caption was taken"), place)

    def _group(self, place: Place) -> str:
        """The project's group for ``place``, made when its first photo comes."""
        if place not in self._groups:
            self._groups[place] = _choose_group(self._project, place, self._is_prior)
        return self._groups[place]

    def _skip(self, item: Item, reason: object) -> None:
        """List ``item`` with the ``reason``: a text of ours, an error, or words of the system's."""
        skipped = Skipped(item.name, text_of(reason))
        self._found.skipped.append(skipped)
        self._emit(Warned("{name}: {reason}", {"name": skipped.name, "reason": skipped.reason}))


class _DiskError(DatasetError):
    """The project can't be written: the import ends, since every other photo would fail too."""


class _Present:
    """The pictures of a project, found by content; only files of equal size are ever hashed."""

    def __init__(self, project: Project) -> None:
        self._by_size: dict[int, list[Path]] = {}
        self._digests: dict[Path, str] = {}
        for photo in project.photos():
            self.add(photo.path)

    def add(self, path: Path) -> None:
        """Count ``path`` among them."""
        self._by_size.setdefault(path.stat().st_size, []).append(path)

    def find(self, path: Path) -> Path | None:
        """The picture with the same bytes as ``path``."""
        rivals = self._by_size.get(path.stat().st_size, [])
        digest = sha256_of(path) if rivals else ""
        for rival in rivals:
            if rival not in self._digests:
                self._digests[rival] = sha256_of(rival)
            if self._digests[rival] == digest:
                return rival
        return None


def _choose_group(project: Project, place: Place, is_prior: bool) -> str:
    """A group of that name with the same repeats and kind, or a new one under the nearest free name."""
    known = {group.name.casefold(): group for group in project.groups}
    name = safe_stem(place.group)
    others = [f"{place.repeats}_{name}"] if place.repeats is not None else []
    others += [f"{name} {PRIOR_GROUP if is_prior else DEFAULT_GROUP}", *(f"{name}-{n}" for n in range(2, 1000))]
    for candidate in (name, *others):
        group = known.get(candidate.casefold())
        if group is None:
            if place.repeats is not None or is_prior:
                project.set_group(Group(candidate, place.repeats, is_prior))
            return candidate
        if group.is_prior == is_prior and place.repeats in (None, group.repeats):
            return group.name
    raise DatasetError("There are too many groups called {name}.", name=name)


def _write_caption(path: Path, caption: str) -> None:
    path.write_bytes(f"{caption}\n".encode(errors="replace"))
