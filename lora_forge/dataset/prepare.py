"""Bringing every photo to training size, once: cut it (by hand, around the faces, or the middle), resize it to its
bucket, keep it losslessly.

Nothing is written into the image folders. Captions are not copied: they are read when the set is loaded, so that an
edit needs no new preparation.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from lora_forge.dataset import files
from lora_forge.dataset.buckets import Bucket
from lora_forge.dataset.captions import first_line
from lora_forge.dataset.crops import Cut, plan_cut
from lora_forge.dataset.images import UnreadableImageError, pixels, read_image, read_mask
from lora_forge.dataset.manifest import Entry, Manifest, PrepareSettings, Stamp, load_manifest, save_manifest, stamp
from lora_forge.dataset.prepared import (
    Aims,
    PreparedImage,
    PreparedSet,
    Skipped,
    build_set,
    is_fresh,
    load_mask,
    load_pixels,
    load_prepared,
    manifest_path,
    pixel_key,
)
from lora_forge.dataset.project import Box, Photo, Project
from lora_forge.dataset.stages import Stage
from lora_forge.errors import DatasetError
from lora_forge.events import Emit, Warned
from lora_forge.i18n import some_of, word
from lora_forge.i18n.reasons import reason

__all__ = [
    "PrepareSettings",
    "PreparedImage",
    "PreparedSet",
    "Skipped",
    "load_mask",
    "load_pixels",
    "load_prepared",
    "prepare",
]

_SAVE_EVERY = 32  # a killed preparation loses at most so many photos' work
_MASK_SUFFIX = ".mask.png"
_NO_MASK_LEFT = word("Nothing of the mask or face of {photo} is left after cutting: trained without a mask.")
_ENLARGED = word(
    "{photos}: smaller than the training size and enlarged, so they will look soft. "
    "Larger photos or a lower resolution train better."
)
_SEVERAL_LINES = word("{photos}: the caption has several lines; only the first is trained on.")


def prepare(project: Project, settings: PrepareSettings, emit: Emit) -> PreparedSet:
    """Prepare every photo of ``project``; only what is new or changed is done again.

    One picture at a time is in memory. A photo that can't be read is warned of, listed and left out.

    Raises:
        DatasetError: no photo is usable, the bucket settings are impossible, or the disk can't be written.
    """
    photos, aims = project.photos(), Aims(project, settings.crop)
    buckets = settings.buckets() if aims.mode != "none" else dataclasses.replace(settings, use_buckets=True).buckets()
    stage = Stage(emit, "prepare", len(photos))
    manifest, before = Manifest(settings), _entries_before(project, settings)
    redone = 0
    try:
        for photo in photos:
            key = project.key(photo.path)
            entry = _reusable(project, photo, before.get(key), aims)
            if entry is None:
                entry = _prepare_photo(project, photo, buckets, aims, emit)
                redone += 1
                before[key] = entry
                if redone % _SAVE_EVERY == 0:
                    save_manifest(manifest_path(project), Manifest(settings, before))
            manifest.entries[key] = entry
            stage.advance()
        save_manifest(manifest_path(project), manifest)
        _clear_unused(project, manifest)
    except OSError as cause:
        raise DatasetError(
            "The prepared photos can't be written to {folder}: {cause}.",
            "Free some space, or check that the folder may be written.",
            folder=project.prepared_dir,
            cause=reason(cause),
        ) from cause
    _warn(emit, project, photos, manifest)
    _finish(stage, manifest, redone)
    return build_set(project, photos, manifest)


def _entries_before(project: Project, settings: PrepareSettings) -> dict[str, Entry]:
    manifest = load_manifest(manifest_path(project))
    return manifest.entries if manifest is not None and manifest.settings == settings else {}


def _reusable(project: Project, photo: Photo, entry: Entry | None, aims: Aims) -> Entry | None:
    """``entry`` when it still holds. One that could not be read is tried again: its reader may be there by now."""
    if entry is None or entry.error or not is_fresh(photo, entry, aims):
        return None
    path = project.prepared_dir / entry.file
    try:
        stat = path.stat()
        is_untouched = (stat.st_size, stat.st_mtime_ns) == (entry.file_size_bytes, entry.file_mtime_ns)
        if not is_untouched and pixel_key(pixels(read_image(path))) != entry.key:
            return None
        if entry.mask_file:
            read_mask(project.prepared_dir / entry.mask_file)
    except (OSError, UnreadableImageError):
        return None
    return entry


def _prepare_photo(project: Project, photo: Photo, buckets: Sequence[Bucket], aims: Aims, emit: Emit) -> Entry:
    source, mask_stamp = _stamp(photo.path), _stamp(photo.mask_path) if photo.mask_path else None
    try:
        image = read_image(photo.path)
    except UnreadableImageError as cause:
        emit(Warned("{problem}", {"problem": cause}))
        return Entry(source, mask_stamp, photo.face, error=str(cause.reason))
    size = image.size
    aim = aims.of(photo, source.sha256)
    cut = plan_cut(size, buckets, aim)
    array = pixels(_cut(image, cut))
    key = pixel_key(array)
    path = project.prepared_dir / f"{key[:32]}.png"
    _save_png(path, Image.fromarray(array))
    stat = path.stat()
    return Entry(
        source=source,
        mask=mask_stamp,
        face=photo.face,
        key=key,
        file=path.name,
        file_size_bytes=stat.st_size,
        file_mtime_ns=stat.st_mtime_ns,
        mask_file=_prepare_mask(project, photo, size, cut, emit),
        bucket=cut.bucket,
        original_size=size,
        crop_left=cut.crop.left,
        crop_top=cut.crop.top,
        is_upscaled=cut.crop.resized[0] > size[0] or cut.crop.resized[1] > size[1],
        aim=aim,
    )


def _stamp(path: Path) -> Stamp:
    try:
        return stamp(path)
    except OSError:  # read_image or read_mask says why, to the person
        return Stamp(0, 0, "")


def _cut(image: Image.Image, cut: Cut) -> Image.Image:
    """The part of ``image`` that is kept, at bucket size; ``reducing_gap`` shrinks large photos cheaply first."""
    return image.resize(cut.bucket, Image.Resampling.LANCZOS, box=cut.edges, reducing_gap=3.0)


def _prepare_mask(project: Project, photo: Photo, size: tuple[int, int], cut: Cut, emit: Emit) -> str:
    """Write the mask that goes with the cut photo; its name in prepared/, empty when there is none."""
    if photo.mask_path is not None:
        try:
            mask = _cut_mask(read_mask(photo.mask_path), size, cut)
        except UnreadableImageError as cause:
            emit(Warned("{problem} Its photo is trained without a mask.", {"problem": cause}))
            return ""
    elif photo.face is not None:
        mask = _face_mask(photo.face, size, cut)
    else:
        return ""
    array = pixels(mask)
    if not array.any():
        emit(Warned(_NO_MASK_LEFT, {"photo": photo.path.name}))
        return ""
    name = pixel_key(array)[:32] + _MASK_SUFFIX
    _save_png(project.prepared_dir / name, mask)
    return name


def _cut_mask(mask: Image.Image, size: tuple[int, int], cut: Cut) -> Image.Image:
    """The same part of a mask, which may have been made at another size than the photo."""
    left, top, right, bottom = cut.edges
    x, y = mask.width / size[0], mask.height / size[1]
    box = (left * x, top * y, min(float(mask.width), right * x), min(float(mask.height), bottom * y))
    return mask.resize(cut.bucket, Image.Resampling.BOX, box=box)


def _face_mask(face: Box, size: tuple[int, int], cut: Cut) -> Image.Image:
    """White where the face box falls in the bucket, widened to whole pixels."""
    bucket, crop = cut.bucket, cut.crop
    scale_x, scale_y = crop.resized[0] / size[0], crop.resized[1] / size[1]
    x, y, width, height = face
    left, top = math.floor(x * scale_x) - crop.left, math.floor(y * scale_y) - crop.top
    right, bottom = math.ceil((x + width) * scale_x) - crop.left, math.ceil((y + height) * scale_y) - crop.top
    mask = Image.new("L", (bucket.width, bucket.height), 0)
    if right > 0 and bottom > 0 and left < bucket.width and top < bucket.height:
        ImageDraw.Draw(mask).rectangle((left, top, right - 1, bottom - 1), fill=255)
    return mask


def _save_png(path: Path, image: Image.Image) -> None:
    def write(temporary: Path) -> None:
        image.save(temporary, format="PNG", compress_level=1)

    files.write_quickly(path, write)


def _clear_unused(project: Project, manifest: Manifest) -> None:
    """Remove prepared copies that no photo uses any more; they can always be made again."""
    used = {name for entry in manifest.entries.values() for name in (entry.file, entry.mask_file)}
    for path in (*project.prepared_dir.glob("*.png"), *project.prepared_dir.glob(".*.png.*.tmp")):
        if path.name not in used:
            path.unlink(missing_ok=True)


def _warn(emit: Emit, project: Project, photos: Sequence[Photo], manifest: Manifest) -> None:
    small = [photo.path.name for photo in photos if manifest.entries[project.key(photo.path)].is_upscaled]
    if small:
        emit(Warned(_ENLARGED, {"photos": some_of(small)}))
    lines = [p.path.name for p in photos if p.caption and first_line(p.caption) != p.caption.strip()]
    if lines:
        emit(Warned(_SEVERAL_LINES, {"photos": some_of(lines)}))


def _finish(stage: Stage, manifest: Manifest, redone: int) -> None:
    usable = [entry for entry in manifest.entries.values() if not entry.error]
    unreadable = len(manifest.entries) - len(usable)
    figures = {"ready": len(usable), "sizes": len({entry.bucket for entry in usable}), "redone": redone - unreadable}
    if unreadable:
        stage.finish(
            "{ready} photos ready in {sizes} sizes, {redone} of them prepared now, {unreadable} unreadable.",
            unreadable=unreadable,
            **figures,
        )
    else:
        stage.finish("{ready} photos ready in {sizes} sizes, {redone} of them prepared now.", **figures)
