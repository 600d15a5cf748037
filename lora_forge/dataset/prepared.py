"""The prepared images a run is fed with, and reading their pixels."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lora_forge.dataset.buckets import Bucket
from lora_forge.dataset.crops import Aim
from lora_forge.dataset.found import FoundFaces
from lora_forge.dataset.images import UnreadableImageError, pixels, read_image, read_mask
from lora_forge.dataset.manifest import Entry, Manifest, PrepareSettings, is_same, load_manifest, stamp
from lora_forge.dataset.naming import printable
from lora_forge.dataset.project import Box, Photo, Project
from lora_forge.errors import DatasetError
from lora_forge.events import text_of
from lora_forge.i18n import Said, Text, word

_PREPARE = "Prepare the photos first: lora-forge prepare --project {root}"


@dataclass(frozen=True)
class Skipped:
    """Something that was left out; ``name`` as a person knows it, ``reason`` in one sentence."""

    name: str
    reason: Text


@dataclass(frozen=True)
class PreparedImage:
    """One photo at training size.

    ``key``: sha256 hex of size and prepared pixels. ``path``: lossless PNG. ``bucket`` (width, height) and
    ``original_size`` (width, height, upright) in px; ``crop_left``, ``crop_top``: where the bucket begins in the
    resized photo, in px of the resized photo (what SDXL is told). ``caption``: as read now. ``repeats``: None takes
    the run's. ``mask_path``: PNG of mode L at bucket size, 255 where the loss counts, from a mask or a face box.
    """

    key: str
    path: Path
    bucket: Bucket
    original_size: tuple[int, int]
    crop_left: int
    crop_top: int
    caption: str
    group: str
    repeats: int | None
    is_prior: bool
    mask_path: Path | None
    source: Path


@dataclass(frozen=True)
class PreparedSet:
    """All usable photos of a project, in the project's order; ``skipped`` lists the ones that can't be read."""

    settings: PrepareSettings
    images: tuple[PreparedImage, ...]
    skipped: tuple[Skipped, ...] = ()


def load_prepared(project: Project, settings: PrepareSettings | None = None) -> PreparedSet:
    """What :func:`prepare` made, with captions, repeats and groups as they are now.

    Photos taken out since are left out; a photo, mask or face box added or changed since makes it stale.

    Raises:
        DatasetError: nothing is prepared, it is stale, was made with other ``settings``, or no photo is usable.
    """
    manifest = load_manifest(manifest_path(project))
    if manifest is None:
        raise DatasetError("{root} holds no prepared photos.", _PREPARE, root=project.root)
    if settings is not None and settings != manifest.settings:
        raise DatasetError("The photos in {root} were prepared with other settings.", _PREPARE, root=project.root)
    photos, aims = project.photos(), Aims(project, manifest.settings.crop)
    for photo in photos:
        entry = manifest.entries.get(project.key(photo.path))
        if entry is None or not is_fresh(photo, entry, aims) or not _is_there(project, entry):
            raise DatasetError(
                "{name} is new or has changed since the photos were prepared.",
                _PREPARE,
                name=photo.path.name,
                root=project.root,
            )
    return build_set(project, photos, manifest)


def build_set(project: Project, photos: tuple[Photo, ...], manifest: Manifest) -> PreparedSet:
    """The set of the ``photos`` that have an entry.

    Raises:
        DatasetError: none is usable for training.
    """
    groups = {group.name: group for group in project.groups}
    images: list[PreparedImage] = []
    skipped: list[Skipped] = []
    for photo in photos:
        entry = manifest.entries[project.key(photo.path)]
        if entry.error:
            skipped.append(Skipped(printable(project.key(photo.path)), text_of(entry.error)))
            continue
        group = groups.get(photo.group) or project.group(photo.group)
        images.append(_image(project, photo, entry, group.repeats, group.is_prior))
    _check_usable(project, images, skipped)
    return PreparedSet(manifest.settings, tuple(images), tuple(skipped))


def _image(project: Project, photo: Photo, entry: Entry, repeats: int | None, is_prior: bool) -> PreparedImage:
    return PreparedImage(
        key=entry.key,
        path=project.prepared_dir / entry.file,
        bucket=entry.bucket,
        original_size=entry.original_size,
        crop_left=entry.crop_left,
        crop_top=entry.crop_top,
        caption=photo.caption,
        group=photo.group,
        repeats=repeats,
        is_prior=is_prior,
        mask_path=project.prepared_dir / entry.mask_file if entry.mask_file else None,
        source=photo.path,
    )


def _check_usable(project: Project, images: list[PreparedImage], skipped: list[Skipped]) -> None:
    if any(not image.is_prior for image in images):
        return
    if images:
        what = "{root} holds only prior preservation pictures, and no photo of the subject."
    elif skipped:
        what = "None of the {count} photos in {root} can be read; the first: {first}."
    else:
        what = "There are no photos in {root}."
    first = Said("{name}: {reason}", vars(skipped[0])) if skipped else ""
    raise DatasetError(what, "Import photos.", root=project.root, count=len(skipped), first=first)


def manifest_path(project: Project) -> Path:
    """Where the manifest lies."""
    return project.prepared_dir / "manifest.json"


class Aims:
    """What each photo of a project is to be cut by; a crop or face set by hand beats what was found.

    ``mode``: as :attr:`Project.crop_mode`, or ``project`` for that of the project.
    """

    def __init__(self, project: Project, mode: str = "project") -> None:
        self.mode = project.crop_mode if mode == "project" else mode
        self._found = FoundFaces.load(project.root) if self.mode == "subject" else None

    def of(self, photo: Photo, sha256: str) -> Aim:
        """For ``photo``, whose file has that content. A photo without faces is cut in the middle whatever the mode, so
        that nothing is prepared again for a mode that changes nothing. In face crops nobody looks for faces."""
        if self.mode == "none":
            return Aim("none")
        faces: tuple[Box, ...] = ()
        if self._found is not None:
            faces = (photo.face,) if photo.face else self._found.of(sha256)
        return Aim("subject" if faces else "middle", photo.crop, faces)


def is_fresh(photo: Photo, entry: Entry, aims: Aims) -> bool:
    """Whether ``entry`` was made from this photo, mask and face box, judged by content, and cut as it is to be."""
    try:
        source = stamp(photo.path, entry.source)
        mask = stamp(photo.mask_path, entry.mask) if photo.mask_path else None
    except OSError:
        return bool(entry.error)  # it could not be read then, and still can't
    is_unchanged = is_same(source, entry.source) and is_same(mask, entry.mask) and photo.face == entry.face
    return is_unchanged and bool(entry.error or aims.of(photo, source.sha256) == entry.aim)


def _is_there(project: Project, entry: Entry) -> bool:
    if entry.error:
        return True
    names = [entry.file, *([entry.mask_file] if entry.mask_file else [])]
    return all((project.prepared_dir / name).is_file() for name in names)


def pixel_key(array: npt.NDArray[np.uint8]) -> str:
    """sha256 hex over width, height and bytes of an image array (H, W, 3) or mask array (H, W)."""
    digest = hashlib.sha256(f"{array.shape[1]}x{array.shape[0]}:".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def load_pixels(prepared: PreparedImage) -> npt.NDArray[np.uint8]:
    """The prepared photo, uint8 (H, W, 3), RGB.

    Raises:
        DatasetError: the file is gone, damaged, or not what was prepared: training on it would be silent nonsense.
    """
    try:
        array = pixels(read_image(prepared.path))
    except UnreadableImageError as cause:
        raise _not_intact(prepared, cause.reason) from cause
    if pixel_key(array) != prepared.key:
        raise _not_intact(prepared, Said(word("its pixels are not those that were prepared")))
    return array


def load_mask(prepared: PreparedImage) -> npt.NDArray[np.float32] | None:
    """The prepared mask, float32 (H, W) in 0..1, 1 where the loss counts in full; None when the photo has none.

    Raises:
        DatasetError: the file is gone, damaged or of another size.
    """
    if prepared.mask_path is None:
        return None
    try:
        array = pixels(read_mask(prepared.mask_path))
    except UnreadableImageError as cause:
        raise _not_intact(prepared, cause.reason) from cause
    if array.shape != (prepared.bucket.height, prepared.bucket.width):
        raise _not_intact(prepared, Said(word("its mask has another size")))
    return array.astype(np.float32) / np.float32(255.0)


def _not_intact(prepared: PreparedImage, reason: Text) -> DatasetError:
    return DatasetError(
        "The prepared copy of {name} can't be used: {reason}.",
        "Prepare the photos again.",
        name=os.fspath(prepared.source.name),
        reason=reason,
    )
