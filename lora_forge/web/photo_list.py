"""The photo wall's list, and photos by the keys it names them with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lora_forge.dataset import trash
from lora_forge.dataset.found import FoundFaces
from lora_forge.dataset.images import IMAGE_SUFFIXES
from lora_forge.dataset.naming import printable
from lora_forge.dataset.project import Photo, Project
from lora_forge.dataset.thumbs import Look, Thumbs, thumbs_of
from lora_forge.errors import DatasetError
from lora_forge.i18n import Said, say, word
from lora_forge.web.answers import RefusedError
from lora_forge.web.places import confined

_CAPTION_CHARS = 200
_NO_NAME = word("Its name can't be shown; give the file another one.")


def listing(project: Project, language: str = "en") -> dict[str, Any]:
    """Everything of ``project`` that the photo wall shows. What has not been measured yet has the width 0, and is
    measured behind."""
    thumbs, found = thumbs_of(project.root), FoundFaces.load(project.root)
    sources = {cut["key"]: cut["source"] for cut in project.cuts}
    shown, unknown = [], []
    for path in project.photo_paths():
        try:
            look = thumbs.look(path)
        except OSError:  # taken away since the folder was read
            continue
        if not look.width and not look.problem:
            unknown.append(path)
        shown.append(_photo(project, path, look, found, sources.get(project.key(path)), language))
    if unknown:
        thumbs.measure_behind(unknown)
    counts = Counter(photo["group"] for photo in shown)
    return {
        "project": project.root.name,
        "trigger_word": project.trigger_word,
        "crop_mode": project.crop_mode,
        "groups": [
            {
                "name": group.name,
                "repeats": group.repeats,
                "is_prior": group.is_prior,
                "is_faces": group.is_faces,
                "count": counts[group.name],
            }
            for group in project.groups
        ],
        "photos": shown,
        "trash": [_trashed(entry, thumbs) for entry in trash.trashed(project)],
    }


def photo_path(project: Project, key: str) -> Path:
    """The picture that ``key`` names.

    Raises:
        DatasetError: it leads out of images/.
        RefusedError: there is no such picture.
    """
    confined(project.images_dir, key)
    path = project.images_dir / key
    if path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
        raise RefusedError(404, "There is no photo {key!r}.", "Reload the list of photos.", key=key)
    return path


def photo_paths(project: Project, keys: Iterable[Any]) -> list[Path]:
    """:func:`photo_path` of several.

    Raises:
        DatasetError, RefusedError: as :func:`photo_path`, or a key is no text.
    """
    keys = list(keys)
    if not all(isinstance(key, str) for key in keys):
        raise RefusedError(400, "{name} must be {kind}.", name="keys", kind=Said("a list of names"))
    return [photo_path(project, key) for key in keys]


def trash_entry(project: Project, number: int) -> trash.TrashEntry:
    """The photo with that number in the trash.

    Raises:
        RefusedError: there is none.
    """
    entry = trash.find(project, number)
    if entry is None:
        raise RefusedError(404, "Number {number} is not in the trash.", "Reload the list of photos.", number=number)
    return entry


def _photo(
    project: Project, path: Path, look: Look, found: FoundFaces, source: str | None, language: str
) -> dict[str, Any]:
    key, problem = project.key(path), look.problem.text(language) if look.problem else ""
    try:
        photo = project.photo(path)
    except DatasetError as cause:  # its caption can't be read
        photo, problem = (
            Photo(path, project.group_name(path), "", None, None),
            Said(cause.what, cause.values).text(language),
        )
    if printable(key) != key:
        problem = say(_NO_NAME, language)
    proposed = found.of(look.sha256)[:1] if look.sha256 else ()
    return {
        "key": printable(key),
        "group": photo.group,
        "name": printable(path.name),
        "width": look.width,
        "height": look.height,
        "stamp": look.stamp,
        "face": photo.face or (proposed[0] if proposed else None),
        "is_face_by_hand": photo.face is not None,
        "crop": photo.crop,
        "caption": photo.caption[:_CAPTION_CHARS],
        "source": source,
        "problem": problem,
    }


def _trashed(entry: trash.TrashEntry, thumbs: Thumbs) -> dict[str, Any]:
    try:
        stamp = thumbs.look(entry.image_path).stamp
    except OSError:
        stamp = ""
    return {"number": entry.number, "key": printable(entry.key), "stamp": stamp, "batch": entry.batch}
