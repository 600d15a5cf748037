"""What is in prepared/: a JSON manifest that says which prepared file was made from what, and how."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_forge import atomic
from lora_forge.config import TrainConfig
from lora_forge.dataset.buckets import Bucket, make_buckets, square_bucket
from lora_forge.dataset.crops import Aim
from lora_forge.dataset.project_file import Box, parse_box
from lora_forge.errors import DatasetError

PIPELINE_VERSION = 1  # goes up when the same photo and settings would give other pixels
_NO_BUCKET = Bucket(0, 0)
_MIDDLE = Aim()


@dataclass(frozen=True)
class PrepareSettings:
    """How photos are brought to training size; lengths in px, as in :class:`lora_forge.config.TrainConfig`.

    ``crop``: ``project`` takes the project's own way (:attr:`lora_forge.dataset.project.Project.crop_mode`).
    """

    resolution_px: int = 512
    use_buckets: bool = True
    step: int = 64
    least: int = 256
    most: int = 1024
    crop: str = "project"

    @classmethod
    def from_config(cls, config: TrainConfig) -> PrepareSettings:
        """The part of a run's settings that shapes the prepared images."""
        return cls(
            config.resolution_px,
            config.use_buckets,
            config.bucket_step_px,
            config.bucket_min_px,
            config.bucket_max_px,
        )

    @classmethod
    def of_resolution(cls, resolution_px: int, use_buckets: bool = True) -> PrepareSettings:
        """With bucket ends that suit the resolution, half to twice of it, as the presets have them."""
        return cls(resolution_px, use_buckets, 64, max(64, resolution_px // 2), max(64, resolution_px * 2))

    def buckets(self) -> tuple[Bucket, ...]:
        """The sizes photos may take.

        Raises:
            DatasetError: as :func:`lora_forge.dataset.buckets.make_buckets`.
        """
        if self.use_buckets:
            return make_buckets(self.resolution_px, self.step, self.least, self.most)
        return (square_bucket(self.resolution_px, self.step),)


@dataclass(frozen=True)
class Stamp:
    """A file's content. Size and time are a short cut: while both are as noted, the bytes are not hashed again."""

    size_bytes: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Entry:
    """One photo in the manifest: what it was made from, and what came of it.

    ``key``: sha256 hex over width, height and the prepared RGB bytes. ``file``, ``mask_file``: names in prepared/.
    ``aim``: what it was cut by.
    ``error``: why it could not be read; the fields after it are then empty.
    """

    source: Stamp
    mask: Stamp | None = None
    face: Box | None = None
    error: str = ""
    key: str = ""
    file: str = ""
    file_size_bytes: int = 0
    file_mtime_ns: int = 0
    mask_file: str = ""
    bucket: Bucket = _NO_BUCKET
    original_size: tuple[int, int] = (0, 0)
    crop_left: int = 0
    crop_top: int = 0
    is_upscaled: bool = False
    aim: Aim = _MIDDLE


@dataclass
class Manifest:
    """All entries by the photo's place within images/."""

    settings: PrepareSettings
    entries: dict[str, Entry] = field(default_factory=dict)


def stamp(path: Path, known: Stamp | None = None) -> Stamp:
    """The stamp of a file; ``known`` is returned when its size and time still fit.

    Raises:
        OSError: the file can't be read.
    """
    stat = path.stat()
    if known is not None and (stat.st_size, stat.st_mtime_ns) == (known.size_bytes, known.mtime_ns):
        return known
    return Stamp(stat.st_size, stat.st_mtime_ns, sha256_of(path))


def sha256_of(path: Path) -> str:
    """sha256 hex of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def is_same(now: Stamp | None, then: Stamp | None) -> bool:
    """Whether two stamps are of the same bytes, whatever the time of the file."""
    return (now.sha256 if now else None) == (then.sha256 if then else None)


def save_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest whole or not at all.

    Raises:
        OSError: it can't be written.
    """
    values = {
        "version": PIPELINE_VERSION,
        "settings": dataclasses.asdict(manifest.settings),
        "images": {key: _plain(entry) for key, entry in sorted(manifest.entries.items())},
    }
    text = json.dumps(values, ensure_ascii=False) + "\n"
    atomic.write_bytes(path, text.encode("utf-8", errors="surrogateescape"))


def load_manifest(path: Path) -> Manifest | None:
    """The manifest; None when there is none that this version can use (it is then made anew).

    Raises:
        DatasetError: it is there and can't be opened.
    """
    try:
        values = json.loads(path.read_bytes().decode("utf-8", errors="surrogateescape"))
        if values["version"] != PIPELINE_VERSION:
            return None
        settings = PrepareSettings(**values["settings"])
        return Manifest(settings, {key: _parse_entry(plain) for key, plain in values["images"].items()})
    except FileNotFoundError:
        return None
    except OSError as cause:
        raise DatasetError("{path} can't be read: {cause}.", path=path, cause=cause) from cause
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # half a disk's worth of damage must not keep a person from preparing again


def _plain(entry: Entry) -> dict[str, Any]:
    mask = vars(entry.mask) if entry.mask else None
    return {**vars(entry), "source": vars(entry.source), "mask": mask, "aim": vars(entry.aim)}


def _parse_entry(plain: Mapping[str, Any]) -> Entry:
    face, aim = plain["face"], plain.get("aim", {"mode": "middle", "crop": None, "faces": []})
    return Entry(
        **{
            **plain,
            "source": Stamp(**plain["source"]),
            "mask": Stamp(**plain["mask"]) if plain["mask"] else None,
            "face": parse_box(face) if face else None,
            "bucket": Bucket(*plain["bucket"]),
            "original_size": (plain["original_size"][0], plain["original_size"][1]),
            "aim": Aim(
                str(aim["mode"]),
                parse_box(aim["crop"]) if aim["crop"] else None,
                tuple(parse_box(box) for box in aim["faces"]),
            ),
        }
    )
