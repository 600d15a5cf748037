"""What can be imported: the photos in a folder, a file or an archive, each with its caption and mask."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lora_forge.dataset.images import IMAGE_SUFFIXES
from lora_forge.dataset.naming import parse_kohya, printable
from lora_forge.dataset.prepared import Skipped
from lora_forge.errors import DatasetError
from lora_forge.events import text_of
from lora_forge.i18n import Said, word

CAPTION_SUFFIXES = (".txt", ".caption")
_JUNK = frozenset({"__macosx", "@eadir", "thumbs.db", "desktop.ini"})
_COMPANIONS = frozenset({".npz", ".json", ".toml", ".yaml", ".yml"})  # other trainers' caches and settings
_PRIOR_FOLDERS = frozenset({"reg", "regs", "regularization", "regularisation", "reg_data", "class"})
_MASK_END = "-masklabel"  # how OneTrainer names a mask beside its photo
_LINK = Said(word("a link to a folder is not followed"))
_ALONE = Said(word("a caption without its photo"))
_NO_PHOTO = Said(word("not a photo"))
_PRIOR = word("{count} regularisation pictures; import that folder by itself as prior preservation pictures")


@dataclass(frozen=True)
class Item:
    """One file of a source. ``parts``: its path below the source, decoded. ``fetch`` makes it readable: given a
    folder for temporary files, it returns a path with the content (the original itself where that can be read)."""

    parts: tuple[str, ...]
    fetch: Callable[[Path], Path]

    @property
    def name(self) -> str:
        """For lists."""
        return "/".join(self.parts)

    @property
    def stem(self) -> str:
        """The file's name without its last suffix."""
        return PurePosixPath(self.parts[-1]).stem

    @property
    def suffix(self) -> str:
        """The last suffix in lower case, with its dot."""
        return PurePosixPath(self.parts[-1]).suffix.lower()


@dataclass(frozen=True)
class Candidate:
    """A photo to import with what lies beside it."""

    image: Item
    caption: Item | None = None
    mask: Item | None = None


@dataclass
class Found:
    """What a source holds. ``root_name``: the source's own name, which may be a kohya folder name."""

    root_name: str
    candidates: list[Candidate] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """The group a photo belongs in. ``caption``: what kohya trains on when a photo has no caption of its own."""

    group: str
    repeats: int | None = None
    caption: str = ""


def find_in_folder(folder: Path, leave_out: Path) -> Found:
    """Everything below ``folder`` but what lies in ``leave_out`` (the project); folder links are not followed.

    Raises:
        DatasetError: the folder can't be listed.
    """
    if (folder / "project.json").is_file() and (folder / "images").is_dir():
        folder = folder / "images"  # another project: its trash and prepared copies are no photos
    found, items = Found(printable(folder.resolve().name)), list[Item]()
    failed: list[OSError] = []
    for here, folders, names in os.walk(folder, onerror=failed.append):
        below = Path(here).relative_to(folder).parts
        found.skipped += [
            Skipped("/".join([*map(printable, below), printable(name)]), _LINK)
            for name in folders
            if (Path(here) / name).is_symlink()
        ]
        folders[:] = sorted(name for name in folders if (Path(here) / name).resolve() != leave_out)
        items += [_file_item(Path(here) / name, (*below, name)) for name in sorted(names)]
    for error in failed:
        if Path(error.filename) == folder:
            raise DatasetError("{folder} can't be listed: {cause}.", folder=folder, cause=error.strerror) from error
        found.skipped.append(Skipped(printable(str(error.filename)), text_of(error.strerror or str(error))))
    return sort_out(items, found)


def find_file(path: Path) -> Found:
    """One photo, with the caption and mask beside it."""
    photo = _file_item(path, (path.name,))
    items = [photo]
    with contextlib.suppress(OSError):  # a folder that can't be listed still gives the photo itself
        items += [_file_item(other, (other.name,)) for other in path.parent.iterdir() if other.is_file()]
    beside = _Beside(items)
    return Found("", [Candidate(photo, beside.caption(photo), beside.mask(photo))])


def _file_item(path: Path, parts: Iterable[str]) -> Item:
    return Item(tuple(map(printable, parts)), lambda _: path)


def sort_out(items: Iterable[Item], found: Found) -> Found:
    """Pair photos with captions and masks; what is neither goes to ``found.skipped``, system files vanish."""
    wanted = sorted((item for item in items if not _is_junk(item.parts)), key=lambda item: item.parts)
    beside = _Beside(wanted)
    rest = []
    for item in wanted:
        if item.suffix in IMAGE_SUFFIXES and not beside.is_mask(item):
            found.candidates.append(Candidate(item, beside.caption(item), beside.mask(item)))
        elif item.suffix not in _COMPANIONS:
            rest.append(item)
    for item in rest:
        if item.parts not in beside.used:
            found.skipped.append(Skipped(item.name, _ALONE if item.suffix in CAPTION_SUFFIXES else _NO_PHOTO))
    return found


class _Beside:
    """Finds what belongs to a photo by name, exactly or else but for upper and lower case."""

    def __init__(self, items: list[Item]) -> None:
        self.used: set[tuple[str, ...]] = set()
        self._folded = {_fold(item.parts): item for item in items}
        self._exact = {item.parts: item for item in items}

    def caption(self, photo: Item) -> Item | None:
        """NAME.txt, NAME.caption or NAME.jpg.txt."""
        names = [stem + suffix for stem in (photo.stem, photo.parts[-1]) for suffix in CAPTION_SUFFIXES]
        return self._first(photo, names)

    def mask(self, photo: Item) -> Item | None:
        """NAME-masklabel.png."""
        return self._first(photo, [photo.stem + _MASK_END + ".png"])

    def is_mask(self, item: Item) -> bool:
        """Whether ``item`` is named as the mask of a photo that is there."""
        if not item.stem.endswith(_MASK_END):
            return False
        photo = item.stem[: -len(_MASK_END)]
        return any(self._get((*item.parts[:-1], photo + suffix)) for suffix in IMAGE_SUFFIXES)

    def _first(self, photo: Item, names: list[str]) -> Item | None:
        there = [item for name in names if (item := self._get((*photo.parts[:-1], name))) is not None]
        self.used.update(item.parts for item in there)
        return there[0] if there else None

    def _get(self, parts: tuple[str, ...]) -> Item | None:
        return self._exact.get(parts) or self._folded.get(_fold(parts))


def _fold(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.casefold() for part in parts)


def _is_junk(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part.casefold() in _JUNK for part in parts)


def set_prior_aside(found: Found) -> None:
    """Move photos in kohya's folders of regularisation pictures to ``found.skipped``: trained as photos of the
    subject they would spoil it. One line per folder."""
    asides: dict[str, int] = {}
    kept = []
    for candidate in found.candidates:
        folders = candidate.image.parts[:-1]
        depth = next((i for i, part in enumerate(folders, 1) if part.casefold() in _PRIOR_FOLDERS), 0)
        if depth:
            name = "/".join(folders[:depth])
            asides[name] = asides.get(name, 0) + 1
        else:
            kept.append(candidate)
    found.candidates = kept
    found.skipped += [Skipped(name + "/", Said(_PRIOR, {"count": count})) for name, count in asides.items()]


def place_of(item: Item, root_name: str, common_depth: int, default: str) -> Place:
    """The group for a file: its nearest kohya folder, else the outermost folder that tells photos apart."""
    folders = item.parts[:-1]
    for folder in (*reversed(folders), root_name):
        kohya = parse_kohya(folder)
        if kohya:
            return Place(kohya[1], kohya[0], kohya[1])
    return Place(folders[common_depth]) if len(folders) > common_depth else Place(default)


def common_depth(found: Found) -> int:
    """How many outer folders all photos share: the wrapper that most archives have."""
    folders = [candidate.image.parts[:-1] for candidate in found.candidates]
    if not folders:
        return 0
    shared = 0
    for ours, theirs in zip(min(folders), max(folders), strict=False):  # in sorted order what these two share, all do
        if ours != theirs:
            break
        shared += 1
    return shared
