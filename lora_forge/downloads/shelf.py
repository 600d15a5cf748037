"""The state of every item in a folder of models, and how it gets there: downloaded, or taken from a place on disk."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from lora_forge.downloads.checks import DownloadError, LicenceError, form_problem, refuse_bad_form, refuse_wrong_sum
from lora_forge.downloads.fetching import Patience, Transfer, forget_version
from lora_forge.downloads.items import ITEMS, Item, RemoteFile, item_of
from lora_forge.downloads.mirrors import Mirrors
from lora_forge.events import CommandBox, Emit, Progress, StageDone, StageStarted
from lora_forge.i18n import Said, word

State = Literal["absent", "partial", "present", "damaged", "busy"]
STAGE = "download"
PART = ".part"
_SPARE_BYTES = 64 << 20
_TELL_S = 0.25
_DEPTH = 3


@dataclass(frozen=True)
class Standing:
    """``done_bytes`` of the item's size have come; ``bytes_per_s`` while it is busy."""

    state: State
    done_bytes: int = 0
    sentence: Said = field(default_factory=lambda: Said(""))
    bytes_per_s: float = 0.0


_BUSY: dict[Path, Standing] = {}
_LOCK = threading.Lock()


def free_bytes(folder: Path) -> int:
    """Room left on the disk of ``folder``, which need not be there yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class Shelf:
    """Items in ``models_dir``, each in its own folder. Any thread may ask; one download of an item at a time."""

    models_dir: Path
    mirrors: Mirrors
    items: tuple[Item, ...] = ITEMS
    patience: Patience = field(default_factory=Patience)
    free_bytes: Callable[[Path], int] = free_bytes

    def folder(self, item: Item) -> Path:
        """Where the item's files are or will be."""
        return self.models_dir / item.folder

    def standing(self, item: Item) -> Standing:
        """What is there now. Looks at sizes and forms, not at checksums: milliseconds."""
        busy = _BUSY.get(self.folder(item))
        if busy is not None:
            return busy
        problems = {name: self._problem(item, name) for name in item.kept}
        if not any(problems.values()):
            return Standing("present", item.size_bytes, Said(word("It is there.")))
        done = sum(_size(path) for path in self._parts(item))
        there = [name for name in item.kept if (self.folder(item) / name).is_file()]
        for name in there:
            problem = problems[name]
            if problem is not None:
                values = {"name": name, "problem": problem}
                return Standing("damaged", done, Said(word("{name} is not what it should be: {problem}."), values))
        if done or there:
            done += 0 if item.is_archive else sum(_size(self.folder(item) / name) for name in there)
            return Standing("partial", done, Said(word("Begun: it goes on where it stopped.")))
        return Standing("absent", 0, Said(word("It is not there.")))

    def download(self, id: str, emit: Emit, commands: CommandBox, *, accepts_terms: bool = False) -> str:
        """Fetch what is missing of the item; returns ``done`` or ``stopped`` (what came is kept).

        Progress is told in bytes.

        Raises:
            LicenceError: the item has terms that were not accepted.
            DownloadError: it can't be had, is not what it should be, is on its way already, or the disk is too small.
        """
        item = item_of(id, self.items)
        if item.terms and not accepts_terms:
            raise LicenceError(
                "{name} has terms that must be accepted first: {terms}",
                "Accept them, then press Download again.",
                name=item.name,
                terms=Said(item.terms),
            )
        with self._busy(item):
            self._refuse_small_disk(item)
            emit(StageStarted(STAGE, item.size_bytes, "bytes"))
            meter = _Meter(self.folder(item), item.size_bytes, emit)
            for file in item.files:
                if not self._bring(item, file, meter, commands.asks_to_stop):
                    return "stopped"
            if item.is_archive:
                archive = self.folder(item) / item.files[0].name
                self._unpack(item, archive)
                archive.unlink()
            emit(StageDone(STAGE, "{name} is there and checked.", {"name": item.name}))
            return "done"

    def take(self, id: str, path: Path) -> Standing:
        """Copy the item's files from ``path``: a folder that has them, a zip, or one of the files itself.

        Raises:
            DownloadError: nothing of it is there, or it is not what it should be; nothing is changed then.
        """
        item = item_of(id, self.items)
        if not path.exists():
            raise DownloadError("{path} is not there.", "Give a file, a folder or a zip.", path=path)
        with self._busy(item), self._spare(item) as spare:
            sources = _sources(item, path, spare)
            if not sources:
                raise DownloadError(
                    "{path} holds nothing of {name}.", "Looked for: {wanted}.", path=path, name=item.name,
                    wanted=", ".join(item.kept),
                )  # fmt: skip
            sums = {} if item.is_archive else {file.name: file.sha256 for file in item.files}
            for name, source in sources.items():
                refuse_bad_form(source, name)
                refuse_wrong_sum(source, name, sums.get(name, ""))
            for name, source in sources.items():
                _place(source, self.folder(item) / name)
        return self.standing(item)

    # ---------------------------------------------------------------- one download

    def _bring(self, item: Item, file: RemoteFile, meter: _Meter, is_unwanted: Callable[[], bool]) -> bool:
        """One file, whole and checked under its name; False when it was unwanted midway."""
        target = self.folder(item) / file.name
        if not item.is_archive and target.is_file() and self._problem(item, file.name) is None:
            meter.ended(file, _size(target))
            return True
        part = target.with_name(target.name + PART)
        part.parent.mkdir(parents=True, exist_ok=True)
        transfer = Transfer(
            self.mirrors.url(item, file),
            part,
            file.size_bytes if file.sha256 else 0,
            bool(file.sha256),
            lambda have, total: meter.tell(file, have, total),
            is_unwanted,
            self.patience,
        )
        if not transfer.run():
            return False
        try:
            refuse_bad_form(part, file.name)
            refuse_wrong_sum(part, file.name, file.sha256, is_unwanted)
        except DownloadError:
            part.unlink(missing_ok=True)  # going on from wrong bytes can't end well
            raise
        if is_unwanted():
            return False
        os.replace(part, target)
        forget_version(part)
        meter.ended(file, _size(target))
        return True

    def _unpack(self, item: Item, archive: Path) -> None:
        with self._spare(item) as spare:
            found = _from_zip(item, archive, spare)
            missing = [name for name in item.kept if name not in found]
            if missing:
                raise DownloadError(
                    "The archive of {name} has no {missing}.", "Has the maker changed it?", name=item.name,
                    missing=", ".join(missing),
                )  # fmt: skip
            for name, source in found.items():
                refuse_bad_form(source, name)
                os.replace(source, self.folder(item) / name)

    @contextlib.contextmanager
    def _spare(self, item: Item) -> Iterator[Path]:
        """A folder for a while, on the disk where the files will be."""
        self.folder(item).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpacking_", dir=self.folder(item)) as spare:
            yield Path(spare)

    def _refuse_small_disk(self, item: Item) -> None:
        folder = self.folder(item)
        there = sum(_size(path) for path in self._parts(item))
        if not item.is_archive:
            there += sum(_size(folder / name) for name in item.kept)
        needed = max(item.size_bytes - there, 0) + (item.size_bytes * 5 // 4 if item.is_archive else 0) + _SPARE_BYTES
        free = self.free_bytes(folder)
        if free < needed:
            raise DownloadError(
                "{name} needs {needed} MB, and the disk of {folder} has {free} MB left.", "Make room first.",
                name=item.name, needed=needed >> 20, folder=folder, free=free >> 20,
            )  # fmt: skip

    def _problem(self, item: Item, name: str) -> Said | None:
        path = self.folder(item) / name
        if not path.is_file():
            return Said(word("it is not there"))
        exact = {file.name: file.size_bytes for file in item.files if file.sha256}
        size = _size(path)
        if name in exact and size != exact[name]:
            return Said(word("it has {found} bytes, not {wanted}"), {"found": size, "wanted": exact[name]})
        return None if name in exact else form_problem(path, name)

    def _parts(self, item: Item) -> Iterator[Path]:
        for file in item.files:
            yield self.folder(item) / (file.name + PART)
            if item.is_archive:
                yield self.folder(item) / file.name

    @contextlib.contextmanager
    def _busy(self, item: Item) -> Iterator[None]:
        folder = self.folder(item)
        with _LOCK:
            if folder in _BUSY:
                raise DownloadError("{name} is on its way already.", "Wait for it, or stop it.", name=item.name)
            _BUSY[folder] = Standing("busy", 0, Said(word("On its way.")))
        try:
            yield
        except OSError as cause:
            what = "{folder} can't be written: {cause}."
            remedy = "Make room, then start again: it goes on." if cause.errno == errno.ENOSPC else ""
            raise DownloadError(what, remedy, folder=folder, cause=cause) from cause
        finally:
            with _LOCK:
                _BUSY.pop(folder, None)


class _Meter:
    """Bytes of a whole item, told now and then with the speed of the last seconds."""

    def __init__(self, folder: Path, total: int, emit: Emit) -> None:
        self._folder, self._total, self._emit = folder, total, emit
        self._ended = 0
        self._marks: list[tuple[float, int]] = []
        self._told_s = -1e9

    def tell(self, file: RemoteFile, have: int, size: int) -> None:
        """``have`` of the ``size`` bytes (0: not known) of the file that is coming now."""
        now, total = time.monotonic(), self._total - file.size_bytes + (size or max(have, file.size_bytes))
        done = self._ended + have
        self._marks = [*(mark for mark in self._marks[-200:] if now - mark[0] < 10), (now, done)]
        if now - self._told_s < _TELL_S and have != size:
            return
        self._told_s = now
        span = now - self._marks[0][0]
        speed = max(done - self._marks[0][1], 0) / span if span > 0 else 0.0
        _BUSY[self._folder] = Standing("busy", done, Said(word("On its way.")), speed)
        self._emit(Progress(STAGE, done, total, (total - done) / speed if speed else None))

    def ended(self, file: RemoteFile, size: int) -> None:
        """That file is there, with ``size`` bytes."""
        self._ended += size
        self._total += size - file.size_bytes
        self._marks = []


def _sources(item: Item, path: Path, spare: Path) -> dict[str, Path]:
    """Files of ``item`` by the name they are kept under, found at ``path``."""
    if path.is_dir():
        return _by_name(item, [one for one in path.rglob("*") if len(one.relative_to(path).parts) <= _DEPTH])
    if zipfile.is_zipfile(path):
        for file in item.files if item.is_archive else ():
            refuse_wrong_sum(path, path.name, file.sha256)
        return _from_zip(item, path, spare)
    found = _by_name(item, [path])
    alike = [name for name in item.kept if Path(name).suffix == path.suffix.lower()]
    return found or ({alike[0]: path} if len(alike) == 1 else {})


def _by_name(item: Item, paths: Sequence[Path]) -> dict[str, Path]:
    return {path.name: path for path in sorted(paths, reverse=True) if path.name in item.kept and path.is_file()}


def _from_zip(item: Item, archive: Path, spare: Path) -> dict[str, Path]:
    """The item's files out of a zip, wherever in it they are: some packs have a folder around them, some none."""
    found: dict[str, Path] = {}
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                name = PurePosixPath(member.filename.replace("\\", "/")).name
                if name in item.kept and not member.is_dir() and name not in found:
                    found[name] = spare / name
                    with opened.open(member) as source, found[name].open("wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as cause:
        raise DownloadError(
            "{path} is damaged: {cause}.", "Download it again, or from another mirror.", path=archive, cause=cause
        ) from cause
    return found


def _place(source: Path, target: Path) -> None:
    if target.exists() and source.resolve() == target.resolve():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.copying")
    try:
        shutil.copyfile(source, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
